//! Prints results and progress.

use std::io::{self, Write as _};

/// Prints a result on standard output.
pub(crate) fn print_result(text: &str) {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).expect("standard output is open");
}

/// Prints progress or an error on standard error.
pub(crate) fn print_progress(text: &str) {
    // There is no place to report an error of standard error.
    let _ = writeln!(io::stderr().lock(), "{text}");
}
