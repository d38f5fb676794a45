//! Listings, status, metrics and the other routes.

use kes_harness::{Credential, PROTOCOLS, Payload, Request, Setup, b64, go};
use serde_json::{Value, json};

async fn names(connection: &mut kes_harness::Connection, path: &str) -> Vec<String> {
    let names = connection.get(path).await.ok().json()["names"].clone();
    serde_json::from_value(names).expect("names are strings")
}

#[tokio::test]
async fn row_32_keys_are_listed_with_and_without_slash_prefix_and_star() {
    let setup = Setup::new();
    let server = setup.start().await;
    let mut admin = server.connect(setup.admin()).await;
    let all = ["a", "a-b", "ab", "b", "zz"];
    for key in all {
        admin.call("POST", &format!("/v1/key/create/{key}")).await.ok_empty();
    }
    for protocol in PROTOCOLS {
        let mut admin = server.connect_over(setup.admin(), protocol).await;
        for path in ["/v1/key/list", "/v1/key/list/", "/v1/key/list/*", "/v1/key/list/%2A"] {
            assert_eq!(names(&mut admin, path).await, all, "{path}");
        }
        for path in ["/v1/key/list/a", "/v1/key/list/a*", "/v1/key/list/a%2A"] {
            assert_eq!(names(&mut admin, path).await, ["a", "a-b", "ab"], "{path}");
        }
        assert_eq!(names(&mut admin, "/v1/key/list/a-").await, ["a-b"]);
        assert_eq!(names(&mut admin, "/v1/key/list/zzz").await, [""; 0]);
    }
}

#[tokio::test]
async fn row_32_only_keys_are_listed() {
    let setup = Setup::new();
    let server = setup.start_with_key("k").await;
    let mut admin = server.connect(setup.admin()).await;
    for name in [".hidden", "a.b", "..data", "name with space", "-x"] {
        setup.store(name, "junk");
    }
    std::fs::create_dir(setup.keys().join("folder")).expect("the folder is ours");
    assert_eq!(names(&mut admin, "/v1/key/list").await, ["k"]);
}

#[tokio::test]
async fn row_33_the_pattern_with_a_slash_allows_the_path_without() {
    let (listing, prefix, denied) =
        (Credential::generate(), Credential::generate(), Credential::generate());
    let setup = Setup::new()
        .policy("listing", &["/v1/key/list/*"], &[], &[&listing])
        .policy("prefix", &["/v1/key/list/my-*"], &[], &[&prefix])
        .policy("denied", &["/v1/key/list/*"], &["/v1/key/list"], &[&denied]);
    let server = setup.start().await;
    for protocol in PROTOCOLS {
        let mut connection = server.connect_over(&listing, protocol).await;
        for path in ["/v1/key/list", "/v1/key/list/", "/v1/key/list/my-*"] {
            let answer = connection.get(path).await.ok();
            assert_eq!(answer.header("location"), "");
        }
        let mut connection = server.connect_over(&prefix, protocol).await;
        for path in ["/v1/key/list", "/v1/key/list/", "/v1/key/list/*"] {
            assert_eq!(connection.get(path).await.status, 403, "{path}");
        }
        connection.get("/v1/key/list/my-*").await.ok();
        let mut connection = server.connect_over(&denied, protocol).await;
        assert_eq!(connection.get("/v1/key/list").await.status, 403);
    }
}

