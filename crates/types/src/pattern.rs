//! Patterns of listing requests.

use crate::name::{NAME_LEN_MAX, is_name_byte};

/// A listing pattern: empty or `*` for everything, otherwise a prefix of the names' alphabet that
/// may end in one `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListPattern(Box<str>);

impl ListPattern {
    /// Parses a pattern. With or without its star it matches the names that start with its prefix.
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        let prefix = text.strip_suffix('*').unwrap_or(text);
        if text.len() <= NAME_LEN_MAX && prefix.bytes().all(is_name_byte) {
            Ok(Self(prefix.into()))
        } else {
            Err(InvalidPattern)
        }
    }

    /// The prefix of every listed name; the empty prefix lists all names.
    pub fn prefix(&self) -> &str {
        &self.0
    }

    /// Whether the pattern matches `name`.
    pub fn matches(&self, name: &str) -> bool {
        name.starts_with(&*self.0)
    }
}

/// The error for a text that is not a listing pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a listing pattern is up to 80 characters of 0-9 A-Z a-z - _, and may end in one '*'")]
pub struct InvalidPattern;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_prefix_with_or_without_its_star() {
        for (text, prefix) in [("", ""), ("*", ""), ("my-", "my-"), ("_", "_"), ("my-*", "my-")] {
            assert_eq!(ListPattern::parse(text).unwrap().prefix(), prefix);
        }
        for bad in ["a.b", "**", "a*b", "a/", " ", &"a".repeat(81)] {
            assert_eq!(ListPattern::parse(bad), Err(InvalidPattern), "{bad}");
        }
    }
}
