//! Property tests of listings: a deny rule covers every path that lists the same names.

#![expect(clippy::unwrap_used, reason = "a test ends where something cannot be done")]

use kes_policy::{Admin, Assignment, Pattern, Policy, PolicySet, RequestPath};
use kes_types::{Identity, ListPattern, PolicyName, path};
use proptest::prelude::*;

const ROUTES: [&str; 3] = [path::KEY_LIST, path::POLICY_LIST, path::IDENTITY_LIST];

/// Whether a caller whose policy has these patterns may list `path`.
fn may_list(allow: &[String], deny: &[String], route: &str, path: &str) -> bool {
    let patterns = |texts: &[String]| texts.iter().map(|text| Pattern::new(text)).collect();
    let caller = Identity::of_public_key(b"caller");
    let name = PolicyName::parse("policy").unwrap();
    let policy = Policy::new(name, patterns(allow), patterns(deny));
    let assignment = Assignment { policy, identities: vec![caller] };
    let set = PolicySet::new(Admin::new("disabled"), vec![assignment]).unwrap();
    set.subject(&caller).authorize(&RequestPath::listing(route, path)).is_ok()
}

fn may_list_keys(allow: &str, deny: &str, path: &str) -> bool {
    may_list(&[allow.to_owned()], &[deny.to_owned()], path::KEY_LIST, path)
}

/// The prefix that a path lists; `None` where the text is not a listing pattern.
fn prefix_of(route: &str, path: &str) -> Option<String> {
    let argument = path.strip_prefix(route).unwrap_or_default();
    ListPattern::parse(argument).ok().map(|pattern| pattern.prefix().to_owned())
}

/// Whether a pattern matches a path, computed by its definition.
fn matches(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => !pattern.is_empty() && pattern == path,
    }
}

#[test]
fn a_denied_prefix_is_denied_with_and_without_its_star() {
    for (deny, path, is_allowed) in [
        ("/v1/key/list/zzz", "/v1/key/list/zzz", false),
        ("/v1/key/list/zzz", "/v1/key/list/zzz*", false),
        ("/v1/key/list/zzz", "/v1/key/list/zzza", true),
        ("/v1/key/list/zzz", "/v1/key/list/zzza*", true),
        ("/v1/key/list/zzz", "/v1/key/list/zz", true),
        ("/v1/key/list/zzz*", "/v1/key/list/zzz", false),
        ("/v1/key/list/zzz*", "/v1/key/list/zzza*", false),
        ("/v1/key/list/zzz**", "/v1/key/list/zzz", false),
        ("/v1/key/list/zzz**", "/v1/key/list/zzz*", false),
        ("/v1/key/list/zzz**", "/v1/key/list/zzza", true),
    ] {
        assert_eq!(may_list_keys("/v1/*", deny, path), is_allowed, "{deny} {path}");
    }
}

#[test]
fn the_listing_of_everything_has_three_paths() {
    for deny in ["/v1/key/list", "/v1/key/list/", "/v1/key/list/**"] {
        for path in ["/v1/key/list", "/v1/key/list/", "/v1/key/list/*"] {
            assert!(!may_list_keys("*", deny, path), "{deny} {path}");
        }
        assert!(may_list_keys("*", deny, "/v1/key/list/a*"), "{deny}");
    }
}

#[test]
fn allow_patterns_match_the_path_that_is_written() {
    for (allow, path, is_allowed) in [
        ("/v1/key/list/my-*", "/v1/key/list/my-", true),
        ("/v1/key/list/my-*", "/v1/key/list/my-*", true),
        ("/v1/key/list/my-", "/v1/key/list/my-", true),
        ("/v1/key/list/my-", "/v1/key/list/my-*", false),
        ("/v1/key/list/", "/v1/key/list", true),
        ("/v1/key/list/", "/v1/key/list/", true),
        ("/v1/key/list/", "/v1/key/list/*", false),
        ("/v1/key/list", "/v1/key/list", false),
        ("/v1/key/list", "/v1/key/list/", false),
    ] {
        assert_eq!(may_list_keys(allow, "", path), is_allowed, "{allow} {path}");
    }
}

/// Few characters, so that patterns often match paths.
fn argument() -> impl Strategy<Value = String> {
    "[ab]{0,3}\\*{0,2}"
}

/// The path of a listing, or one that is nearly one.
fn path(route: &'static str) -> impl Strategy<Value = String> {
    prop_oneof![
        8 => argument().prop_map(move |argument| format!("{route}{argument}")),
        1 => Just(route.trim_end_matches('/').to_owned()),
    ]
}

/// A pattern for a route, short ones that match several routes included.
fn pattern(route: &'static str) -> impl Strategy<Value = String> {
    prop_oneof![
        8 => path(route),
        1 => (0..route.len()).prop_map(move |len| format!("{}*", &route[..len])),
        1 => Just(String::new()),
    ]
}

fn rules() -> impl Strategy<Value = (&'static str, Vec<String>, Vec<String>)> {
    prop::sample::select(ROUTES.to_vec()).prop_flat_map(|route| {
        let patterns = || prop::collection::vec(pattern(route), 0..4);
        (Just(route), patterns(), patterns())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// Two requests that list the same names are denied both or neither.
    #[test]
    fn requests_that_list_the_same_are_denied_together(
        (route, _, deny) in rules(),
        argument in "[ab]{0,3}",
    ) {
        let everything = ["*".to_owned()];
        let mut paths = vec![format!("{route}{argument}"), format!("{route}{argument}*")];
        if argument.is_empty() {
            paths.push(route.trim_end_matches('/').to_owned());
        }
        let prefixes: Vec<_> = paths.iter().map(|path| prefix_of(route, path)).collect();
        prop_assert!(prefixes.iter().all(|prefix| prefix.as_deref() == Some(argument.as_str())));
        // All equivalent paths are denied, and no other path.
        let is_denied =
            deny.iter().any(|pattern| paths.iter().any(|path| matches(pattern, path)));
        for path in &paths {
            prop_assert_eq!(may_list(&everything, &deny, route, path), !is_denied, "{}", path);
        }
    }

    /// Without deny patterns a request is allowed if the path as written matches, where a list route
    /// without its last slash counts as with it; deny patterns never allow a request.
    #[test]
    fn allow_is_as_written_and_deny_only_takes_away(
        (route, allow, deny) in rules(),
        argument in argument(),
        is_bare in any::<bool>(),
    ) {
        let with_slash = format!("{route}{argument}");
        let path = if is_bare && argument.is_empty() {
            route.trim_end_matches('/')
        } else {
            with_slash.as_str()
        };
        let is_allowed = allow.iter().any(|pattern| matches(pattern, &with_slash));
        prop_assert_eq!(may_list(&allow, &[], route, path), is_allowed);
        let is_denied_as_written = deny.iter().any(|pattern| matches(pattern, path));
        if may_list(&allow, &deny, route, path) {
            prop_assert!(is_allowed && !is_denied_as_written);
        }
    }

    /// Any text can be a path.
    #[test]
    fn no_text_is_allowed_against_a_deny_of_all_listings(text in any::<String>()) {
        for route in ROUTES {
            let deny = [format!("{route}*"), route.trim_end_matches('/').to_owned()];
            let everything = ["*".to_owned()];
            let path = format!("{route}{text}");
            prop_assert!(!may_list(&everything, &deny, route, &path));
        }
    }
}
