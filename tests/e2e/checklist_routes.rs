//! Rows 18, 20, 26, 27, 39, 45 and 47: refusals, names, policies and headers.

use std::fmt::Write as _;

use kes_tests::{Connection, Credential, Payload, Proto, Request, Server, Setup, Tls, WAYS};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

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

fn request(method: &str, path: &str, body: &str) -> Request {
    let request = Request::new(method, path);
    if body.is_empty() { request } else { request.json(body) }
}

#[tokio::test]
async fn row_18_denied_is_403_on_every_route_for_strangers_and_for_the_wrong_policy() {
    let (stranger, bare) = (Credential::generate(), Credential::generate());
    let setup = Setup::new().policy("p", &["/v1/nothing"], &[], &[&bare]);
    let server = setup.start().await;
    let describe = format!("/v1/identity/describe/{}", setup.admin().identity());
    for way in WAYS {
        for client in [&stranger, &bare] {
            let mut connection = server.connect_over(client, way).await;
            for (method, path, body) in ROUTES {
                let answer = connection.refusal(request(method, path, body)).await;
                answer.refused(403, DENIED);
            }
            connection.get(&describe).await.refused(403, DENIED);
            connection.get("/version").await.ok();
        }
        let mut connection = server.connect_over(&stranger, way).await;
        let answer = connection.get("/v1/identity/self/describe").await;
        answer.refused(404, "identity does not exist");
    }
}

#[tokio::test]
async fn row_18_a_refusal_comes_before_anything_is_said_of_names_bodies_and_keys() {
    let stranger = Credential::generate();
    let setup = Setup::new();
    let server = setup.start().await;
    let mut connection = server.connect(&stranger).await;
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
    server.connect(&stranger).await.send(large).await.refused(403, DENIED);
}

