//! What a request and a connection cost in things that can be counted on any machine: calls of the
//! socket, allocations, resident memory. Fails where a bound is missed.
//!
//! The server runs in this process, with an allocator that counts; its clients run in another.

#![expect(clippy::print_stdout, reason = "the report is what this is for")]

mod client;
mod server;

use std::alloc::System;
use std::process::ExitCode;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use crate::server::Subject;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Requests that are counted, after as many that are not.
const REQUESTS: u32 = 4000;

/// Idle connections of each kind.
const CONNECTIONS: u32 = 500;

/// A figure and its bound.
struct Row {
    what: &'static str,
    value: f64,
    max: f64,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let first = arguments.next();
    if first.as_deref() == Some("client") {
        client::run(arguments);
        return ExitCode::SUCCESS;
    }
    let subject = Subject::start();
    if let Some(proto) = first {
        // For a profiler: one kind of requests alone.
        let streams = arguments.next().unwrap_or_else(|| "1".to_owned());
        println!("{:?}", subject.requests(&["requests", &proto, &streams], REQUESTS));
        subject.stop();
        return ExitCode::SUCCESS;
    }
    let h2 = subject.requests(&["requests", "h2", "8"], REQUESTS);
    let serial = subject.requests(&["requests", "h2", "1"], REQUESTS);
    let h1 = subject.requests(&["requests", "h1", "1"], REQUESTS);
    let rows = [
        Row { what: "h2, 8 streams: writes per decrypt", value: h2.writes, max: 0.40 },
        Row { what: "h2, 8 streams: reads per decrypt", value: h2.reads, max: 0.40 },
        Row { what: "h2, 8 streams: allocations per decrypt", value: h2.allocations, max: 19.0 },
        Row { what: "h2, 1 stream: writes per decrypt", value: serial.writes, max: 1.05 },
        Row { what: "h2, 1 stream: allocations per decrypt", value: serial.allocations, max: 22.0 },
        Row { what: "h1: writes per decrypt", value: h1.writes, max: 1.01 },
        Row { what: "h1: allocations per decrypt", value: h1.allocations, max: 19.0 },
        Row {
            what: "h1: resident KiB per idle connection",
            value: subject.idle_kib("h1", CONNECTIONS),
            max: 28.0,
        },
        Row {
            what: "h2: resident KiB per idle connection",
            value: subject.idle_kib("h2", CONNECTIONS),
            max: 40.0,
        },
    ];
    let mut is_missed = false;
    for Row { what, value, max } in rows {
        let verdict = if value <= max { "met" } else { "MISSED" };
        is_missed |= value > max;
        println!("{what:<42} {value:>8.2}   <= {max:<6.2} {verdict}");
    }
    subject.stop();
    if is_missed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
