//! What a listing is asked for.

use crate::name::{NAME_LEN_MAX, is_name_byte};

/// A listing pattern: empty or `*` for everything, otherwise a prefix of the names' alphabet that
/// may end in one `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListPattern(Box<str>);

impl ListPattern {
    /// Reads a pattern; with or without its star it stands for the names that start with it.
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        let prefix = text.strip_suffix('*').unwrap_or(text);
        if text.len() <= NAME_LEN_MAX && prefix.bytes().all(is_name_byte) {
            Ok(Self(prefix.into()))
        } else {
            Err(InvalidPattern)
        }
    }

    /// What each listed name starts with; empty lists everything.
    pub fn prefix(&self) -> &str {
        &self.0
    }

    /// Whether `name` is to be listed.
    pub fn matches(&self, name: &str) -> bool {
        name.starts_with(&*self.0)
    }
}

/// A text that cannot be a listing pattern.
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
