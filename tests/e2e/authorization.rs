//! Who may call what: identities without a policy, rules of policies, and all the paths that lead to one resource.

use kes_harness::{Connection, Credential, PROTOCOLS, Payload, Request, Setup};
use percent_encoding::{AsciiSet, percent_encode};

const DENIED: &str = "not authorized: insufficient permissions";

/// Method, path and a sound body of every route that asks for a policy.
const ROUTES: [(&str, &str, &str); 20] = [
    ("GET", "/v1/ready", ""),
    ("GET", "/v1/status", ""),
    ("GET", "/v1/metrics", ""),
    ("GET", "/v1/api", ""),
    ("PUT", "/v1/key/create/my-k", ""),
    ("PUT", "/v1/key/import/my-k", r#"{"key":"AAAA","cipher":"AES256"}"#),
    ("GET", "/v1/key/describe/my-k", ""),
    ("GET", "/v1/key/list/", ""),
    ("GET", "/v1/key/list", ""),
    ("DELETE", "/v1/key/delete/my-k", ""),
    ("PUT", "/v1/key/generate/my-k", "{}"),
    ("PUT", "/v1/key/encrypt/my-k", "{}"),
    ("PUT", "/v1/key/decrypt/my-k", "{}"),
    ("PUT", "/v1/key/hmac/my-k", "{}"),
    ("GET", "/v1/policy/describe/p", ""),
    ("GET", "/v1/policy/read/p", ""),
    ("GET", "/v1/policy/list/", ""),
    ("GET", "/v1/identity/list/", ""),
    ("GET", "/v1/log/error", ""),
    ("GET", "/v1/log/audit", ""),
];

/// The listing routes, and the field of their answers.
const LISTS: [(&str, &str); 3] =
    [("/v1/key/list", "names"), ("/v1/policy/list", "names"), ("/v1/identity/list", "identities")];

/// Every byte of ASCII, letters included.
const ALL: AsciiSet = {
    let (mut set, mut byte) = (AsciiSet::EMPTY, 0);
    while byte < 128 {
        set = set.add(byte);
        byte += 1;
    }
    set
};

/// A text with each byte percent-encoded.
fn encoded(text: &str) -> String {
    percent_encode(text.as_bytes(), &ALL).to_string()
}

/// The paths by which a listing of a prefix can be asked for.
fn listings(bare: &str, prefix: &str) -> Vec<String> {
    let encoded = encoded(prefix);
    let mut paths: Vec<String> = ["", "*", "%2A", "%2a", "?list=all", "*?"]
        .iter()
        .flat_map(|end| [prefix, &encoded].map(|prefix| format!("{bare}/{prefix}{end}")))
        .collect();
    if prefix.is_empty() {
        paths.extend([bare.to_owned(), format!("{bare}%2F"), format!("{bare}?")]);
    }
    paths
}

/// What is listed; none if that is refused.
async fn listed(connection: &mut Connection, path: &str, field: &str) -> Option<Vec<String>> {
    let answer = connection.get(path).await;
    if answer.status == 403 {
        return None;
    }
    let names = answer.ok().json()[field].clone();
    Some(serde_json::from_value(names).expect("names are strings"))
}

fn request(method: &str, path: &str, body: &str) -> Request {
    let request = Request::new(method, path);
    if body.is_empty() { request } else { request.json(body) }
}

#[tokio::test]
async fn row_18_denied_is_403_on_every_route_without_a_policy_and_with_the_wrong_one() {
    let (unknown, bare) = (Credential::generate(), Credential::generate());
    let setup = Setup::new().policy("p", &["/v1/nothing"], &[], &[&bare]);
    let server = setup.start().await;
    let describe = format!("/v1/identity/describe/{}", setup.admin().identity());
    for protocol in PROTOCOLS {
        for client in [&unknown, &bare] {
            let mut connection = server.connect_over(client, protocol).await;
            for (method, path, body) in ROUTES {
                let answer = connection.refusal(request(method, path, body)).await;
                answer.refused(403, DENIED);
            }
            connection.get(&describe).await.refused(403, DENIED);
            connection.get("/version").await.ok();
        }
        let mut connection = server.connect_over(&unknown, protocol).await;
        let answer = connection.get("/v1/identity/self/describe").await;
        answer.refused(404, "identity does not exist");
    }
}

#[tokio::test]
async fn row_18_a_refusal_comes_before_anything_is_said_of_names_bodies_and_keys() {
    let unknown = Credential::generate();
    let setup = Setup::new();
    let server = setup.start().await;
    let mut connection = server.connect(&unknown).await;
    for (path, body) in [
        ("/v1/key/generate/a.b", "{}"),
        ("/v1/key/generate/my-k", "junk"),
        ("/v1/key/import/my-k", ""),
        ("/v1/key/decrypt/my-k", ""),
    ] {
        connection.send(request("PUT", path, body)).await.refused(403, DENIED);
    }
    let large =
        Request::new("PUT", "/v1/key/encrypt/my-k").payload(Payload::chunked("x".repeat(1 << 21)));
    server.connect(&unknown).await.send(large).await.refused(403, DENIED);
}

struct Case {
    allow: &'static [&'static str],
    deny: &'static [&'static str],
    path: &'static str,
    allowed: bool,
}

