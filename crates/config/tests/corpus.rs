//! Files that load, with the warnings they give, and files that do not, with what is said of them.
//!
//! Each `<name>.yaml` has a `<name>.txt` with what is expected. A test that finds something
//! else writes it to the folder that it names; a person reads it before it becomes expected.

#![expect(clippy::unwrap_used, reason = "a test ends where something cannot be done")]

mod folder;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use folder::Folder;

#[test]
fn broken_files_are_refused_with_these_words() {
    check("broken", |text, environment| {
        let errors = kes_config::parse(text, Path::new("kes.yaml"), environment)
            .expect_err("a broken file loads");
        let lines: Vec<_> = errors.lines().collect();
        for line in &lines {
            assert!(!line.contains('\n'), "more than one line: {line}");
        }
        assert_eq!(lines.join("\n"), errors.to_string());
        errors.to_string() + "\n"
    });
}

#[test]
fn valid_files_load_with_these_warnings() {
    check("valid", |text, environment| {
        match kes_config::parse(text, Path::new("kes.yaml"), environment) {
            Ok(config) => {
                let lines =
                    config.warnings.iter().map(|warning| [warning.to_string(), "\n".to_owned()]);
                lines.flatten().collect()
            }
            Err(errors) => panic!("{errors}"),
        }
    });
}

/// Compares what `say` makes of every file of a corpus with what is expected of it.
fn check(corpus: &str, say: impl Fn(&str, &BTreeMap<String, String>) -> String) {
    let folder = Folder::enter();
    let here = std::env::current_dir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(corpus);
    let found = Path::new(env!("CARGO_TARGET_TMPDIR")).join(corpus);
    fs::create_dir_all(&found).unwrap();
    let mut different = Vec::new();
    let files: Vec<PathBuf> = fs::read_dir(&source)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    assert!(!files.is_empty());
    for file in files {
        let words = say(&fs::read_to_string(&file).unwrap(), &folder.environment());
        let words = words.replace(here.to_str().unwrap(), "/etc/kes");
        let is_shown = |secret| words.contains(secret);
        let is_secret_shown = is_shown("hunter") || is_shown("AD9E7FSYW");
        assert!(!is_secret_shown, "{} shows a secret: {words}", file.display());
        let expected = fs::read_to_string(file.with_extension("txt")).unwrap_or_default();
        if words != expected {
            let name = file.with_extension("txt").file_name().unwrap().to_owned();
            fs::write(found.join(&name), &words).unwrap();
            different.push(format!("{}\n  have {words}  want {expected}", name.display()));
        }
    }
    assert!(
        different.is_empty(),
        "{} differ; what was found is in {}:\n{}",
        different.len(),
        found.display(),
        different.join("\n")
    );
}
