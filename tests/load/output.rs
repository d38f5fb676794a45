//! What is said to whoever started this.

use std::io::{self, Write as _};

/// A result, on the standard output.
pub(crate) fn say(text: &str) {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).expect("somebody reads the results");
}

/// What is going on, on the standard error.
pub(crate) fn note(text: &str) {
    // Nothing can be done when even this fails.
    let _ = writeln!(io::stderr().lock(), "{text}");
}
