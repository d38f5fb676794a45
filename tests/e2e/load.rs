//! `MinIO`'s normal load on one connection is served without throttling.

use kes_harness::Proto;
use kes_harness::frame::{Frames, GOAWAY, SETTINGS};
use kes_harness::{Credential, PROTOCOLS, Payload, Request, Setup, Tls};
use rustix::process::Signal;

/// What one h2 connection has in flight.
const STREAMS: usize = 200;

#[tokio::test]
async fn row_30_a_thousand_failures_do_not_lock_a_client_out() {
    let client = Credential::generate();
    let setup = Setup::new().minio(&[&client]);
    let server = setup.start_with_key("my-k").await;
    for protocol in PROTOCOLS {
        let mut connection = server.connect_over(&client, protocol).await;
        for _ in 0..1000 {
            let answer = connection.post("/v1/key/decrypt/my-k", r#"{"ciphertext":"AAAA"}"#).await;
            answer.refused(400, "decryption failed: ciphertext is not authentic");
        }
        for _ in 0..200 {
            assert_eq!(connection.get("/v1/key/describe/secret").await.status, 403);
        }
        connection.post("/v1/key/generate/my-k", "{}").await.ok();
        server.connect_over(&client, protocol).await.get("/v1/status").await.ok();
    }
}

#[tokio::test]
async fn row_30_many_requests_at_once_on_one_connection_are_all_answered() {
    let setup = Setup::new();
    let server = setup.start_with_key("k").await;
    let mut admin = server.connect(setup.admin()).await;
    for _ in 0..10 {
        let mut pending = Vec::new();
        for _ in 0..STREAMS {
            let request = Request::new("POST", "/v1/key/generate/k").json("{}");
            pending.push(admin.start(request).await.expect("a connection"));
        }
        for pending in pending {
            pending.answer().await.ok();
        }
    }
}

#[tokio::test]
async fn row_31_at_least_250_streams_may_be_open_at_once() {
    let setup = Setup::new();
    let server = setup.start().await;
    let protocol = (Proto::H2, Tls::V13);
    let mut frames =
        Frames::open(&server.dial().show(setup.admin()).over(protocol)).await.expect("h2");
    let settings = frames.find(SETTINGS).await.expect("the server's settings");
    let streams = settings.max_concurrent_streams();
    assert!(streams.is_none_or(|streams| streams >= 250), "{streams:?}");
}

#[tokio::test]
async fn row_31_parallel_streams_whose_bodies_are_still_being_sent_are_answered() {
    let setup = Setup::new();
    let server = setup.start_with_key("k").await;
    let mut admin = server.connect(setup.admin()).await;
    let mut open = Vec::new();
    for _ in 0..STREAMS {
        let (mut feed, payload) = Payload::fed();
        let request = Request::new("POST", "/v1/key/generate/k").payload(payload);
        let pending = admin.start(request).await.expect("a connection");
        feed.wanted().await;
        feed.send("{\"context\":");
        open.push((feed, pending));
    }
    // All are open now; another one is answered before they end.
    admin.get("/v1/status").await.ok();
    for (feed, pending) in open {
        feed.send("\"Yw==\"}");
        drop(feed);
        pending.answer().await.ok();
    }
}

#[tokio::test]
async fn row_31_a_server_that_ends_says_goaway_and_answers_what_is_in_flight() {
    let setup = Setup::new();
    let mut server = setup.start().await;
    let mut admin = server.connect(setup.admin()).await;
    admin.call("POST", "/v1/key/create/k").await.ok_empty();
    let mut open = Vec::new();
    for _ in 0..100 {
        let (mut feed, payload) = Payload::fed();
        let request = Request::new("POST", "/v1/key/generate/k").payload(payload);
        let pending = admin.start(request).await.expect("a connection");
        feed.wanted().await;
        open.push((feed, pending));
    }
    // Streams are taken in order: when this is answered, those before it have been taken.
    admin.get("/version").await.ok();
    let dialer = server.dial().show(setup.admin());
    let mut idle = Frames::open(&dialer).await.expect("h2");
    idle.find(SETTINGS).await.expect("the server's settings");

    server.signal(Signal::TERM);
    let goaway = idle.find(GOAWAY).await.expect("GOAWAY before the connection ends");
    assert_eq!(goaway.error_code(), Some(0));
    for (feed, pending) in open {
        feed.send("{}");
        drop(feed);
        pending.answer().await.ok();
    }
    admin.closed().await.expect("the connection ends in good order");
    drop(idle);
    assert_eq!(server.wait().await.code(), Some(0));
}