const fn case(
    allow: &'static [&'static str],
    deny: &'static [&'static str],
    path: &'static str,
    allowed: bool,
) -> Case {
    Case { allow, deny, path, allowed }
}

#[tokio::test]
async fn row_45_deny_wins_a_star_at_the_end_is_a_prefix_and_no_match_is_a_refusal() {
    const DESCRIBE: &str = "/v1/key/describe/*";
    let cases = [
        case(&[DESCRIBE], &[], "/v1/key/describe/my-k", true),
        case(&["/v1/key/describe/my-k"], &[], "/v1/key/describe/my-k", true),
        case(&["/v1/key/describe/my-k"], &[], "/v1/key/describe/my-k2", false),
        case(&["/v1/key/describe/my-"], &[], "/v1/key/describe/my-k", false),
        case(&["/v1/key/describe/my-*"], &[], "/v1/key/describe/my-", true),
        case(&["/v1/key/*/my-k"], &[], "/v1/key/describe/my-k", false),
        case(&["/v1/key/describe/m?-k"], &[], "/v1/key/describe/my-k", false),
        case(&["/v1/*"], &[], "/v1/key/describe/my-k", true),
        case(&["*"], &[], "/v1/key/describe/my-k", true),
        case(&[], &[], "/v1/key/describe/my-k", false),
        case(&[""], &[], "/v1/key/describe/my-k", false),
        case(&[DESCRIBE], &[DESCRIBE], "/v1/key/describe/my-k", false),
        case(&["/v1/key/describe/my-k"], &["/v1/*"], "/v1/key/describe/my-k", false),
        case(&[DESCRIBE], &["/v1/key/describe/my-k"], "/v1/key/describe/my-k", false),
        case(&[DESCRIBE], &["/v1/key/describe/my-k"], "/v1/key/describe/my%2Dk", false),
        case(&[DESCRIBE], &["/v1/key/describe/my-x"], "/v1/key/describe/my-k", true),
        case(
            &["/v1/key/bulk/decrypt", "/v1/policy/show/x", DESCRIBE],
            &[],
            "/v1/key/describe/a",
            true,
        ),
    ];
    let clients: Vec<Credential> = cases.iter().map(|_| Credential::generate()).collect();
    let mut setup = Setup::new();
    for (at, (case, client)) in cases.iter().zip(&clients).enumerate() {
        setup = setup.policy(&format!("p{at}"), case.allow, case.deny, &[client]);
    }
    let server = setup.start().await;
    for (at, (case, client)) in cases.iter().zip(&clients).enumerate() {
        let answer = server.connect(client).await.get(case.path).await;
        let status = if case.allowed { 404 } else { 403 };
        // "my-" is allowed and then no name.
        let status = if case.path.ends_with("my-") { 400 } else { status };
        assert_eq!(answer.status, status, "case {at}: {answer:?}");
    }
}

