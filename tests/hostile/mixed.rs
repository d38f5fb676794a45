//! All hostile loads at once, together with a client that behaves like `MinIO`.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use kes_harness::{Server, Setup, b64, measured, skipped};
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use crate::client::{Steady, newcomers};
use crate::load::body::{self, Delivery, Endless};
use crate::load::storm::{self, How, Leave, Source};
use crate::load::unread::{self, Ask, Untaken};
use crate::load::{Load, absent, hold};
use crate::process::{Fixture, MIB, exclusive, start_unlocked};

/// How long the loads last.
const LENGTH: Duration = Duration::from_mins(1);

/// How long after that memory is back at the latest.
const REST: Duration = Duration::from_secs(30);

/// The most that the server may take more than before: bodies and answers in all (256 MiB), 1,100
/// connections of 96 KiB each, and a quarter as much again for what an allocator keeps.
const PEAK: u64 = (256 + 104) * MIB * 5 / 4;

/// Peers of each kind but storms: what two processors can run at the same time.
const FEW: usize = 20;

/// Peers of 1 MiB answers.
const LARGE: usize = 2;

const fn address(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, last))
}

/// Every load, each from an address of its own.
pub(crate) fn all(fixture: &Fixture) -> Vec<(&'static str, Load)> {
    let dialer = fixture.server.dial();
    let (unknown, known) =
        (dialer.clone().show(&fixture.unknown), dialer.clone().show(&fixture.hostile));
    let small = Ask {
        method: "GET",
        path: "/v1/key/describe/my-k".to_owned(),
        body: String::new(),
        times: 250,
    };
    let body = json!({ "plaintext": b64(vec![7; 700 << 10]) }).to_string();
    let large = Ask { method: "PUT", path: "/v1/key/encrypt/my-k".to_owned(), body, times: 50 };
    let endless = |delivery| Endless {
        path: "/v1/key/encrypt/my-k".to_owned(),
        pieces: 8,
        delivery,
        streams: 50,
    };
    let unknown_peer = How::Handshake(fixture.unknown.clone());
    let mut loads = vec![
        ("hellos", storm::start(&dialer, &How::Hello, Leave::Reset, Source::Other, 64)),
        ("halves", storm::start(&dialer, &How::HalfHello, Leave::Stay, Source::Many, 400)),
        ("silence", storm::start(&dialer, &How::Nothing, Leave::Stay, Source::Same, 400)),
        ("handshakes", storm::start(&dialer, &unknown_peer, Leave::Stay, Source::Many, 20)),
        ("stalled bodies", body::start(&known, &endless(Delivery::Stall), address(3), 4)),
        ("trickled bodies", body::start(&known, &endless(Delivery::Trickle), address(4), 4)),
        ("absent keys", absent::start(&known, address(5), 2, 50)),
        ("held", hold::start(&known, address(6), 100)),
    ];
    for (at, untaken) in
        (10..).zip([Untaken::NoWindow, Untaken::Trickle, Untaken::UnreadH2, Untaken::UnreadH1])
    {
        loads.push(("refusals", unread::start(&unknown, &small, untaken, address(at), FEW)));
        loads.push(("answers", unread::start(&known, &large, untaken, address(at), LARGE)));
    }
    loads
}

async fn mixed(fixture: Fixture, name: &str) {
    let peak = fixture.peak();
    let steady = Steady::start(&fixture.server, &fixture.client, "my-k").await;
    let end = Instant::now() + LENGTH;
    let loads = all(&fixture);
    newcomers(&fixture.server.dial().show(&fixture.client), 20, name).await;
    // The length of the run is what it is about.
    sleep_until(end).await;
    steady.all_succeeded(name).await;
    for (kind, load) in loads {
        measured(&format!("{name}, {kind}: {}", load.stop()));
    }
    peak.at_most(fixture.before.resident_kib + PEAK, name);
    fixture.descriptors_return(0, name).await;
    fixture.memory_returns_within(REST, fixture.before.resident_kib / 10, name).await;
    assert_eq!(fixture.logged("panicked"), 0, "{:#?}", fixture.server.stderr().so_far());
    fixture.stop("no load").await;
}

/// Whether the server could lock its memory.
fn is_locked(server: &Server) -> bool {
    server.stderr().so_far().iter().any(|line| line.contains("mlock=on"))
}

#[tokio::test]
async fn a_client_like_minio_is_served_during_all_loads_at_once() {
    let _turn = exclusive().await;
    let fixture = Fixture::new(Setup::new()).await;
    if !is_locked(&fixture.server) {
        return skipped("memory that is locked: it takes the capability IPC_LOCK");
    }
    mixed(fixture, "all loads, memory locked").await;
}

#[tokio::test]
async fn a_client_like_minio_is_served_during_all_loads_at_once_without_locked_memory() {
    let _turn = exclusive().await;
    let fixture = Fixture::with(Setup::new(), start_unlocked).await;
    assert!(!is_locked(&fixture.server), "{:#?}", fixture.server.stderr().so_far());
    mixed(fixture, "all loads, memory not locked").await;
}
