//! The words of code, comments and documents are those of the field.

use super::{files_of, in_repository, read, root};

/// Words that the field does not use, and what it uses instead.
const PRIVATE_WORDS: [(&str, &str); 12] = [
    ("bell", "wake flag"),
    ("cured", "recovered"),
    ("departure", "leader"),
    ("exam", "suite"),
    ("greet", "ping"),
    ("keeper", "refresher"),
    ("lane", "concurrency limit"),
    ("landing", "result"),
    ("luck", "jitter"),
    ("nudge", "wake"),
    ("sequel", "next step"),
    ("stranger", "identity without a policy, unauthenticated peer"),
];

#[test]
fn words_are_those_of_the_field() {
    let crates = files_of(&root().join("crates"), "rs").into_iter();
    let docs = files_of(&root().join("docs"), "md").into_iter();
    for path in crates.chain(docs).chain([root().join("ARCHITECTURE.md")]) {
        for (at, line) in read(&path).lines().enumerate() {
            let line = line.to_lowercase();
            let mut words = line.split(|c: char| !c.is_alphanumeric());
            let private = words.find_map(|word| PRIVATE_WORDS.iter().find(|(not, _)| *not == word));
            if let Some((not, but)) = private {
                panic!("{}:{}: not '{not}', but {but}", in_repository(&path), at + 1);
            }
        }
    }
}