/// Stores keys of these names, and returns the names in the order of a listing.
fn store_all(setup: &Setup, names: impl Iterator<Item = String>) -> Vec<String> {
    let stored = format!(r#"{{"bytes":"{}"}}"#, b64([1; 32]));
    let mut all: Vec<String> = names.collect();
    for key in &all {
        setup.store(key, &stored);
    }
    all.sort();
    all
}

#[tokio::test]
async fn row_34_5000_keys_are_one_page() {
    let setup = Setup::new();
    let all = store_all(&setup, (0..5000).map(|at| format!("my-key-{at}")));
    let server = setup.start().await;
    let mut admin = server.connect(setup.admin()).await;
    let answer = admin.get("/v1/key/list").await.ok();
    let page = answer.json();
    assert_eq!(page["names"], json!(all));
    assert!(page.get("continue_at").is_none_or(|next| next == ""), "{}", page["continue_at"]);
    go::check(&server, setup.admin(), &["list-5000"]).await;
}

#[tokio::test]
async fn row_34_more_than_a_page_is_read_to_its_end_by_following_continue_at() {
    let setup = Setup::new();
    let long = "x".repeat(70);
    let all = store_all(&setup, (0..13_000).map(|at| format!("{long}-{at:05}")));
    let server = setup.start().await;
    let mut admin = server.connect(setup.admin()).await;
    let answer = admin.get("/v1/key/list").await.ok();
    assert!(answer.body.len() <= 1_000_000, "{}", answer.body.len());
    let page = answer.json();
    let first: Vec<String> = serde_json::from_value(page["names"].clone()).expect("names");
    assert!(first.len() > 10_000 && first.len() < all.len(), "{}", first.len());
    assert_eq!(first, all[..first.len()]);
    assert_eq!(page["continue_at"], all[first.len()].as_str());
}

#[tokio::test]
async fn row_35_describe_has_the_fields_that_clients_decode() {
    let setup = Setup::new();
    let server = setup.start_with_key("k").await;
    let mut admin = server.connect(setup.admin()).await;
    let import = json!({ "key": b64([1; 32]), "cipher": "XCHACHA20-POLY1305" }).to_string();
    admin.post("/v1/key/import/i", &import).await.ok_empty();
    for (key, algorithms) in [("k", &["AES256", "ChaCha20"][..]), ("i", &["ChaCha20"])] {
        let answer = admin.get(&format!("/v1/key/describe/{key}")).await.ok();
        assert_eq!(answer.fields(), ["algorithm", "created_at", "created_by", "name"]);
        assert_eq!(answer.text("name"), key);
        assert_eq!(answer.text("created_by"), setup.admin().identity());
        assert!(algorithms.contains(&answer.text("algorithm").as_str()), "{answer:?}");
        let at = answer.text("created_at");
        assert!(at.starts_with("20") && at.contains('T') && at.ends_with('Z'), "{at}");
    }
    go::check(&server, setup.admin(), &["describe"]).await;
}

#[tokio::test]
async fn row_36_status_has_the_fields_that_clients_decode() {
    let setup = Setup::new();
    let server = setup.start().await;
    let mut admin = server.connect(setup.admin()).await;
    let answer = admin.get("/v1/status").await.ok();
    let status = answer.json();
    assert_eq!(status["os"], std::env::consts::OS);
    for number in ["num_cpu", "num_cpu_used", "mem_heap_used", "mem_stack_used", "keystore_latency"]
    {
        assert!(status[number].as_u64().is_some(), "{number} in {status}");
    }
    assert!(status["uptime"].as_u64().is_some(), "whole seconds: {status}");
    assert!(status["keystore_latency"].as_u64() > Some(0), "nanoseconds: {status}");
    go::check(&server, setup.admin(), &["status"]).await;

    // A store that is away: never unreachable without unavailable.
    std::fs::rename(setup.keys(), setup.folder().join("away")).expect("the folder is ours");
    let status = admin.get("/v1/status").await.ok().json();
    assert_eq!(status["keystore_unavailable"], Value::Bool(true), "{status}");
    let ready = admin.get("/v1/ready").await;
    assert!(matches!(ready.status, 502 | 504), "{ready:?}");
    ready.error();
    go::check(&server, setup.admin(), &["status"]).await;
}

#[tokio::test]
async fn row_38_version_asks_for_no_policy_and_the_routes_are_listed() {
    let unknown = Credential::generate();
    let setup = Setup::new();
    let server = setup.start().await;
    for protocol in PROTOCOLS {
        let answer = server.connect_over(&unknown, protocol).await.get("/version").await.ok();
        assert_eq!(answer.fields(), ["commit", "version"]);
        let routes =
            server.connect_over(setup.admin(), protocol).await.get("/v1/api").await.ok().json();
        let routes = routes.as_array().expect("an array");
        assert!(routes.len() >= 22, "{routes:?}");
        for route in routes {
            assert!(route["method"].is_string() && route["path"].is_string(), "{route}");
            assert!(route["max_body"].is_u64() && route["timeout"].is_u64(), "{route}");
        }
        let generate = routes.iter().find(|route| route["path"] == "/v1/key/generate/");
        let generate = generate.expect("the route is listed");
        assert_eq!((&generate["max_body"], &generate["timeout"]), (&json!(1 << 20), &json!(15)));
    }
    go::check(&server, setup.admin(), &["version", "apis"]).await;
}

#[tokio::test]
async fn row_41_with_skip_auth_a_probe_needs_no_certificate_and_the_rest_still_does() {
    let client = Credential::generate();
    let setup = Setup::new()
        .minio(&[&client])
        .with(json!({ "api": { "/v1/ready": { "skip_auth": true } } }));
    let server = setup.start().await;
    for protocol in PROTOCOLS {
        let mut probe = server.dial().over(protocol).connect().await.expect("a connection");
        let ready = probe.get("/v1/ready").await.ok();
        assert!(ready.body.is_empty());
        probe.get("/version").await.ok();
        for (method, path) in [
            ("GET", "/v1/status"),
            ("GET", "/v1/key/list"),
            ("POST", "/v1/key/create/my-k"),
            ("GET", "/v1/identity/self/describe"),
            ("GET", "/v1/log/audit"),
        ] {
            let answer = probe.refusal(Request::new(method, path)).await;
            answer.refused(400, "tls: client certificate is required");
        }
        let mut connection = server.connect_over(&client, protocol).await;
        connection.get("/v1/ready").await.ok();
        connection.get("/v1/status").await.ok();
    }
}

#[tokio::test]
async fn row_42_metrics_are_text_that_the_go_client_reads() {
    let setup = Setup::new();
    let server = setup.start().await;
    let mut admin = server.connect(setup.admin()).await;
    admin.get("/v1/nope").await.error();
    let answer = admin.get("/v1/metrics").await.ok();
    assert!(answer.header("content-type").starts_with("text/plain"), "{answer:?}");
    let text = String::from_utf8(answer.body.to_vec()).expect("text");
    for (family, kind) in [
        ("kes_http_request_success", "counter"),
        ("kes_http_request_error", "counter"),
        ("kes_http_request_failure", "counter"),
        ("kes_http_request_active", "gauge"),
        ("kes_http_response_time", "histogram"),
        ("kes_log_error_events", "counter"),
        ("kes_log_audit_events", "counter"),
        ("kes_system_up_time", "gauge"),
        ("kes_system_num_cpu", "gauge"),
        ("kes_system_num_cpu_used", "gauge"),
        ("kes_system_num_threads", "gauge"),
        ("kes_system_mem_heap_used", "gauge"),
        ("kes_system_mem_heap_objects", "gauge"),
        ("kes_system_mem_stack_used", "gauge"),
    ] {
        let line = format!("# TYPE {family} {kind}");
        assert!(text.lines().any(|it| it == line), "no '{line}' in\n{text}");
    }
    for bucket in ["0.01", "0.05", "0.1", "0.25", "0.5", "1", "1.5", "3", "5", "10", "+Inf"] {
        let series = format!("kes_http_response_time_bucket{{le=\"{bucket}\"}}");
        assert!(text.contains(&series), "no '{series}' in\n{text}");
    }
    go::check(&server, setup.admin(), &["metrics"]).await;
}

#[tokio::test]
async fn row_43_the_other_calls_of_the_go_client_work() {
    let client = Credential::generate();
    let setup = Setup::new().minio(&[&client]).policy("p", &["/v1/status"], &["/v1/*"], &[]);
    let server = setup.start().await;
    for (round, protocol) in PROTOCOLS.into_iter().enumerate() {
        let mut admin = server.connect_over(setup.admin(), protocol).await;
        for (at, cipher) in
            ["AES256", "ChaCha20", "AES256-GCM_SHA256", "XCHACHA20-POLY1305"].iter().enumerate()
        {
            let key = format!("k{round}-{at}");
            let import = json!({ "key": b64([1; 32]), "cipher": cipher }).to_string();
            admin.post(&format!("/v1/key/import/{key}"), &import).await.ok_empty();
            let body = Payload::chunked(r#"{"plaintext":"aGVsbG8=","context":"Yw=="}"#);
            let request = Request::new("PUT", &format!("/v1/key/encrypt/{key}")).payload(body);
            let sealed = admin.send(request).await.ok().text("ciphertext");
            let body = json!({ "ciphertext": sealed, "context": "Yw==" }).to_string();
            let opened = admin.post(&format!("/v1/key/decrypt/{key}"), &body).await.ok();
            assert_eq!(opened.text("plaintext"), "aGVsbG8=");
            admin.call("DELETE", &format!("/v1/key/delete/{key}")).await.ok_empty();
        }
        let policy = admin.get("/v1/policy/read/p").await.ok().json();
        assert_eq!(policy["allow"], json!({ "/v1/status": {} }));
        assert_eq!(policy["deny"], json!({ "/v1/*": {} }));
        assert_eq!(policy["created_by"], setup.admin().identity());
        assert_eq!(names(&mut admin, "/v1/policy/list/*").await, ["minio", "p"]);
        let mut known = [setup.admin().identity(), client.identity()];
        known.sort_unstable();
        let listed = admin.get("/v1/identity/list").await.ok().json();
        assert_eq!(listed["identities"], json!(known));
        let path = format!("/v1/identity/describe/{}", client.identity());
        assert_eq!(admin.get(&path).await.ok().json()["policy"], "minio");
        let mut connection = server.connect_over(&client, protocol).await;
        let own = connection.get("/v1/identity/self/describe").await.ok().json();
        assert_eq!(
            (&own["policy"], &own["identity"]),
            (&json!("minio"), &json!(client.identity()))
        );
    }
    go::check(&server, setup.admin(), &["import", "encrypt", "delete", "policies", "identities"])
        .await;
    go::check(&server, &client, &["self"]).await;
}
