//! Programs that tests need, and what happens when one is not installed.

use std::env;
use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An installed program that a test runs.
#[derive(Clone, Debug)]
pub struct Need(PathBuf);

impl Need {
    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

/// Finds a program on `PATH`, or at the path in the variable `or_at`.
///
/// When it is missing this says on the standard error what is skipped, or fails if the variable
/// `KES_TEST_REQUIRE` (names with commas between) lists it.
///
/// # Panics
/// If the program is required and missing.
pub fn tool(name: &str, or_at: Option<&str>, what: &str) -> Option<Need> {
    let given = or_at.and_then(variable).map(PathBuf::from);
    let path = variable("PATH").unwrap_or_default();
    let found = given.or_else(|| {
        env::split_paths(&path).map(|folder| folder.join(name)).find(|at| at.is_file())
    });
    if found.is_none() {
        let required = variable("KES_TEST_REQUIRE").unwrap_or_default();
        let required = required.to_string_lossy();
        assert!(
            !required.split(',').any(|entry| entry.trim() == name),
            "'{name}' is required and not on PATH: {what}"
        );
        skipped(&format!("{what}: '{name}' is not on PATH"));
    }
    found.map(Need)
}

/// Returns how long a soak lasts: `KES_SOAK_MINUTES`, or ten minutes.
///
/// # Panics
/// If the variable is not a whole number.
pub fn soak_length() -> Duration {
    let minutes = variable("KES_SOAK_MINUTES").unwrap_or_else(|| "10".into()).into_string();
    let minutes = minutes.expect("KES_SOAK_MINUTES is a text");
    Duration::from_mins(minutes.parse().expect("KES_SOAK_MINUTES is a whole number"))
}

/// Says on the standard error what was skipped and why, past the capture of the test runner.
pub fn skipped(what: &str) {
    print(&format!("skipped: {what}"));
}

/// Says on the standard error what was measured, past the capture of the test runner.
pub fn measured(what: &str) {
    print(&format!("measured: {what}"));
}

fn print(line: &str) {
    // Nothing can be done when even this fails.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// An environment variable.
#[expect(clippy::disallowed_methods, reason = "the one place where tests read the environment")]
pub(crate) fn variable(name: &str) -> Option<OsString> {
    env::var_os(name)
}
