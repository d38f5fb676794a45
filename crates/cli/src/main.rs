//! The key server and its command line.

mod args;
mod banner;
mod command;
mod compose;
mod connect;
mod credentials;
mod dev;
mod ellipses;
mod examples;
mod exit;
mod input;
mod mask;
mod material;
mod memory;
mod output;
mod pair;
mod password;
mod predefined;
mod private_folder;
mod report;
mod storage;
mod telemetry;
mod trust;
mod usage;
mod variable;

use std::process::ExitCode;

use clap::Parser as _;
use kes_config::ProcessEnvironment;
use tikv_jemallocator::Jemalloc;
use zeroizing_alloc::ZeroAlloc;

use crate::args::Args;
use crate::output::Output;

/// Wipes freed memory, with key schedules, plaintexts and their copies in buffers.
///
/// jemalloc unmaps memory that was not used for 5 s, by a thread of its own, and is built not to retain
/// addresses (`.cargo/config.toml`). In locked memory `madvise(MADV_DONTNEED)` fails, so the memory of a burst
/// would stay resident, but `munmap` works. mimalloc has neither: memory that one thread allocated and
/// another one freed stays until the first thread allocates much again, which an idle server does not do.
/// Slabs are small, so that one object that stays after a burst does not keep the pages of many others.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<Jemalloc> = ZeroAlloc(Jemalloc);

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return output::usage(error),
    };
    let output = Output::new(args.color, &ProcessEnvironment);
    match command::run(args.command, &ProcessEnvironment, &output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => output.report(&failure),
    }
}
