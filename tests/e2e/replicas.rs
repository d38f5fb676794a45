//! Several servers on one key directory, restarts, and a store that hangs.

use std::collections::BTreeSet;

use kes_harness::{Connection, PROTOCOLS, Request, Server, Setup, unb64};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;

async fn seal(connection: &mut Connection, key: &str) -> (String, String) {
    let body = json!({ "context": "Y3R4" }).to_string();
    let made = connection.post(&format!("/v1/key/generate/{key}"), &body).await.ok();
    (made.text("ciphertext"), made.text("plaintext"))
}

async fn opens(connection: &mut Connection, key: &str, (ciphertext, plaintext): &(String, String)) {
    let body = json!({ "ciphertext": ciphertext, "context": "Y3R4" }).to_string();
    let opened = connection.post(&format!("/v1/key/decrypt/{key}"), &body).await.ok();
    assert_eq!(opened.text("plaintext"), *plaintext);
}

#[tokio::test]
async fn row_17_create_is_atomic_across_replicas() {
    let setup = Setup::new();
    let servers = [setup.start().await, setup.start().await];
    let mut connections = Vec::new();
    for at in 0..16 {
        connections.push(servers[at % 2].connect(setup.admin()).await);
    }
    for round in 0..10 {
        let path = format!("/v1/key/create/k{round}");
        let mut pending = Vec::new();
        for connection in &mut connections {
            let request = Request::new("POST", &path);
            pending.push(connection.start(request).await.expect("a connection"));
        }
        let mut winners = 0;
        for pending in pending {
            let answer = pending.answer().await;
            if answer.status == 200 {
                answer.ok_empty();
                winners += 1;
            } else {
                answer.refused(400, "key already exists");
            }
        }
        assert_eq!(winners, 1, "round {round}");
        one_material(&mut connections, &format!("k{round}")).await;
    }
}

async fn one_material(connections: &mut [Connection], key: &str) {
    let mut sealed = Vec::new();
    for connection in connections.iter_mut() {
        sealed.push(seal(connection, key).await);
    }
    for (at, connection) in connections.iter_mut().enumerate() {
        opens(connection, key, &sealed[(at + 1) % sealed.len()]).await;
    }
}

#[tokio::test]
async fn row_23_an_answer_comes_also_when_the_store_hangs() {
    let setup = Setup::new();
    let server = setup.start().await;
    // Opening a FIFO for reading blocks until there is a writer, and there is none.
    let path = setup.keys().join("hangs");
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a FIFO can be made");
    for protocol in PROTOCOLS {
        let mut admin = server.connect_over(setup.admin(), protocol).await;
        for (method, operation, body) in [
            ("POST", "decrypt", r#"{"ciphertext":"AAAA"}"#),
            ("POST", "generate", "{}"),
            ("GET", "describe", ""),
        ] {
            let request = Request::new(method, &format!("/v1/key/{operation}/hangs"));
            let answer = admin.send(request.json(body)).await;
            assert!(answer.status >= 500, "{answer:?}");
            assert_eq!(answer.error(), "failed to read key");
        }
        // The others are not affected.
        admin.get("/v1/key/list/").await.ok();
        admin.get("/v1/key/describe/other").await.refused(404, "key does not exist");
    }
    server.stop().await;
}

#[tokio::test]
async fn row_24_a_created_key_is_usable_at_once_on_every_replica() {
    let setup = Setup::new();
    let (a, b) = (setup.start().await, setup.start().await);
    let (mut a, mut b) = (a_connection(&a, &setup).await, a_connection(&b, &setup).await);
    for round in 0..20 {
        let key = format!("k{round}");
        // Both have just got the answer that it does not exist.
        for connection in [&mut a, &mut b] {
            let path = format!("/v1/key/generate/{key}");
            connection.post(&path, "{}").await.refused(404, "key does not exist");
        }
        a.call("POST", &format!("/v1/key/create/{key}")).await.ok_empty();
        let sealed = seal(&mut b, &key).await;
        opens(&mut a, &key, &sealed).await;
        let answer = b.call("POST", &format!("/v1/key/create/{key}")).await;
        answer.refused(400, "key already exists");
    }
}

async fn a_connection(server: &Server, setup: &Setup) -> Connection {
    server.connect(setup.admin()).await
}

#[tokio::test]
async fn row_25_ciphertexts_open_after_restarts_and_on_other_replicas() {
    // Keys are dropped from the cache as soon as can be: each use reads the store.
    let cache = json!({ "cache": { "expiry": { "any": "1ms", "unused": "1ms" } } });
    let setup = Setup::new().with(cache);
    let server = setup.start().await;
    let mut admin = server.connect(setup.admin()).await;
    let mut sealed = Vec::new();
    for key in ["k1", "k2"] {
        admin.call("POST", &format!("/v1/key/create/{key}")).await.ok_empty();
        sealed.push((key, seal(&mut admin, key).await));
    }
    server.stop().await;
    let server = setup.start().await;
    let mut admin = server.connect(setup.admin()).await;
    for (key, made) in &sealed {
        opens(&mut admin, key, made).await;
    }
    admin.call("POST", "/v1/key/create/k3").await.ok_empty();
    sealed.push(("k3", seal(&mut admin, "k3").await));
    // A key that was answered 200 outlives a crash.
    server.kill().await;
    for server in [setup.start().await, setup.start().await] {
        let mut admin = server.connect(setup.admin()).await;
        for (key, made) in &sealed {
            for _ in 0..3 {
                opens(&mut admin, key, made).await;
            }
        }
    }
}

#[tokio::test]
async fn row_37_an_hmac_is_the_same_on_all_replicas_and_for_ever() {
    let setup = Setup::new();
    let mut servers = vec![setup.start().await, setup.start().await];
    let mut macs = BTreeSet::new();
    servers[0].connect(setup.admin()).await.call("POST", "/v1/key/create/k").await.ok_empty();
    for round in 0..2 {
        for server in &servers {
            for protocol in PROTOCOLS {
                let mut admin = server.connect_over(setup.admin(), protocol).await;
                // MinIO sends no content type here.
                let body = kes_harness::Payload::chunked(r#"{"message":"cm9vdCBhY2Nlc3Mga2V5"}"#);
                let request = Request::new("PUT", "/v1/key/hmac/k").payload(body);
                let answer = admin.send(request).await.ok();
                assert_eq!(answer.fields(), ["hmac"]);
                macs.insert(answer.text("hmac"));
            }
        }
        if round == 0 {
            for server in servers.drain(..) {
                server.stop().await;
            }
            servers = vec![setup.start().await, setup.start().await];
        }
    }
    assert_eq!(macs.len(), 1, "{macs:?}");
    assert_eq!(macs.iter().map(|mac| unb64(mac).len()).collect::<Vec<_>>(), [32]);
    let mut admin = servers[0].connect(setup.admin()).await;
    let other = admin.post("/v1/key/hmac/k", r#"{"message":"eA=="}"#).await.ok();
    assert!(!macs.contains(&other.text("hmac")));
    setup.store("old", format!(r#"{{"bytes":"{}"}}"#, kes_harness::b64([1; 32])));
    let answer = admin.post("/v1/key/hmac/old", r#"{"message":"eA=="}"#).await;
    answer.refused(409, "key does not support HMAC");
}
