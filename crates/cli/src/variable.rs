//! Environment variables with more than one name.

use kes_config::Environment;

use crate::exit::Failure;

/// Returns the first variable that is set and not empty, with its name.
pub(crate) fn first_of(
    names: &[&'static str],
    environment: &dyn Environment,
) -> Result<Option<(&'static str, String)>, Failure> {
    for name in names {
        if let Some(value) = value(name, environment)? {
            return Ok(Some((name, value)));
        }
    }
    Ok(None)
}

/// Returns the value of a variable that is set and not empty.
pub(crate) fn value(
    name: &'static str,
    environment: &dyn Environment,
) -> Result<Option<String>, Failure> {
    let value = environment.variable(name);
    let value = value.map_err(|error| Failure::new(error).context(name))?;
    Ok(value.filter(|value| !value.is_empty()))
}
