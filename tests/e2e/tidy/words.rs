//! The words of code, comments and documents are those of the field.

use std::path::PathBuf;

use super::{files_of, in_repository, read, root};

/// Words that the field does not use, and what it uses instead.
const PRIVATE_WORDS: [(&str, &str); 41] = [
    ("anybody", "any client"),
    ("bell", "wake flag"),
    ("beside", "in addition to, in the same place"),
    ("chart", "health state"),
    ("cured", "recovered"),
    ("departure", "leader"),
    ("doubted", "suspect"),
    ("everybody", "every client"),
    ("exam", "suite"),
    ("greet", "ping"),
    ("ground", "fixture"),
    ("horizon", "complete, abandoned"),
    ("hub", "broadcast"),
    ("keeper", "refresher"),
    ("keepers", "refreshers"),
    ("landing", "result"),
    ("lane", "concurrency limit"),
    ("lanes", "concurrency limits"),
    ("luck", "jitter"),
    ("mood", "behavior"),
    ("moody", "faulty"),
    ("nobody", "no client"),
    ("nudge", "wake"),
    ("pace", "interval"),
    ("patience", "timeout"),
    ("rung", "is woken"),
    ("scene", "scenario, fixture"),
    ("scenes", "scenarios, fixtures"),
    ("sequel", "next step"),
    ("sheet", "line writer"),
    ("somebody", "another writer, any client"),
    ("standing", "status"),
    ("stranger", "identity without a policy, unauthenticated peer"),
    ("strangers", "identities without a policy, unauthenticated peers"),
    ("survive", "on error, outlast"),
    ("tally", "counters"),
    ("told", "sanitized, answered, configured"),
    ("tour", "scenario"),
    ("trouble", "failure, fault"),
    ("whoever", "any client"),
    ("whomever", "any client"),
];

/// Texts that have a private word all the same: users know this message.
const EXCEPTIONS: [(&str, &str); 1] = [("crates/config/src/policies.rs", "nobody")];

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
    texts.retain(|path| *path != this);
    texts
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
        let name = in_repository(&path);
        let is_private = |word: &str| !EXCEPTIONS.contains(&(name.as_str(), word));
        for (at, line) in read(&path).lines().enumerate() {
            let words = words(line);
            let has = |word: &str| words.iter().any(|it| it == word) && is_private(word);
            for (not, but) in PRIVATE_WORDS.iter().filter(|(not, _)| has(not)) {
                found.push(format!("{name}:{}: not '{not}', but {but}", at + 1));
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
