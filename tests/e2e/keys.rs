//! Answers about keys: statuses, messages and bodies.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use kes_harness::{Answer, Connection, PROTOCOLS, Setup, go};

const MISSING: &str = "key does not exist";
const KEY_OPERATIONS: [(&str, &str, &str); 5] = [
    ("POST", "generate", "{}"),
    ("POST", "encrypt", "{}"),
    ("POST", "decrypt", r#"{"ciphertext":"AAAA"}"#),
    ("PUT", "hmac", "{}"),
    ("GET", "describe", ""),
];

async fn operate(connection: &mut Connection, operation: (&str, &str, &str), key: &str) -> Answer {
    let (method, name, body) = operation;
    let path = format!("/v1/key/{name}/{key}");
    match method {
        "GET" => connection.get(&path).await,
        _ => connection.send(kes_harness::Request::new(method, &path).json(body)).await,
    }
}

#[tokio::test]
async fn row_15_a_key_that_is_not_there_is_404_key_does_not_exist() {
    let setup = Setup::new();
    let server = setup.start().await;
    for protocol in PROTOCOLS {
        let mut admin = server.connect_over(setup.admin(), protocol).await;
        for operation in KEY_OPERATIONS {
            operate(&mut admin, operation, "no-such-key").await.refused(404, MISSING);
        }
        admin.call("DELETE", "/v1/key/delete/no-such-key").await.refused(404, MISSING);
    }
}

#[tokio::test]
async fn row_16_a_key_that_is_there_is_400_key_already_exists() {
    let setup = Setup::new();
    let server = setup.start().await;
    for (round, protocol) in PROTOCOLS.into_iter().enumerate() {
        let mut admin = server.connect_over(setup.admin(), protocol).await;
        let (create, import) =
            (format!("/v1/key/create/k{round}"), format!("/v1/key/import/k{round}"));
        admin.call("POST", &create).await.ok_empty();
        let made = admin.post(&format!("/v1/key/generate/k{round}"), "{}").await.ok();
        let body = format!(r#"{{"key":"{}","cipher":"AES256"}}"#, kes_harness::b64([3; 32]));
        admin.call("POST", &create).await.refused(400, "key already exists");
        admin.post(&import, &body).await.refused(400, "key already exists");
        let body = format!(r#"{{"ciphertext":"{}"}}"#, made.text("ciphertext"));
        admin.post(&format!("/v1/key/decrypt/k{round}"), &body).await.ok();
    }
}

#[tokio::test]
async fn row_19_a_key_that_cannot_be_read_now_is_never_said_not_to_exist() {
    let setup = Setup::new();
    let _first = setup.start_with_key("k").await;
    // A server that has never read a key cannot know it.
    let fresh = setup.start().await;
    let mut admin = fresh.connect(setup.admin()).await;
    let away: PathBuf = setup.folder().join("away");
    fs::rename(setup.keys(), &away).expect("the folder is ours");
    for operation in KEY_OPERATIONS {
        let answer = operate(&mut admin, operation, "never-made").await;
        answer.refused(502, "failed to read key");
        // The key itself may be at hand; all it may not be is gone.
        let answer = operate(&mut admin, operation, "k").await;
        assert_ne!(answer.status, 404, "{answer:?}");
    }
    for path in ["/v1/key/list/", "/v1/key/list/none*"] {
        admin.get(path).await.refused(502, "failed to list keys");
    }
    admin.call("DELETE", "/v1/key/delete/never-made").await.refused(502, "failed to delete key");

    fs::rename(&away, setup.keys()).expect("the folder is ours");
    for operation in KEY_OPERATIONS.into_iter().filter(|(_, name, _)| *name != "decrypt") {
        operate(&mut admin, operation, "k").await.ok();
        operate(&mut admin, operation, "never-made").await.refused(404, MISSING);
    }
}

#[tokio::test]
async fn row_19_what_is_under_a_key_s_name_and_no_file_is_not_a_missing_key() {
    let setup = Setup::new();
    let server = setup.start().await;
    fs::create_dir(setup.keys().join("folder")).expect("the folder is ours");
    symlink("nowhere", setup.keys().join("dangling")).expect("the folder is ours");
    symlink("loop", setup.keys().join("loop")).expect("the folder is ours");
    symlink("/etc/hostname", setup.keys().join("outside")).expect("the folder is ours");
    setup.store("empty", "");
    let mut admin = server.connect(setup.admin()).await;
    for key in ["folder", "dangling", "loop", "outside", "empty"] {
        for operation in KEY_OPERATIONS {
            let answer = operate(&mut admin, operation, key).await;
            answer.refused(502, "failed to read key");
        }
        let answer = admin.call("POST", &format!("/v1/key/create/{key}")).await;
        assert!(answer.status >= 400, "{key} was made over what is there: {answer:?}");
    }
}

#[tokio::test]
async fn row_21_success_is_always_200() {
    let setup = Setup::new();
    let server = setup.start().await;
    for (round, protocol) in PROTOCOLS.into_iter().enumerate() {
        let mut admin = server.connect_over(setup.admin(), protocol).await;
        let key = format!("k{round}");
        assert_eq!(admin.call("POST", &format!("/v1/key/create/{key}")).await.status, 200);
        for operation in KEY_OPERATIONS.into_iter().filter(|(_, name, _)| *name != "decrypt") {
            assert_eq!(operate(&mut admin, operation, &key).await.status, 200);
        }
        for path in [
            "/version",
            "/v1/ready",
            "/v1/status",
            "/v1/api",
            "/v1/metrics",
            "/v1/key/list",
            "/v1/policy/list",
            "/v1/identity/list",
            "/v1/identity/self/describe",
        ] {
            assert_eq!(admin.get(path).await.status, 200, "{path}");
        }
        let path = format!("/v1/identity/describe/{}", setup.admin().identity());
        assert_eq!(admin.get(&path).await.status, 200);
        assert_eq!(admin.call("DELETE", &format!("/v1/key/delete/{key}")).await.status, 200);
    }
}

#[tokio::test]
async fn row_22_create_import_and_delete_answer_an_empty_body() {
    let setup = Setup::new();
    let server = setup.start().await;
    for (round, protocol) in PROTOCOLS.into_iter().enumerate() {
        let mut admin = server.connect_over(setup.admin(), protocol).await;
        // 50 on one connection: nothing is left on it that belongs to the answer before.
        for key in 0..50 {
            admin.call("POST", &format!("/v1/key/create/k{round}-{key}")).await.ok_empty();
        }
        let body = format!(r#"{{"key":"{}","cipher":"AES256"}}"#, kes_harness::b64([3; 32]));
        admin.post(&format!("/v1/key/import/i{round}"), &body).await.ok_empty();
        admin.call("DELETE", &format!("/v1/key/delete/i{round}")).await.ok_empty();
    }
    go::check(&server, setup.admin(), &["create-unclosed"]).await;
}

#[tokio::test]
async fn row_40_a_failed_create_is_not_503_and_leaves_no_key() {
    let setup = Setup::new();
    let server = setup.start().await;
    let mut admin = server.connect(setup.admin()).await;
    let away = setup.folder().join("away");
    fs::rename(setup.keys(), &away).expect("the folder is ours");
    let body = format!(r#"{{"key":"{}","cipher":"AES256"}}"#, kes_harness::b64([3; 32]));
    admin.call("POST", "/v1/key/create/k").await.refused(502, "failed to create key");
    admin.post("/v1/key/import/k", &body).await.refused(502, "failed to create key");
    assert!(!setup.keys().exists(), "a lost folder is not made anew under a running server");
    fs::rename(&away, setup.keys()).expect("the folder is ours");
    admin.get("/v1/key/describe/k").await.refused(404, MISSING);
    assert_eq!(fs::read_dir(setup.keys()).expect("the folder is there").count(), 0);
    admin.call("POST", "/v1/key/create/k").await.ok_empty();
}
