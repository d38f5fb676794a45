//! Rules for every route: refusals, errors, and the parts of a request that do not matter.

use std::fmt::Write as _;

use kes_harness::{Connection, Credential, PROTOCOLS, Payload, Request, Server, Setup};

const DENIED: &str = "not authorized: insufficient permissions";

fn request(method: &str, path: &str, body: &str) -> Request {
    let request = Request::new(method, path);
    if body.is_empty() { request } else { request.json(body) }
}

#[tokio::test]
async fn every_route_refuses_unknown_identities_other_methods_and_bodies_over_its_limit() {
    let unknown = Credential::generate();
    let setup = Setup::new();
    let server = setup.start().await;
    for protocol in PROTOCOLS {
        let mut admin = server.connect_over(setup.admin(), protocol).await;
        let mut unknown = server.connect_over(&unknown, protocol).await;
        let routes = admin.get("/v1/api").await.ok().json();
        let routes = routes.as_array().expect("a list of routes");
        assert!(routes.len() > 20, "{routes:?}");
        for route in routes {
            let (method, path) = (route["method"].as_str(), route["path"].as_str());
            let (method, mut path) = (method.expect("a method"), path.expect("a path").to_owned());
            if path.ends_with('/') {
                path.push_str("my-k");
            }

            let answer = unknown.send(Request::new(method, &path)).await;
            match path.as_str() {
                "/version" => drop(answer.ok()),
                "/v1/identity/self/describe" => answer.refused(404, "identity does not exist"),
                _ => answer.refused(403, DENIED),
            }

            let answer = admin.call("PATCH", &path).await;
            answer.refused(405, "method not allowed");
            assert!(answer.header("allow").starts_with(method), "{path}: {answer:?}");

            let max = route["max_body"].as_u64().expect("a number of bytes");
            if max > 0 {
                let long = "x".repeat(usize::try_from(max).expect("a body fits into memory") + 1);
                let request = Request::new(method, &path).payload(Payload::chunked(long));
                let answer = server.connect_over(setup.admin(), protocol).await.send(request).await;
                answer.refused(413, "request body is too large");
            }
        }
    }
}

#[tokio::test]
async fn row_20_every_error_is_a_json_object_with_a_message() {
    let setup = Setup::new();
    let server = setup.start().await;
    for protocol in PROTOCOLS {
        let mut admin = server.connect_over(setup.admin(), protocol).await;
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
async fn row_39_bad_input_is_never_5xx() {
    let setup = Setup::new();
    let server = setup.start_with_key("k").await;
    let mut admin = server.connect(setup.admin()).await;
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

#[tokio::test]
async fn row_47_headers_and_queries_of_older_clients_do_not_matter() {
    let client = Credential::generate();
    let setup = Setup::new().minio(&[&client]);
    let server = setup.start_with_key("my-k").await;
    for protocol in PROTOCOLS {
        let mut connection = server.connect_over(&client, protocol).await;
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
    for protocol in PROTOCOLS {
        let mut connection = server.connect_over(client, protocol).await;
        let mut request = Request::new("GET", "/v1/status");
        for at in 0..20 {
            let mut name = "x-filler-".to_owned();
            write!(name, "{at}").expect("a string takes text");
            request = request.header(&name, &"v".repeat(100));
        }
        connection.send(request).await.ok();
    }
}
