//! Bodies that never end do not delay other clients.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use kes_harness::{Payload, Request, Setup, measured};
use serde_json::json;
use tokio::time::{Instant, interval};

use crate::client::{Latency, Steady, ask, encryption};
use crate::load::body::{self, Delivery, Endless, PIECE_LEN};
use crate::process::{Fixture, MIB, exclusive};

/// Where the hostile client comes from.
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));

/// 400 bodies.
const CONNECTIONS: usize = 8;
const STREAMS: usize = 50;

/// Just less than the longest body that a request may have, and how much of all bodies is sent when
/// others come: what the server holds in all, but for a little.
const PIECES: usize = (1 << 20) / PIECE_LEN - 1;
const BEGUN: usize = (240 << 20) / PIECE_LEN;

/// Plaintexts of the legitimate client: bodies that never wait, and some that may.
const SHORT_PLAINTEXT: usize = 11 << 10;
const LONG_PLAINTEXT: usize = 48 << 10;

/// Requests of the legitimate client at a time.
const AT_ONCE: usize = 20;

/// Far more than a request takes that does not wait, and far less than the 15 s that a request may
/// take.
const WAIT_MAX: Duration = Duration::from_secs(8);

/// What bodies and answers may hold in all.
const PAYLOAD: u64 = 256 * MIB;

/// What the server may take in addition: what waits in windows of h2, and what an allocator keeps.
const SLACK: u64 = 128 * MIB;

fn endless(delivery: Delivery) -> Endless {
    let path = "/v1/key/encrypt/my-k".to_owned();
    Endless { path, pieces: PIECES, delivery, streams: STREAMS }
}

async fn bodies_that_do_not_end(delivery: Delivery) {
    let _turn = exclusive().await;
    let name = format!("400 bodies that {delivery:?}");
    let fixture = Fixture::new(Setup::new()).await;
    let failures = fixture.failures().await;
    let peak = fixture.peak();
    let mut client = fixture.server.connect(&fixture.client).await;
    let steady = Steady::start(&fixture.server, &fixture.client, "my-k").await;
    let hostile = fixture.server.dial().show(&fixture.hostile);
    let load = body::start(&hostile, &endless(delivery), ELSEWHERE, CONNECTIONS);
    load.counters().settled("piece", BEGUN).await;

    // A request that waits for the budget waits as long as the server waits for a body.
    let (mut short, mut long) = (Latency::new(), Latency::new());
    let (began, mut pending) = (Instant::now(), Vec::new());
    for _ in 0..AT_ONCE {
        let request = encryption("my-k", SHORT_PLAINTEXT);
        pending.push(client.start(request).await.expect("a connection"));
    }
    for pending in pending {
        pending.answer().await.ok();
        short.record(began);
    }
    assert!(began.elapsed() < WAIT_MAX, "{name}: short bodies waited: {short}");
    for _ in 0..20 {
        ask(&mut client, &mut long, encryption("my-k", LONG_PLAINTEXT)).await.ok();
    }
    measured(&format!("bodies of 16 KiB during {name}: {short}"));
    measured(&format!("bodies of 64 KiB during {name}: {long}"));

    // All of the first ones have been answered, and others have taken their turn.
    load.counters().reached("status 408", CONNECTIONS * STREAMS).await;
    steady.all_succeeded(&name).await;
    let counters = load.stop();
    measured(&format!("{name}: {counters}"));
    // What is more than may wait is refused; nothing is the server's failure.
    assert_eq!(
        counters.of("status"),
        counters.of("status 408") + counters.of("status 429"),
        "{counters}"
    );
    assert_eq!(fixture.logged("ERROR"), 0, "{:#?}", fixture.server.stderr().so_far());
    assert!(fixture.failures().await <= failures);
    peak.at_most(fixture.before.resident_kib + PAYLOAD + SLACK, &name);
    drop(client);
    fixture.descriptors_return(0, &name).await;
    fixture.memory_returns(32 * MIB, &name).await;
    fixture.stop("no load").await;
}

#[tokio::test]
async fn bodies_that_stall_do_not_keep_others_waiting() {
    bodies_that_do_not_end(Delivery::Stall).await;
}

#[tokio::test]
async fn bodies_that_trickle_do_not_keep_others_waiting() {
    bodies_that_do_not_end(Delivery::Trickle).await;
}

#[tokio::test]
async fn a_body_at_twice_the_rate_that_is_asked_for_is_taken() {
    let fixture = Fixture::new(Setup::new()).await;
    let mut client = fixture.server.connect(&fixture.client).await;
    let (feed, payload) = Payload::fed();
    let request = Request::new("PUT", "/v1/key/encrypt/my-k").payload(payload);
    let pending = client.start(request).await.expect("a connection");
    feed.send("{\"plaintext\":\"");
    let mut ticks = interval(Duration::from_secs(1));
    for _ in 0..12 {
        ticks.tick().await;
        feed.send(vec![b'A'; 32 << 10]);
    }
    feed.send("\"}");
    drop(feed);
    pending.answer().await.ok();
    drop(client);
    fixture.stop("no load").await;
}

#[tokio::test]
async fn requests_in_flight_over_their_limit_are_429() {
    let setup = Setup::new().with(json!({ "limits": { "requests_per_identity": 16 } }));
    let fixture = Fixture::new(setup).await;
    let mut hostile = fixture.server.connect(&fixture.hostile).await;
    let mut open = Vec::new();
    for _ in 0..16 {
        let (mut feed, payload) = Payload::fed();
        let request = Request::new("PUT", "/v1/key/encrypt/my-k").payload(payload);
        let pending = hostile.start(request).await.expect("a connection");
        feed.wanted().await;
        feed.send("{\"plaintext\":");
        open.push((feed, pending));
    }
    for _ in 0..20 {
        let refused = hostile.get("/v1/key/describe/my-k").await;
        refused.refused(429, "too many requests in flight");
        // Each connection of that identity, and no other.
        let mut another = fixture.server.connect(&fixture.hostile).await;
        another.get("/v1/key/describe/my-k").await.refused(429, "too many requests in flight");
        let mut client = fixture.server.connect(&fixture.client).await;
        client.get("/v1/key/describe/my-k").await.ok();
    }
    for (feed, pending) in open {
        feed.send("\"AAAA\"}");
        drop(feed);
        pending.answer().await.ok();
    }
    hostile.get("/v1/key/describe/my-k").await.ok();
    assert_eq!(fixture.logged("ERROR"), 0, "{:#?}", fixture.server.stderr().so_far());
    drop(hostile);
    fixture.stop("no load").await;
}
