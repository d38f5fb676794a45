//! Answers that clients do not read: their time and memory are bounded, and the server still stops.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use kes_harness::frame::{DATA, Frames, HEADERS, RST_STREAM, SETTINGS};
use kes_harness::{Credential, Setup, b64, measured};
use serde_json::json;
use tokio::time::interval;

use crate::client::Steady;
use crate::load::Load;
use crate::load::unread::{self, Ask, UNTAKEN, Untaken};
use crate::process::{Fixture, MIB, exclusive};

/// Where the hostile peers come from.
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));

/// Requests of each connection.
const REQUESTS: usize = 250;

/// Connections of peers without a policy, a tenth of what these may have.
const UNKNOWN: usize = 250;

/// What each of these may cost, buffers of TLS and of h2 included.
const UNKNOWN_COST: u64 = MIB / 8;

/// Connections of a known client, and what each may cost: what all answers and bodies of one
/// connection may hold, and as much again for what an allocator keeps.
const KNOWN: usize = 3;
const KNOWN_COST: u64 = 2 * 32 * MIB;

/// What the server may take in addition.
const SLACK: u64 = 32 * MIB;

/// A refusal of a few bytes.
fn refused() -> Ask {
    let path = "/v1/key/describe/my-k".to_owned();
    Ask { method: "GET", path, body: String::new(), times: REQUESTS }
}

/// Answers of about 1 MiB, for requests of as much.
fn encrypted() -> Ask {
    let body = json!({ "plaintext": b64(vec![7; 700 << 10]) }).to_string();
    Ask { method: "PUT", path: "/v1/key/encrypt/my-k".to_owned(), body, times: REQUESTS }
}

/// Answers of about 1 MiB, for requests of nothing; [`long_list`] puts the keys there.
fn listed() -> Ask {
    let path = "/v1/key/list/my-z*".to_owned();
    Ask { method: "GET", path, body: String::new(), times: REQUESTS }
}

/// Keys whose names make a list of about 1 MiB.
fn long_list(setup: &Setup) {
    for number in 0..10_000 {
        setup.store(&format!("my-z{number:05}-{}", "z".repeat(70)), "");
    }
}

/// Every variant of not reading answers: the first one as the server is by default, the others with a server
/// that waits for less long.
fn each_way() -> impl Iterator<Item = (Untaken, Setup)> {
    UNTAKEN.into_iter().enumerate().map(|(at, untaken)| {
        let limits = json!({ "limits": { "write_timeout": "2s" } });
        (untaken, if at == 0 { Setup::new() } else { Setup::new().with(limits) })
    })
}

/// What a load is made of.
struct Case {
    who: fn(&Fixture) -> &Credential,
    ask: Ask,
    untaken: Untaken,
    connections: usize,
    cost_kib: u64,
}

impl Case {
    fn unknown(untaken: Untaken) -> Self {
        let (ask, cost_kib) = (refused(), UNKNOWN_COST);
        Self { who: |fixture| &fixture.unknown, ask, untaken, connections: UNKNOWN, cost_kib }
    }

    fn known(ask: Ask, untaken: Untaken) -> Self {
        let cost_kib = KNOWN_COST;
        Self { who: |fixture| &fixture.hostile, ask, untaken, connections: KNOWN, cost_kib }
    }

    fn name(&self) -> String {
        format!("{} {} {:?}", self.connections, self.ask.path, self.untaken)
    }

    /// Starts it, and waits until all is sent that the server takes.
    async fn start(&self, fixture: &Fixture) -> Load {
        let dialer = fixture.server.dial().show((self.who)(fixture));
        let load = unread::start(&dialer, &self.ask, self.untaken, ELSEWHERE, self.connections);
        load.counters().reached("asking", self.connections).await;
        load
    }

    /// Asserts that the server lets go of all the connections while their peers hold them, within
    /// bounded memory, and that a legitimate client does not notice.
    async fn ends(self, setup: Setup) {
        let name = self.name();
        let fixture = Fixture::new(setup).await;
        let peak = fixture.peak();
        let steady = Steady::start(&fixture.server, &fixture.client, "my-k").await;
        let load = self.start(&fixture).await;
        let allowed = u64::try_from(self.connections).expect("a few") * self.cost_kib;
        peak.at_most(fixture.before.resident_kib + allowed + SLACK, &name);
        if matches!(self.untaken, Untaken::NoWindow | Untaken::WindowOfOne) {
            load.counters().reached("ended", self.connections).await;
            let variants = ["reset", "goaway"].map(|what| load.counters().of(what));
            assert!(variants.iter().sum::<usize>() > 0, "{name}: {}", load.counters());
        }
        // The steady client has one.
        fixture.descriptors_return(1, &name).await;
        peak.at_most(fixture.before.resident_kib + allowed + SLACK, &name);
        steady.all_succeeded(&name).await;
        measured(&format!("{name}: {}", load.stop()));
        fixture.memory_returns(SLACK, &name).await;
        fixture.stop("no load").await;
    }

