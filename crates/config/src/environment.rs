//! Gives access to environment variables, which tests can replace.

use std::collections::BTreeMap;
use std::fmt;

/// Environment variables by name.
pub trait Environment: fmt::Debug + Send + Sync {
    /// The variable's value; none when it is not set.
    fn variable(&self, name: &str) -> Result<Option<String>, NotText>;
}

/// An environment variable that is set but is not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the environment variable is not UTF-8")]
pub struct NotText;

/// The environment that the process was started with.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    #[expect(clippy::disallowed_methods, reason = "the one origin of the environment")]
    fn variable(&self, name: &str) -> Result<Option<String>, NotText> {
        match std::env::var(name) {
            Ok(value) => Ok(Some(value)),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => Err(NotText),
        }
    }
}

/// An environment for tests.
impl Environment for BTreeMap<String, String> {
    fn variable(&self, name: &str) -> Result<Option<String>, NotText> {
        Ok(self.get(name).cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_no_variable_can_have_are_not_set() {
        for name in ["", "=", "A=B", "A\0B", "\0"] {
            assert_eq!(ProcessEnvironment.variable(name), Ok(None), "{name:?}");
        }
    }
}