#[tokio::test]
async fn row_20_every_error_is_a_json_object_with_a_message() {
    let setup = Setup::new();
    let server = setup.start().await;
    for way in WAYS {
        let mut admin = server.connect_over(setup.admin(), way).await;
        for (method, path, body, status) in [
            ("GET", "/", "", 404),
            ("GET", "/v1/nope", "", 404),
            ("GET", "/v2/key/list", "", 404),
            ("DELETE", "/version", "", 405),
            ("OPTIONS", "/v1/status", "", 405),
            ("GET", "/v1/key/create/my-k", "", 405),
            ("PATCH", "/v1/key/generate/my-k", "{}", 405),
            ("POST", "/v1/key/generate/my-k", "junk", 400),
            ("POST", "/v1/key/generate/my-k", "{}{}", 400),
            ("POST", "/v1/key/generate/my-k", r#"{"context":"a","context":"b"}"#, 400),
            ("POST", "/v1/key/generate/my-k", r#"{"context":"\u0000"}"#, 400),
            ("POST", "/v1/key/import/my-k", "junk", 400),
            ("POST", "/v1/key/generate/my-none", "{}", 404),
            ("GET", "/v1/key/describe/my-none", "", 404),
            ("GET", "/v1/policy/read/none", "", 404),
            ("GET", "/v1/policy/describe/a.b", "", 400),
            ("GET", "/v1/identity/describe/abc", "", 404),
            ("GET", "/v1/identity/describe/a.b", "", 400),
            ("GET", "/v1/identity/list/a.b", "", 400),
        ] {
            let answer = admin.send(request(method, path, body)).await;
            assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
            answer.error();
            assert_eq!(answer.header("content-length"), answer.body.len().to_string());
        }
        let deep = format!(r#"{{"x":{}}}"#, "[".repeat(100_000));
        admin.post("/v1/key/generate/my-k", &deep).await.refused(400, "invalid request body");
        let large = Request::new("POST", "/v1/key/generate/my-k");
        let large = large.payload(Payload::chunked("x".repeat(1 << 21)));
        let answer = admin.send(large).await;
        assert_eq!(answer.status, 413);
        answer.error();
    }
}

#[tokio::test]
async fn row_26_names_are_decoded_once_and_may_have_80_characters() {
    let setup = Setup::new();
    let server = setup.start().await;
    for (round, way) in WAYS.into_iter().enumerate() {
        let mut admin = server.connect_over(setup.admin(), way).await;
        let long = format!("{round}{}", "aZ0_-".repeat(16)).split_at(80).0.replace('-', "_");
        for (sent, name) in [
            (format!("my%2D{round}"), format!("my-{round}")),
            (format!("%6D%79_{round}"), format!("my_{round}")),
            (format!("minio-default-key{round}"), format!("minio-default-key{round}")),
            (long.clone(), long),
        ] {
            admin.call("POST", &format!("/v1/key/create/{sent}")).await.ok_empty();
            let answer = admin.get(&format!("/v1/key/describe/{name}")).await.ok();
            assert_eq!(answer.text("name"), name);
        }
        let twice = admin.call("POST", "/v1/key/create/my%252Dx").await;
        twice.refused(400, "key name 'my%2Dx' is empty, too long or contains invalid characters");
    }
}

#[tokio::test]
async fn row_27_names_that_cannot_be_are_a_clean_4xx() {
    let setup = Setup::new();
    let server = setup.start().await;
    for way in WAYS {
        let mut admin = server.connect_over(setup.admin(), way).await;
        for (path, status) in [
            ("/v1/key", 404),
            ("/v1/key/", 404),
            ("/v1/key/create", 404),
            ("/v1/key/create/", 400),
            ("/v1/key/create/a%2Fb", 400),
            ("/v1/key/create/a/b", 400),
            ("/v1/key/create/a:b", 400),
            ("/v1/key/create/arn:aws:kms:k", 400),
            ("/v1/key/create/%C3%A4%E2%82%AC", 400),
            ("/v1/key/create/%20", 400),
            ("/v1/key/create/a%00b", 400),
            ("/v1/key/create/a%0Ab", 400),
            ("/v1/key/create/a%5Cb", 400),
            ("/v1/key/create/_", 400),
            ("/v1/key/create/a-", 400),
            ("/v1/key/create/%2A", 400),
            ("/v1/key/create/.", 404),
            ("/v1/key/create/..", 404),
            ("/v1/key/create/%2E%2E", 404),
            ("/v1/key/create/..%2F..%2Fetc%2Fpasswd", 404),
            ("/v1/key/create/../create/k", 404),
            ("//v1/key/create/k", 404),
            ("/v1/key//create/k", 404),
            ("/v1/./key/create/k", 404),
            ("/v1/key/create/%", 400),
            ("/v1/key/create/%2", 400),
            ("/v1/key/create/%zz", 400),
            ("/v1/key/create/%FF", 400),
        ] {
            let answer = admin.call("POST", path).await;
            assert_eq!(answer.status, status, "{way:?} {path}: {answer:?}");
            answer.error();
            assert_eq!(answer.header("location"), "");
        }
        let long = format!("/v1/key/create/{}", "k".repeat(5000));
        let answer = admin.call("POST", &long).await;
        assert_eq!(answer.status, 400, "{answer:?}");
        assert_eq!(admin.get("/v1/key/list/").await.ok().json()["names"], serde_json::json!([]));
    }
}

#[tokio::test]
async fn row_27_what_is_not_http_is_answered_or_dropped_and_the_server_lives() {
    let setup = Setup::new();
    let server = setup.start().await;
    for target in ["/v1/key/create/a b", "/v1/\u{1}", "*", "http://x:y@z/v1/status", "/v1/\u{e4}"] {
        let way = (Proto::H1, Tls::V13);
        let mut stream = server.dial().show(setup.admin()).over(way).tls().await.expect("TLS");
        let head = format!(
            "POST {target} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("a request is sent");
        let mut answer = Vec::new();
        // It may be dropped without a close notification.
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let fine = answer.is_empty() || answer.starts_with("HTTP/1.1 4");
        assert!(fine, "{target}: {answer}");
    }
    server.connect(setup.admin()).await.get("/v1/status").await.ok();
}

#[tokio::test]
async fn row_39_bad_input_is_never_5xx() {
    let setup = Setup::new();
    let server = setup.start().await;
    let mut admin = server.connect(setup.admin()).await;
    admin.call("POST", "/v1/key/create/k").await.ok_empty();
    let bodies = [
        "",
        " ",
        "null",
        "true",
        "0",
        "\"\"",
        "[]",
        "[{}]",
        "{",
        "}",
        "{}}",
        "{\"context\":{}}",
        "{\"context\":[1]}",
        "{\"context\":\"*\"}",
        "{\"context\":\"Y\"}",
        "{\"ciphertext\":1}",
        "{\"plaintext\":false}",
        "{\"message\":{}}",
        "{\"key\":null,\"cipher\":null}",
        "{\"key\":\"\",\"cipher\":\"\"}",
        "{\"cipher\":\"\u{e4}'\\n\"}",
        "\u{feff}{}",
        "{\"ciphertext\":\"lQ==\"}",
        "{\"ciphertext\":\"eyJhZWFkIjoiIn0=\"}",
        "{\"\\ud800\":1}",
    ];
    for operation in ["generate", "encrypt", "decrypt", "hmac", "import"] {
        for key in ["k", "missing", "a.b"] {
            for body in bodies {
                let path = format!("/v1/key/{operation}/{key}");
                let answer = admin.post(&path, body).await;
                assert!(answer.status < 500, "{path} {body}: {answer:?}");
            }
            let binary = Request::new("POST", &format!("/v1/key/{operation}/{key}"))
                .payload(Payload::chunked(vec![0xff, 0xfe, 0, 0x95]));
            let answer = admin.send(binary).await;
            assert!((400..500).contains(&answer.status), "{answer:?}");
        }
    }
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
async fn row_47_headers_and_queries_of_older_clients_do_not_matter() {
    let client = Credential::generate();
    let setup = Setup::new().minio(&[&client]);
    let server = setup.start().await;
    server.connect(setup.admin()).await.call("POST", "/v1/key/create/my-k").await.ok_empty();
    for way in WAYS {
        let mut connection = server.connect_over(&client, way).await;
        for path in [
            "/v1/key/generate/my-k",
            "/v1/key/generate/my-k?enclave=tenant",
            "/v1/key/generate/my-k?",
        ] {
            generate_with_headers(&mut connection, path).await;
        }
    }
    long_headers(&server, &client).await;
}

async fn generate_with_headers(connection: &mut Connection, path: &str) {
    for (name, value) in [
        ("Kes-Enclave", "tenant"),
        ("Referer", "https://localhost:7373/v1/key/list"),
        ("Accept", "text/html"),
        ("Accept-Encoding", "gzip"),
        ("Content-Type", "text/plain"),
        ("Content-Type", ""),
        ("User-Agent", ""),
        ("Authorization", "Bearer x"),
        ("Cookie", "a=b"),
        ("X-Tls-Client-Cert", "junk"),
        ("Origin", "https://example.org"),
    ] {
        let request = Request::new("POST", path).header(name, value);
        let answer = connection.send(request.payload(Payload::chunked("{}"))).await.ok();
        assert_eq!(answer.header("content-encoding"), "");
        assert_eq!(answer.fields(), ["ciphertext", "plaintext"]);
    }
}

async fn long_headers(server: &Server, client: &Credential) {
    for way in WAYS {
        let mut connection = server.connect_over(client, way).await;
        let mut request = Request::new("GET", "/v1/status");
        for at in 0..20 {
            let mut name = "x-filler-".to_owned();
            write!(name, "{at}").expect("a string takes text");
            request = request.header(&name, &"v".repeat(100));
        }
        connection.send(request).await.ok();
    }
}
