//! The page that holds the last results.

use std::fs;
use std::path::Path;

const BEGIN: &str = "<!-- results: written by `just bench` -->";
const END: &str = "<!-- end of results -->";

/// Replaces what is between the marks.
///
/// # Panics
/// If the page or a mark is not there.
pub(super) fn replace(path: &Path, results: &str) {
    let page = fs::read_to_string(path);
    let page = page.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (before, rest) = page.split_once(BEGIN).expect("the page has a mark where results begin");
    let (_, after) = rest.split_once(END).expect("the page has a mark where results end");
    let page = format!("{before}{BEGIN}\n{results}\n{END}{after}");
    fs::write(path, page).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
