//! Paths of requests, in the forms that policy patterns match.

use kes_types::ListPattern;

/// The path of a request, percent-decoded and without its query, and its equivalent paths.
///
/// Allow patterns match the path as written. Deny patterns match the equivalent paths too, so that a deny
/// rule cannot be avoided by writing the path in another way.
#[derive(Clone, Debug)]
pub struct RequestPath<'a> {
    path: &'a str,
    equivalents: Vec<String>,
}

impl<'a> RequestPath<'a> {
    /// Makes a path without equivalent paths.
    pub fn exact(path: &'a str) -> Self {
        Self { path, equivalents: Vec::new() }
    }

    /// Makes the path of a listing: `route`, which ends in a slash, and a listing pattern.
    ///
    /// A pattern lists the same names with and without its star, so both are equivalent. For the
    /// listing of all names the route without its last slash is a third path; allow patterns match
    /// the one with the slash instead.
    pub fn listing(route: &'a str, path: &'a str) -> Self {
        let bare = route.strip_suffix('/').unwrap_or(route);
        let path = if path == bare { route } else { path };
        let argument = path.strip_prefix(route).map(ListPattern::parse);
        // A text that is not a pattern lists nothing.
        let Some(Ok(pattern)) = argument else { return Self::exact(path) };
        let prefix = pattern.prefix();
        let mut equivalents = vec![format!("{route}{prefix}"), format!("{route}{prefix}*")];
        if prefix.is_empty() {
            equivalents.push(bare.to_owned());
        }
        Self { path, equivalents }
    }

    /// The path that allow patterns match.
    pub(crate) fn as_str(&self) -> &str {
        self.path
    }

    /// The paths that deny patterns match.
    pub(crate) fn spellings(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.path).chain(self.equivalents.iter().map(String::as_str))
    }
}
