//! The commands, one file each.

mod identity;
mod key;
mod new_identity;
mod server;
mod status;

use kes_config::Environment;
use kes_types::SystemClock;

use crate::args::Command;
use crate::exit::Failure;
use crate::output::Output;

const UPDATE: &str = "kes does not update itself: install the new release in the same way as this \
                      one, as a package, an image or a file";

const MIGRATE: &str = "keys are not migrated to MinKMS, and not yet between key stores: to move to a \
                       key store of the same kind, copy its entries with its own tools";

/// Runs a command.
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
        Command::Identity(args) => identity::run(args, environment, output),
        Command::Status(args) => wait(status::run(args, environment, &SystemClock, output))?,
        Command::Update(_) => Err(Failure::usage(UPDATE)),
        Command::Migrate(_) => Err(Failure::usage(MIGRATE)),
    }
}

/// Runs the work of a client on the current thread.
fn wait<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Failure::new)?;
    let result = runtime.block_on(work);
    // Name lookups that are still running are not waited for.
    runtime.shutdown_background();
    Ok(result)
}
