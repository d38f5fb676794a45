//! The commands, a file each.

mod identity;
mod key;
mod server;
mod status;

use kes_config::Environment;
use kes_types::SystemClock;

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
        Command::Status(args) => wait(status::run(args, environment, &SystemClock, output))?,
    }
}

/// Waits for a client's work. One thread is enough for it.
fn wait<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Failure::new)?;
    let result = runtime.block_on(work);
    // A name that is still being looked up is waited for no longer.
    runtime.shutdown_background();
    Ok(result)
}
