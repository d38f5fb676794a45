//! Measures the server against a floor: a bare server that does nothing but TLS, HTTP and one
//! AEAD. Both are processes, pinned to one processor, and take turns; what counts is the ratio.

mod args;
mod beside;
mod figure;
mod floor;
mod floor_connection;
mod handshake;
mod latency;
mod load;
mod operation;
mod output;
mod pair;
mod process;
mod report;
mod scene;
mod soak;
mod subject;
mod wire;

use std::process::ExitCode;

use tokio::runtime;

use crate::args::Command;

fn main() -> ExitCode {
    let command = match args::parse() {
        Ok(command) => command,
        Err(error) => {
            output::note(&error);
            return ExitCode::from(2);
        }
    };
    if let Command::Floor(floor) = &command {
        let runtime = runtime::Builder::new_multi_thread().enable_all().build();
        runtime.expect("a runtime can be made").block_on(floor::serve(floor));
        return ExitCode::SUCCESS;
    }
    process::raise_open_files();
    // One thread: clients have one processor.
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