#[tokio::test]
async fn a_denied_listing_is_denied_under_each_of_its_paths() {
    let caller = Credential::generate();
    let prefix_of_identity = &caller.identity()[..5];
    for (bare, field) in LISTS {
        let prefix = if field == "identities" { prefix_of_identity } else { "zzz" };
        for (prefix, ends) in [(prefix, &["", "**"][..]), ("", &["", "**"])] {
            let mut denied: Vec<_> =
                ends.iter().map(|end| format!("{bare}/{prefix}{end}")).collect();
            if prefix.is_empty() {
                denied.push(bare.to_owned());
            }
            for denied in denied {
                let setup = Setup::new().policy("zzz-p", &["/v1/*"], &[&denied], &[&caller]);
                setup.store("zzz-k", r#"{"bytes":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}"#);
                let server = setup.start().await;
                for protocol in PROTOCOLS {
                    let mut admin = server.connect_over(setup.admin(), protocol).await;
                    let mut caller = server.connect_over(&caller, protocol).await;
                    for path in listings(bare, prefix) {
                        let names = listed(&mut admin, &path, field).await;
                        assert!(names.is_some_and(|names| !names.is_empty()), "{path}");
                        let names = listed(&mut caller, &path, field).await;
                        assert_eq!(names, None, "deny {denied}, ask for {path}");
                    }
                    // A rule forbids a listing, and no others.
                    for other in ["0", "zzz-", "zzz-*"] {
                        let names = listed(&mut caller, &format!("{bare}/{other}"), field).await;
                        assert!(names.is_some(), "deny {denied}, ask for {other}");
                    }
                }
                server.stop().await;
            }
        }
    }
}

#[tokio::test]
async fn an_allowed_listing_is_allowed_as_it_is_written() {
    let caller = Credential::generate();
    let setup = Setup::new().policy("p", &["/v1/key/list/my-"], &[], &[&caller]);
    let server = setup.start().await;
    for protocol in PROTOCOLS {
        let mut caller = server.connect_over(&caller, protocol).await;
        for (path, status) in [
            ("/v1/key/list/my-", 200),
            ("/v1/key/list/my%2d", 200),
            ("/v1/key/list/my-*", 403),
            ("/v1/key/list/my", 403),
            ("/v1/key/list", 403),
        ] {
            assert_eq!(caller.get(path).await.status, status, "{path}");
        }
    }
}

#[tokio::test]
async fn a_name_has_no_second_path() {
    let (caller, other) = (Credential::generate(), Credential::generate());
    let identity = other.identity();
    let setup = Setup::new()
        .policy("other", &[], &[], &[&other])
        .with(serde_json::json!({ "keys": [{ "name": "secret" }] }));
    let described = format!("/v1/identity/describe/{identity}");
    let routes = [
        ("GET", "/v1/key/describe/secret", ""),
        ("PUT", "/v1/key/generate/secret", "{}"),
        ("PUT", "/v1/key/encrypt/secret", "{}"),
        ("GET", "/v1/policy/read/other", ""),
        ("GET", "/v1/policy/describe/other", ""),
        ("GET", described.as_str(), ""),
        ("GET", "/v1/status", ""),
        ("GET", "/v1/metrics", ""),
    ];
    let deny: Vec<_> = routes.iter().map(|(_, path, _)| *path).collect();
    let setup = setup.policy("p", &["*"], &deny, &[&caller]);
    let server = setup.start().await;
    let request = |method, path: &str, body: &str| {
        Request::new(method, path).payload(Payload::sized(body.to_owned()))
    };
    for protocol in PROTOCOLS {
        let mut admin = server.connect_over(setup.admin(), protocol).await;
        let mut caller = server.connect_over(&caller, protocol).await;
        for (method, path, body) in routes {
            admin.send(request(method, path, body)).await.ok();
            let (route, name) = path.rsplit_once('/').expect("a path has a slash");
            let encoded = encoded(name);
            let is_letter = |c: char| c.is_ascii_lowercase();
            let swapped = name.replacen(is_letter, &name.to_uppercase()[..1], 1);
            for written in [
                path.to_owned(),
                format!("{path}?a=b"),
                format!("{route}/{encoded}"),
                format!("{route}%2F{name}"),
                format!("{path}/"),
                format!("{path}%2F"),
                format!("{path}%2F.."),
                format!("{path}/."),
                format!("{route}/./{name}"),
                format!("{route}//{name}"),
                format!("{path}*"),
                format!("{path}%00"),
                format!("{path}%20"),
                format!("{path}%0A"),
                format!("{route}/%20{name}"),
                format!("{route}/%25{}", &encoded[1..]),
                format!("{route}/{}", name.to_uppercase()),
                format!("{route}/{swapped}"),
            ] {
                let status = caller.send(request(method, &written, body)).await.status;
                assert!([400, 403, 404].contains(&status), "{method} {written}: {status}");
            }
        }
    }
}
