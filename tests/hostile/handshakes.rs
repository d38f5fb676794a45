//! Floods of new connections do not keep a known client from connecting.

use kes_harness::Setup;
use kes_harness::measured;

use crate::client::{Steady, newcomers};
use crate::load::storm::{self, How, Leave, Source};
use crate::process::{Fixture, MIB, exclusive};

/// New connections of the legitimate client during each storm.
const NEWCOMERS: usize = 40;

/// Connections of a storm at a time, where they go at once.
const FAST: usize = 256;

/// Connections at a time where they stay: more than a quarter of all that the server takes.
const STAYING: usize = 2600;

/// Connections at a time that complete the handshake.
const HANDSHAKING: usize = 400;

/// Connections of a storm before the legitimate client comes.
const BEGUN: usize = 2000;

/// What the server may take more than before the storms, at any time and after them.
const PEAK: u64 = 256 * MIB;
const SLACK: u64 = 16 * MIB;

/// Runs storms of one kind and asserts that a known client connects during each of them, and that a
/// connection from before never notices.
async fn storms(how: impl Fn(&Fixture) -> How, variants: &[(Leave, Source)], width: usize) {
    let _turn = exclusive().await;
    let fixture = Fixture::new(Setup::new()).await;
    let peak = fixture.peak();
    let how = how(&fixture);
    let mut name = String::new();
    for (leave, source) in variants {
        name = storm::name(&how, *leave, *source);
        let steady = Steady::start(&fixture.server, &fixture.client, "my-k").await;
        let storm = storm::start(&fixture.server.dial(), &how, *leave, *source, width);
        storm.counters().reached("connected", BEGUN).await;
        newcomers(&fixture.server.dial().show(&fixture.client), NEWCOMERS, &name).await;
        steady.all_succeeded(&name).await;
        measured(&format!("{name}: {}", storm.stop()));
    }
    peak.at_most(fixture.before.resident_kib + PEAK, &name);
    fixture.descriptors_return(0, &name).await;
    fixture.memory_returns(SLACK, &name).await;
    fixture.stop("no load").await;
}

const GONE: [(Leave, Source); 5] = [
    (Leave::Reset, Source::Same),
    (Leave::Reset, Source::Other),
    (Leave::Reset, Source::Many),
    (Leave::Close, Source::Same),
    (Leave::Close, Source::Many),
];
const THERE: [(Leave, Source); 2] = [(Leave::Stay, Source::Same), (Leave::Stay, Source::Many)];

#[tokio::test]
async fn a_storm_of_client_hellos_that_leave_does_not_keep_a_known_client_out() {
    storms(|_| How::Hello, &GONE, FAST).await;
}

#[tokio::test]
async fn a_storm_of_client_hellos_that_stay_does_not_keep_a_known_client_out() {
    storms(|_| How::Hello, &THERE, STAYING).await;
}

#[tokio::test]
async fn a_storm_of_halves_of_client_hellos_does_not_keep_a_known_client_out() {
    storms(|_| How::HalfHello, &GONE[1..3], FAST).await;
    storms(|_| How::HalfHello, &THERE, STAYING).await;
}

#[tokio::test]
async fn a_storm_of_silent_connections_does_not_keep_a_known_client_out() {
    storms(|_| How::Nothing, &GONE[1..3], FAST).await;
    storms(|_| How::Nothing, &THERE, STAYING).await;
}

#[tokio::test]
async fn a_storm_of_whole_handshakes_without_a_policy_does_not_keep_a_known_client_out() {
    let unknown = |fixture: &Fixture| How::Handshake(fixture.unknown.clone());
    storms(unknown, &GONE[1..3], HANDSHAKING).await;
    storms(unknown, &THERE, HANDSHAKING).await;
}
