//! Path patterns of policies.

use std::fmt;

/// A path pattern of a policy.
///
/// With a `*` at its end it matches every path with that prefix, slashes included; otherwise it matches
/// exactly that path. An empty pattern matches nothing. A `*` elsewhere is literal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern(Box<str>);

impl Pattern {
    /// Makes a pattern; any text is one.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The pattern as configured.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the pattern matches a percent-decoded path without its query.
    pub fn matches(&self, path: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(prefix) => path.starts_with(prefix),
            None => !self.0.is_empty() && *self.0 == *path,
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_last_star_is_a_prefix_and_everything_else_is_exact() {
        for (pattern, path, matches) in [
            ("/v1/key/create/my-*", "/v1/key/create/my-a", true),
            ("/v1/key/create/my-*", "/v1/key/create/my-", true),
            ("/v1/key/create/my-*", "/v1/key/create/my-a/b", true),
            ("/v1/key/create/my-*", "/v1/key/create/other", false),
            ("/v1/status", "/v1/status", true),
            ("/v1/status", "/v1/status/", false),
            ("/v1/*/a", "/v1/x/a", false),
            ("/v1/*/a", "/v1/*/a", true),
            ("/v1/**", "/v1/*a", true),
            ("/v1/**", "/v1/a", false),
            ("*", "/anything", true),
            ("", "", false),
            ("", "/", false),
        ] {
            assert_eq!(Pattern::new(pattern).matches(path), matches, "{pattern} {path}");
        }
    }
}
