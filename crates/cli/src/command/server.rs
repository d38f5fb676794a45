//! The command `kes server`.

use std::time::Duration;

use kes_outbound::Proxies;

use crate::args::ServerArgs;
use crate::compose::{self, IgnoredSignals};
use crate::dev;
use crate::exit::Failure;

/// The timeout for the end of threads.
const THREADS_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs a server until a signal ends it.
pub(crate) fn run(args: ServerArgs) -> Result<(), Failure> {
    let locking = compose::protect_memory(args.dev)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(Failure::new)?;
    // Signals are caught before the configuration is read, which can take long.
    let ignored = {
        let _runtime = runtime.enter();
        IgnoredSignals::catch().map_err(Failure::new)?
    };
    let address = |text: &str| {
        text.parse()
            .map_err(|error: kes_config::InvalidAddress| Failure::usage(format!("--addr: {error}")))
    };
    let start = match &args.config {
        Some(path) => {
            let environment = kes_config::ProcessEnvironment;
            let mut config = kes_config::load(path, &environment)
                .map_err(|errors| Failure::messages(errors.lines()))?;
            if let Some(addr) = &args.addr {
                config.address = address(addr)?;
            }
            compose::from_config(config, proxies(&environment)?, locking)
        }
        None => {
            compose::from_nothing(address(args.addr.as_deref().unwrap_or(dev::ADDRESS))?, locking)?
        }
    };
    let result = runtime.block_on(compose::run(start, ignored));
    // A thread that hangs in a file system or on standard output must not keep the process running.
    runtime.shutdown_timeout(THREADS_TIMEOUT);
    result
}

/// Reads the proxies of the environment.
fn proxies(environment: &dyn kes_config::Environment) -> Result<Proxies, Failure> {
    let variables = kes_config::ProxyVariables::read(environment);
    let variables = variables.map_err(|error| Failure::new(error).context("HTTPS_PROXY"))?;
    Ok(Proxies::new(&variables.https, &variables.http, &variables.no_proxy))
}
