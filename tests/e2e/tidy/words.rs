//! The words of code, comments and documents are those of the field.

use std::path::{Path, PathBuf};

use super::{files_of, in_repository, read, root};

/// Words that the field does not use, and what it uses instead.
const PRIVATE_WORDS: [(&str, &str); 23] = [
    ("bell", "wake flag"),
    ("cured", "recovered"),
    ("departure", "leader"),
    ("doubted", "suspect"),
    ("exam", "suite"),
    ("greet", "ping"),
    ("ground", "fixture"),
    ("horizon", "complete, abandoned"),
    ("keeper", "refresher"),
    ("keepers", "refreshers"),
    ("landing", "result"),
    ("lane", "concurrency limit"),
    ("lanes", "concurrency limits"),
    ("luck", "jitter"),
    ("nudge", "wake"),
    ("rung", "is woken"),
    ("scenes", "scenarios, fixtures"),
    ("sequel", "next step"),
    ("stranger", "identity without a policy, unauthenticated peer"),
    ("strangers", "identities without a policy, unauthenticated peers"),
    ("tally", "counters"),
    ("tour", "scenario"),
    ("whomever", "any client"),
];

/// More of them, which crates and documents still have: only [`CLEAN`] is checked for these. A word that is
/// gone from all of them goes into the list above.
const PRIVATE_WORDS_TO_COME: [(&str, &str); 17] = [
    ("anybody", "any client"),
    ("arrival", "request"),
    ("chart", "health state"),
    ("everybody", "every client"),
    ("hub", "broadcast"),
    ("mood", "behavior"),
    ("moody", "faulty"),
    ("nobody", "no client"),
    ("pace", "interval"),
    ("patience", "timeout"),
    ("pauses", "backoff"),
    ("scene", "scenario, fixture"),
    ("sheet", "line writer"),
    ("somebody", "another writer, any client"),
    ("standing", "status"),
    ("told", "sanitized, answered, configured"),
    ("whoever", "any client"),
];

/// What is clean of the words to come.
const CLEAN: [&str; 1] = ["tests"];

/// What is not checked yet.
const UNCHECKED: [&str; 1] = ["tests/load"];

/// Returns the source files and documents of this repository, except this list.
fn texts() -> Vec<PathBuf> {
    let of = |folder: &str, wanted| files_of(&root().join(folder), wanted);
    let mut texts =
        [of("crates", "rs"), of("tests", "rs"), of("tests", "go"), of("config", "yaml")].concat();
    texts.extend(of("docs", "md"));
    for name in ["ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "README.md", "SECURITY.md"] {
        texts.push(root().join(name));
    }
    let this = root().join("tests/e2e/tidy/words.rs");
    texts.retain(|path| *path != this && !is_below(path, &UNCHECKED));
    texts
}

fn is_below(path: &Path, folders: &[&str]) -> bool {
    folders.iter().any(|folder| path.starts_with(root().join(folder)))
}

/// Returns the words of a line in lower case; `aName` and `a_name` are two words each.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for char in line.chars() {
        let begins = !char.is_alphanumeric() || (was_lower && char.is_uppercase());
        if begins {
            words.push(String::new());
        }
        if char.is_alphanumeric() {
            words.last_mut().expect("there is one").extend(char.to_lowercase());
        }
        was_lower = char.is_lowercase();
    }
    words
}

#[test]
fn words_are_those_of_the_field() {
    let mut found = Vec::new();
    for path in texts() {
        let mut private = PRIVATE_WORDS.to_vec();
        if is_below(&path, &CLEAN) {
            private.extend(PRIVATE_WORDS_TO_COME);
        }
        for (at, line) in read(&path).lines().enumerate() {
            let words = words(line);
            for (not, but) in private.iter().filter(|(not, _)| words.iter().any(|it| it == not)) {
                found.push(format!("{}:{}: not '{not}', but {but}", in_repository(&path), at + 1));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn identifiers_are_split_into_words() {
    let found = words("fn a_name(TokenState: URL)");
    let found: Vec<_> = found.iter().map(String::as_str).filter(|word| !word.is_empty()).collect();
    assert_eq!(found, ["fn", "a", "name", "token", "state", "url"]);
}
