//! Finds the routes that a path pattern can match.

use kes_policy::{Pattern, Policy, RequestPath};
use kes_types::path;

use crate::suggest;

/// The routes of listings, which have several paths for the same names; deny patterns match them all.
const LISTS: [&str; 3] = [path::KEY_LIST, path::POLICY_LIST, path::IDENTITY_LIST];

/// The list of a policy that a pattern is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Allow,
    Deny,
}

/// Returns whether a pattern can match the path of a route.
pub(crate) fn can_match(pattern: &str, side: Side) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => path::ALL.iter().any(|route| {
            route.starts_with(prefix)
                || rest(prefix, route).is_some_and(is_part_of_name)
                // Listings may be asked for with a star.
                || LISTS.contains(route)
                    && rest(prefix, route)
                        .and_then(|rest| rest.strip_suffix('*'))
                        .is_some_and(is_part_of_name)
        }),
        None => path::ALL.iter().any(|route| {
            pattern == *route && (!route.ends_with('/') || LISTS.contains(route))
                || side == Side::Deny && LISTS.contains(route) && pattern == without_slash(route)
                || rest(pattern, route)
                    .is_some_and(|rest| !rest.is_empty() && is_part_of_name(rest))
        }),
    }
}

/// Returns whether both patterns match a common path.
pub(crate) fn overlap(allow: &str, deny: &str) -> bool {
    let list = LISTS.iter().find(|route| without_slash(route) == deny);
    // A list route without its last slash is allowed as with it.
    let deny = list.copied().unwrap_or(deny);
    // So is a listing that is denied with its star.
    let is_overlapping = |deny: &str| match (allow.strip_suffix('*'), deny.strip_suffix('*')) {
        (Some(one), Some(other)) => one.starts_with(other) || other.starts_with(one),
        (Some(prefix), None) => deny.starts_with(prefix),
        (None, Some(prefix)) => allow.starts_with(prefix),
        (None, None) => allow == deny,
    };
    is_overlapping(deny)
        || deny.strip_suffix("**").is_some_and(|deny| is_of_listing(deny) && is_overlapping(deny))
}

/// Returns the path of a listing that a policy allows and that contains one that it denies.
pub(crate) fn wider_listing(policy: &Policy, deny: &Pattern) -> Option<String> {
    let route = LISTS.into_iter().find(|route| deny.as_str().starts_with(route))?;
    let prefix = deny.as_str().get(route.len()..)?.trim_end_matches('*');
    (0..prefix.len())
        .filter_map(|len| Some(format!("{route}{}", prefix.get(..len)?)))
        .find(|path| policy.allows(&RequestPath::listing(route, path)))
}

/// Describes why a pattern can match nothing.
pub(crate) fn explain(pattern: &str) -> String {
    let shown = suggest::shown(pattern);
    if pattern.is_empty() {
        return "is empty and matches nothing".to_owned();
    }
    if pattern.strip_suffix('*').unwrap_or(pattern).contains('*') {
        return format!("'{shown}' matches no route; a `*` stands for more only at the end");
    }
    let spelling = match nearest(pattern) {
        Some(route) if route.ends_with('/') => format!("; did you mean `{route}*`?"),
        Some(route) => format!("; did you mean `{route}`?"),
        None => String::new(),
    };
    format!("'{shown}' matches no route of this server{spelling}")
}

/// Returns the route that is most similar to a path.
pub(crate) fn nearest(written: &str) -> Option<&'static str> {
    const DISTANCE_MAX: usize = 3;
    let slashes = written.match_indices('/').map(|(index, _)| index);
    let head = slashes.skip(3).map(|index| index + 1).next().unwrap_or(written.len());
    let head = written.get(..head).unwrap_or(written);
    if head.len() > 2 * path::IDENTITY_SELF.len() {
        return None;
    }
    let distance = |route: &'static str| {
        let bare = strsim::osa_distance(without_slash(head), without_slash(route));
        (bare.min(strsim::osa_distance(written.get(..60).unwrap_or(written), route)), route)
    };
    let best = path::ALL.into_iter().map(distance).min_by_key(|(distance, _)| *distance);
    best.filter(|(distance, _)| *distance <= DISTANCE_MAX).map(|(_, route)| route)
}

/// Returns a path without its last slash.
pub(crate) fn without_slash(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}

/// Returns the name that follows a route in a path.
fn rest<'a>(path: &'a str, route: &str) -> Option<&'a str> {
    if route.ends_with('/') { path.strip_prefix(route) } else { None }
}

fn is_of_listing(path: &str) -> bool {
    LISTS.iter().any(|route| path.starts_with(route))
}

fn is_part_of_name(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_routes_can_match() {
        for pattern in [
            "*",
            "/v1/*",
            "/v1/key/cre*",
            "/v1/key/create/*",
            "/v1/key/create/my-*",
            "/v1/key/create/my-key",
            "/v1/key/list/",
            "/v1/key/list*",
            "/v1/key/list/my-**",
            "/v1/status",
            "/version",
            "/v1/log/audit",
            "/v1/identity/self/describe",
        ] {
            assert!(can_match(pattern, Side::Allow), "{pattern}");
        }
        assert!(can_match("/v1/key/list", Side::Deny));
    }

    #[test]
    fn patterns_of_no_route_cannot_match() {
        for pattern in [
            "",
            "/v1/key/bulk/decrypt",
            "/v1/key/bulk/decrypt/*",
            "/v1/policy/show/*",
            "/v1/key/create",
            "/v1/key/create/",
            "/v1/key/list",
            "/v1/key/create/a.b",
            "/v1/key/*/my-key",
            "/v1/key/list/my-***",
            "/v1/key/create/my-**",
            "/v1/status/",
            "/v1/status/*",
            "v1/status",
            "/v1/Status",
        ] {
            assert!(!can_match(pattern, Side::Allow), "{pattern}");
        }
    }

    #[test]
    fn overlaps_are_what_both_patterns_match() {
        for (allow, deny, overlaps) in [
            ("/v1/key/create/*", "/v1/key/create/my-*", true),
            ("/v1/key/create/my-*", "/v1/key/*", true),
            ("/v1/key/create/my-key", "/v1/key/create/my-*", true),
            ("/v1/key/create/*", "/v1/key/create/my-key", true),
            ("/v1/key/create/my-*", "/v1/key/create/your-*", false),
            ("/v1/key/create/*", "/v1/key/delete/*", false),
            ("/v1/status", "/v1/status", true),
            ("/v1/key/list/*", "/v1/key/list", true),
            ("/v1/key/list/my-", "/v1/key/list/my-**", true),
            ("/v1/key/list/my-a", "/v1/key/list/my-**", false),
            ("/v1/key/create/my-", "/v1/key/create/my-**", false),
        ] {
            assert_eq!(overlap(allow, deny), overlaps, "{allow} {deny}");
        }
    }

    #[test]
    fn misspelt_routes_find_their_right_ones() {
        assert_eq!(nearest("/v1/key/creat/my-*"), Some("/v1/key/create/"));
        assert_eq!(nearest("/v1/key/create"), Some("/v1/key/create/"));
        assert_eq!(nearest("/v1/redy"), Some("/v1/ready"));
        assert_eq!(nearest("/v1/key/bulk/decrypt"), None);
    }
}
