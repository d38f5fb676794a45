//! Requests for missing keys on a slow store do not use up the store for others.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use kes_harness::proxy::{Fault, Proxy};
use kes_harness::vault::{Bao, Engine, Kv, bao};
use kes_harness::{Request, Setup, measured};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::client::{Latency, ask};
use crate::load::absent;
use crate::process::{Fixture, MIB, exclusive};

/// Where the hostile client comes from.
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));

/// How long the store thinks about a key that does not exist.
const SLOW: Duration = Duration::from_millis(500);

/// 1,000 requests at a time.
const CONNECTIONS: usize = 5;
const STREAMS: usize = 200;

/// Calls of the store at a time.
const STORE_CALLS: usize = 256;

/// Keys that exist.
const KEYS: usize = 10;

/// What the server may take more than before.
const PEAK: u64 = 96 * MIB;

/// A key server on an `OpenBao` that is slow about keys which do not exist; none if there is no
/// `OpenBao` on this machine.
struct Slow {
    fixture: Fixture,
    _bao: Bao,
    _proxy: Proxy,
}

impl Slow {
    async fn new(limits: Value) -> Option<Self> {
        let bao = Bao::start(&bao()?).await;
        let engine = Engine::new(&bao, "kv", Kv::V2, json!({})).await;
        let proxy = Proxy::to(bao.relay().address()).await;
        proxy.inject(Fault::Late(SLOW), |asked| asked.path.contains(absent::PREFIX));
        let mut keystore = engine.keystore();
        keystore["endpoint"] = json!(proxy.url());
        let setup = Setup::new().vault(keystore).uncached().with(limits);
        let fixture = Fixture::new(setup).await;
        let mut admin = fixture.server.connect(fixture.setup.admin()).await;
        for number in 0..KEYS {
            admin.call("PUT", &format!("/v1/key/create/my-{number}")).await.ok();
        }
        drop(admin);
        Some(Self { fixture, _bao: bao, _proxy: proxy })
    }
}

/// Rounds of the legitimate client, the admin and a status, all of which have to succeed.
async fn others_are_served(fixture: &Fixture, rounds: usize, phase: &str) {
    let (mut reads, mut health) = (Latency::new(), Latency::new());
    let mut client = fixture.server.connect(&fixture.client).await;
    let mut admin = fixture.server.connect(fixture.setup.admin()).await;
    for round in 0..rounds {
        let path = format!("/v1/key/describe/my-{}", round % KEYS);
        ask(&mut client, &mut reads, Request::new("GET", &path)).await.ok();
        ask(&mut admin, &mut health, Request::new("GET", "/v1/ready")).await.ok();
        let status = Request::new("GET", "/v1/status");
        let status = ask(&mut client, &mut health, status).await.ok().json();
        assert_ne!(status["keystore_unreachable"], json!(true), "{status}");
    }
    measured(&format!("keys during {phase}: {reads}"));
    measured(&format!("readiness and status during {phase}: {health}"));
}

#[tokio::test]
async fn keys_that_do_not_exist_on_a_slow_store_do_not_keep_others_waiting() {
    let _turn = exclusive().await;
    let Some(slow) = Slow::new(json!({})).await else { return };
    let (fixture, name) = (&slow.fixture, "1,000 keys that do not exist");
    let (peak, began) = (fixture.peak(), Instant::now());
    let hostile = fixture.server.dial().show(&fixture.hostile);
    let load = absent::start(&hostile, ELSEWHERE, CONNECTIONS, STREAMS);
    load.counters().reached("asked", CONNECTIONS * STREAMS).await;
    others_are_served(fixture, 30, name).await;
    load.counters().reached("status 404: key does not exist", CONNECTIONS * STREAMS).await;
    let counters = load.stop();
    measured(&format!("{name}: {counters}"));
    // What the store does not do in time is the hostile client's own failure, and a line a second.
    let errors = u64::try_from(fixture.logged("ERROR")).expect("a few");
    let allowed = 2 * began.elapsed().as_secs() + 10;
    assert!(errors <= allowed, "{errors} lines: {:#?}", fixture.server.stderr().so_far());
    peak.at_most(fixture.before.resident_kib + PEAK, name);
    // Connections to the store are kept for the calls to come.
    fixture.descriptors_return(1 + STORE_CALLS, name).await;
    slow.fixture.stop("no load").await;
}

#[tokio::test]
async fn more_requests_than_may_wait_for_a_slow_store_are_429_and_others_are_served() {
    let _turn = exclusive().await;
    let limits = json!({ "limits": { "store_calls": 16, "store_queue_per_identity": 32 } });
    let Some(slow) = Slow::new(limits).await else { return };
    let (fixture, name) = (&slow.fixture, "more keys that do not exist than may wait");
    let hostile = fixture.server.dial().show(&fixture.hostile);
    let load = absent::start(&hostile, ELSEWHERE, 1, STREAMS);
    load.counters().reached("status 429: too many requests in flight", STREAMS).await;
    others_are_served(fixture, 10, name).await;
    load.counters().reached("status 404: key does not exist", 16).await;
    let counters = load.stop();
    measured(&format!("{name}: {counters}"));
    assert_eq!(counters.of("status 5"), 0, "{counters}");
    assert_eq!(fixture.logged("ERROR"), 0, "{:#?}", fixture.server.stderr().so_far());
    slow.fixture.stop("no load").await;
}

#[tokio::test]
async fn who_waits_for_the_store_until_a_route_s_own_timeout_is_answered_429() {
    let _turn = exclusive().await;
    let describe = json!({ "/v1/key/describe": { "timeout": "2500ms" } });
    let limits = json!({ "limits": { "store_calls": 1 }, "api": describe });
    let Some(slow) = Slow::new(limits).await else { return };
    let (fixture, name) = (&slow.fixture, "keys that do not exist, one at a time");
    let hostile = fixture.server.dial().show(&fixture.hostile);
    let load = absent::start(&hostile, ELSEWHERE, 1, 20);
    load.counters().reached("status 429: too many requests in flight", 20).await;
    load.counters().reached("status 404: key does not exist", 2).await;
    let counters = load.stop();
    measured(&format!("{name}: {counters}"));
    assert_eq!(counters.of("status 5"), 0, "{counters}");
    slow.fixture.stop("no load").await;
}
