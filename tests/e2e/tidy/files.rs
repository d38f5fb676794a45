//! How long files are, what they are called, and how much code there is in all.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{files_of, in_repository, read, root};

/// Lines of a file in `crates/*/src`, its tests included, and of a file in `tests`.
const FILE_LINES_MAX: usize = 400;

/// Files that are longer, and no others: a file that has been shortened is taken off.
const LONGER: [&str; 0] = [];

/// Lines of the product that are neither blank nor a comment, without its tests. It is only ever lowered.
const PRODUCTION_LINES_MAX: usize = 23_650;

/// Names of files and folders that say nothing about what is in them.
const NO_NOUNS: [&str; 5] = ["util", "utils", "helpers", "common", "misc"];

#[test]
fn files_are_short() {
    let tests = files_of(&root().join("tests"), "rs");
    let longer: Vec<String> = product()
        .iter()
        .chain(&tests)
        .filter(|path| read(path).lines().count() > FILE_LINES_MAX)
        .map(|path| in_repository(path))
        .collect();
    assert_eq!(longer, LONGER, "files of more than {FILE_LINES_MAX} lines");
}

#[test]
fn files_are_named_after_nouns() {
    for folder in ["crates", "tests"] {
        for path in files_of(&root().join(folder), "rs") {
            for part in path.iter().filter_map(|part| Path::new(part).file_stem()?.to_str()) {
                assert!(!NO_NOUNS.contains(&part), "{}: '{part}'", in_repository(&path));
            }
        }
    }
}

#[test]
fn there_is_no_more_code_than_agreed() {
    let files = product();
    let of_tests: BTreeSet<PathBuf> =
        files.iter().flat_map(|path| modules_of_tests(path)).collect();
    let shipped = files
        .iter()
        .filter(|path| !path.ancestors().any(|part| of_tests.contains(&part.with_extension(""))));
    let lines: usize = shipped.map(|path| production_lines(&read(path))).sum();
    assert!(lines <= PRODUCTION_LINES_MAX, "{lines} lines, {PRODUCTION_LINES_MAX} are agreed");
}

#[test]
fn tests_do_not_count_as_production_code() {
    let text = "\
//! A module.

#[cfg(test)]
mod fake;
mod real;

impl Real {
    /// Returns one.
    fn one() -> u8 {
        1 // one
    }

    #[cfg(test)]
    #[expect(unused, reason = \"an example\")]
    fn two() -> u8 {
        2
    }
}

#[cfg(test)]
mod tests {
    fn three() {}
}
";
    assert_eq!(production_lines(text), 6);
}

/// Returns the files that crates are built from, with the tests among them.
fn product() -> Vec<PathBuf> {
    let in_src =
        |path: &PathBuf| path.iter().nth(root().iter().count() + 2).is_some_and(|it| it == "src");
    files_of(&root().join("crates"), "rs").into_iter().filter(in_src).collect()
}

/// Returns the modules, without extensions, that a file declares for tests only.
fn modules_of_tests(path: &Path) -> Vec<PathBuf> {
    let is_root =
        ["lib", "main", "mod"].iter().any(|it| path.file_stem().is_some_and(|stem| stem == *it));
    let folder = if is_root { path.with_file_name("") } else { path.with_extension("") };
    let text = read(path);
    // The conformance suite is a feature, for the tests of other crates.
    let text = text.replace("#[cfg(feature = \"conformance\")]\npub mod ", "#[cfg(test)]\nmod ");
    let text = text.replace("#[cfg(feature = \"conformance\")]\nmod ", "#[cfg(test)]\nmod ");
    let declared = text.split("#[cfg(test)]\nmod ").skip(1);
    let names = declared.filter_map(|rest| rest.lines().next()?.strip_suffix(';'));
    names.map(|name| folder.join(name)).collect()
}

/// Counts the lines that are neither blank nor a comment nor of an item for tests only.
fn production_lines(text: &str) -> usize {
    let mut count = 0;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let code = line.trim_start();
        if code == "#[cfg(test)]" {
            let indent = &line[..line.len() - code.len()];
            skip_item(&mut lines, indent);
        } else if !code.is_empty() && !code.starts_with("//") {
            count += 1;
        }
    }
    count
}

/// Skips the rest of an item that begins at `indent`, as rustfmt sets it.
fn skip_item<'a>(lines: &mut impl Iterator<Item = &'a str>, indent: &str) {
    for line in lines {
        let Some(code) = line.strip_prefix(indent) else { continue };
        let in_item = code.starts_with([' ', '#']) || code.starts_with("//") || code.is_empty();
        if !in_item && code.ends_with([';', ',', '}']) {
            return;
        }
    }
}