    /// Asserts that the server ends with exit code 0 while the peers hold their connections.
    async fn does_not_hold_up_the_end(self, setup: Setup) {
        let name = self.name();
        let fixture = Fixture::new(setup).await;
        let load = self.start(&fixture).await;
        fixture.stop(&name).await;
        measured(&format!("{name}: {}", load.stop()));
    }
}

#[tokio::test]
async fn a_peer_without_a_policy_has_8_streams_and_a_known_one_250() {
    let fixture = Fixture::new(Setup::new()).await;
    for (who, streams) in
        [(&fixture.unknown, 8), (&fixture.client, 250), (fixture.setup.admin(), 250)]
    {
        let mut frames = Frames::open(&fixture.server.dial().show(who)).await.expect("h2");
        let settings = frames.find(SETTINGS).await.expect("the server's settings");
        assert_eq!(settings.max_concurrent_streams(), Some(streams));
    }
    fixture.stop("no load").await;
}

/// How often a slow client takes a part of an answer, and how much of it.
const SLOW: Duration = Duration::from_secs(1);
const PART: u32 = 200 << 10;

#[tokio::test]
async fn answers_that_are_taken_late_arrive() {
    let fixture = Fixture::new(Setup::new()).await;
    let dialer = fixture.server.dial().show(&fixture.client);
    let mut frames = Frames::open_with_window(&dialer, 0).await.expect("h2");
    let mut streams = Vec::new();
    for _ in 0..REQUESTS {
        let stream = frames.request("GET", "/v1/status", true).await.expect("a connection");
        streams.push(stream);
    }
    for _ in 0..REQUESTS {
        let head = frames.find(HEADERS).await.expect("a head");
        assert_eq!(head.status(), Some(200));
    }
    for stream in streams {
        frames.widen(stream, PART).await.expect("a connection");
        let mut data = frames.find(DATA).await.expect("a body");
        while !data.ends_stream() {
            assert_eq!(data.stream, stream);
            data = frames.find(DATA).await.expect("a body");
        }
    }
    fixture.stop("no load").await;
}

#[tokio::test]
async fn an_answer_that_is_taken_slowly_arrives() {
    let limits = json!({ "limits": { "write_timeout": "3s" } });
    let fixture = Fixture::new(Setup::new().with(limits)).await;
    let dialer = fixture.server.dial().show(&fixture.client);
    let mut frames = Frames::open_with_window(&dialer, 0).await.expect("h2");
    frames.widen(0, 1 << 30).await.expect("a connection");
    let ask = encrypted();
    let stream = frames.request(ask.method, &ask.path, false).await.expect("a connection");
    frames.body(stream, ask.body.as_bytes(), true).await.expect("a connection");
    let mut parts = interval(SLOW);
    loop {
        // This takes longer in all than an answer may stand still.
        tokio::select! {
            _ = parts.tick() => frames.widen(stream, PART).await.expect("a connection"),
            frame = frames.next() => {
                let frame = frame.expect("the answer is not cut off");
                assert_ne!(frame.kind, RST_STREAM, "{frame:?}");
                if frame.kind == DATA && frame.ends_stream() {
                    break;
                }
            }
        }
    }
    drop(frames);
    fixture.stop("no load").await;
}

#[tokio::test]
async fn refusals_that_are_not_taken_end_and_hold_little() {
    let _turn = exclusive().await;
    for (untaken, setup) in each_way() {
        Case::unknown(untaken).ends(setup).await;
    }
}

#[tokio::test]
async fn refusals_that_are_not_taken_do_not_hold_up_the_end() {
    let _turn = exclusive().await;
    for untaken in UNTAKEN.into_iter().chain([Untaken::Trickle]) {
        let few = Case { connections: 20, ..Case::unknown(untaken) };
        few.does_not_hold_up_the_end(Setup::new()).await;
    }
}

#[tokio::test]
async fn large_answers_that_are_not_taken_end_and_hold_what_their_budget_allows() {
    let _turn = exclusive().await;
    for (untaken, setup) in each_way() {
        Case::known(encrypted(), untaken).ends(setup).await;
    }
}

#[tokio::test]
async fn long_lists_that_are_not_taken_end_and_hold_what_their_budget_allows() {
    let _turn = exclusive().await;
    for (untaken, setup) in each_way() {
        long_list(&setup);
        Case::known(listed(), untaken).ends(setup).await;
    }
}

#[tokio::test]
async fn large_answers_that_are_not_taken_do_not_hold_up_the_end() {
    let _turn = exclusive().await;
    for untaken in UNTAKEN.into_iter().chain([Untaken::Trickle]) {
        let few = Case { connections: 1, ..Case::known(encrypted(), untaken) };
        few.does_not_hold_up_the_end(Setup::new()).await;
    }
}

/// Connections over HTTP/1.1 that together ask for more than all budgets allow.
#[tokio::test]
async fn large_answers_over_http_1_1_that_are_not_taken_end_and_hold_little_each() {
    let _turn = exclusive().await;
    let many = Case {
        connections: 100,
        cost_kib: 3 * MIB,
        ask: Ask { times: 4, ..encrypted() },
        ..Case::known(encrypted(), Untaken::UnreadH1)
    };
    many.ends(Setup::new()).await;
}
