//! The commands, a file each.

mod identity;
mod key;
mod server;
mod status;

use kes_config::Environment;

use crate::args::Command;
use crate::exit::Failure;
use crate::output::Output;

/// Carries out a command.
pub(crate) fn run(
    command: Command,
    environment: &dyn Environment,
    output: &Output,
) -> Result<(), Failure> {
    match command {
        Command::Server(args) => {
            for (flag, instead) in args.ignored() {
                output.warn(&format!("{flag} is ignored: {instead}"));
            }
            server::run(args)
        }
        Command::Key(command) => wait(key::run(command, environment, output))?,
        Command::Identity(command) => identity::run(command, output),
        Command::Status(args) => wait(status::run(args, environment, output))?,
    }
}

/// Waits for a client's work. One thread is enough for it.
fn wait<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.map_err(Failure::new)?.block_on(work))
}
