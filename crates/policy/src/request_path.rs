//! Paths of requests, as the patterns of policies match them.

use kes_types::ListPattern;

/// The path of a request, percent-decoded and without its query, and the other paths that ask for
/// the same.
///
/// Allow patterns match the path as it is written. Deny patterns match the others too: what a rule
/// forbids is forbidden however it is written.
#[derive(Clone, Debug)]
pub struct RequestPath<'a> {
    path: &'a str,
    equivalents: Vec<String>,
}

impl<'a> RequestPath<'a> {
    /// A path that is the only one of its request.
    pub fn exact(path: &'a str) -> Self {
        Self { path, equivalents: Vec::new() }
    }

    /// The path of a listing: `route`, which ends in a slash, and a listing pattern.
    ///
    /// A pattern lists the same names with and without its star, so both are equivalent. For the
    /// listing of all names the route without its last slash is a third path; allow patterns match
    /// the one with the slash instead.
    pub fn listing(route: &'a str, path: &'a str) -> Self {
        let bare = route.strip_suffix('/').unwrap_or(route);
        let path = if path == bare { route } else { path };
        let argument = path.strip_prefix(route).map(ListPattern::parse);
        // What is no pattern lists nothing.
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
