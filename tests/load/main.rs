//! A load generator that compares the server with a floor: a baseline server with TLS, HTTP and one
//! AEAD operation.
//!
//! Both are processes that are pinned to one processor and measured in alternation. The result is
//! their ratio.

mod args;
mod background;
mod candidate;
mod floor;
mod floor_connection;
mod handshake;
mod latency;
mod load;
mod number;
mod operation;
mod output;
mod pair;
mod process;
mod report;
mod scenario;
mod soak;
mod wire;

use std::process::ExitCode;

use tokio::runtime;

use crate::args::Command;

fn main() -> ExitCode {
    let command = match args::parse() {
        Ok(command) => command,
        Err(error) => {
            output::print_progress(&error);
            return ExitCode::from(2);
        }
    };
    if let Command::Floor(floor) = &command {
        let runtime = runtime::Builder::new_multi_thread().enable_all().build();
        runtime.expect("a runtime can be made").block_on(floor::serve(floor));
        return ExitCode::SUCCESS;
    }
    process::raise_open_files();
    // One thread, for the clients have one processor.
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let is_good = runtime.expect("a runtime can be made").block_on(async {
        match command {
            Command::Floor(_) => true,
            Command::Pair(pair) => {
                pair::measure(&pair).await;
                true
            }
            Command::Report(report) => {
                report::measure(&report).await;
                true
            }
            Command::Soak(soak) => soak::run(&soak).await,
        }
    });
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
