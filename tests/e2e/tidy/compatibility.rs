//! `docs/compatibility.md` and the tests that prove its rows name each other.

use std::collections::BTreeSet;
use std::path::Path;

use super::{files_of, read, root};

/// Rows of the table.
const ROWS: u32 = 54;

/// Returns the tests of this package as the table names them: `file::test`.
fn tests() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e");
    let mut tests = BTreeSet::new();
    for path in files_of(&folder, "rs") {
        let file = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
        let text = read(&path);
        for attribute in ["#[test]\nfn ", "#[tokio::test]\nasync fn "] {
            let functions = text.split(attribute).skip(1);
            let names = functions.filter_map(|rest| rest.split('(').next());
            tests.extend(names.map(|name| format!("{file}::{name}")));
        }
    }
    tests
}

/// Returns the number of the row that a test is named after.
fn row_of(test: &str) -> Option<u32> {
    let (_, name) = test.split_once("::row_")?;
    name.split('_').next()?.parse().ok()
}

#[test]
fn each_row_names_its_tests_and_each_test_of_a_row_is_named() {
    let text = read(&root().join("docs/compatibility.md"));
    let tests = tests();
    let (mut rows, mut named) = (Vec::new(), BTreeSet::new());
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let Some(row) = cells.first().and_then(|cell| cell.parse::<u32>().ok()) else { continue };
        let proofs = cells.last().expect("a row has cells").split(", ");
        for test in proofs.map(|test| test.trim_matches('`')) {
            assert!(tests.contains(test), "row {row}: no test {test}");
            assert!(row_of(test).is_none_or(|of| of == row), "row {row}: {test}");
            named.insert(test.to_owned());
        }
        rows.push(row);
    }
    assert_eq!(rows, (1..=ROWS).collect::<Vec<_>>());
    let unnamed: Vec<_> =
        tests.iter().filter(|test| row_of(test).is_some() && !named.contains(*test)).collect();
    assert!(unnamed.is_empty(), "not in the table: {unnamed:?}");
}
