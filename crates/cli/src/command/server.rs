//! `kes server`.

use std::time::Duration;

use kes_outbound::Proxies;

use crate::args::ServerArgs;
use crate::compose::{self, IgnoredSignals};
use crate::dev;
use crate::exit::Failure;

/// How long threads that do not end are waited for.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// Runs a server until a signal ends it.
pub(crate) fn run(args: ServerArgs) -> Result<(), Failure> {
    let locking = compose::protect_memory(args.dev)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(Failure::new)?;
    // Before the configuration is read, which takes as long as its files do.
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
    // A thread that hangs in a file system or on standard output does not keep the process.
    runtime.shutdown_timeout(LAST_WAIT);
    result
}

/// The proxies of the environment.
fn proxies(environment: &dyn kes_config::Environment) -> Result<Proxies, Failure> {
    let variables = kes_config::ProxyVariables::read(environment);
    let variables = variables.map_err(|error| Failure::new(error).context("HTTPS_PROXY"))?;
    Ok(Proxies::new(&variables.https, &variables.http, &variables.no_proxy))
}
