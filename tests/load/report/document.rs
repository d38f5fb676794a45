//! Writes the results into the Markdown document that shows them.

use std::fs;
use std::path::Path;

const BEGIN: &str = "<!-- results: written by `just bench` -->";
const END: &str = "<!-- end of results -->";

/// Replaces the text between the two markers.
///
/// # Panics
/// If the document or a marker is missing.
pub(super) fn replace(path: &Path, results: &str) {
    let document = fs::read_to_string(path);
    let document = document.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (before, rest) =
        document.split_once(BEGIN).expect("the document has a marker where results begin");
    let (_, after) = rest.split_once(END).expect("the document has a marker where results end");
    let document = format!("{before}{BEGIN}\n{results}\n{END}{after}");
    fs::write(path, document).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
