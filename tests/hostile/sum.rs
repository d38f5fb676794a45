//! All loads at once make a server with a tenth of the limits hold less than `docs/security/limits.md`
//! adds up.

use kes_harness::{Setup, measured};
use serde_json::json;

use crate::client::Steady;
use crate::mixed;
use crate::process::{Fixture, MIB, exclusive};

/// A tenth of the defaults, where that is a value that can be configured.
const CONNECTIONS: u64 = 1000;
const SHARE: u64 = CONNECTIONS / 4;
const STREAMS: u64 = 25;
const REQUESTS: u64 = 1638;
const PAYLOAD_MIB: u64 = 26;
const STORE_CALLS: u64 = 26;
const STORE_QUEUE: u64 = 410;
const LOG_STREAMS: u64 = 6;

/// The page's sum for one hostile identity and any number of unknown peers, in KiB.
const SUM: u64 = (16 + 48 + 8 + 4) * MIB
    + 128 * SHARE
    + 272 * SHARE
    + (1072 + 4 * STREAMS) * SHARE
    + 40 * REQUESTS
    + 2 * PAYLOAD_MIB * MIB
    + 64 * (STORE_CALLS + 20)
    + 2 * STORE_QUEUE
    + LOG_STREAMS * MIB;

/// Connections of the fastest load, after which all others have begun and some were closed.
const STORM: usize = 20_000;

#[tokio::test]
async fn a_server_with_a_tenth_of_the_limits_holds_less_than_their_sum() {
    let _turn = exclusive().await;
    let setup = Setup::new().with(json!({ "limits": {
        "connections": CONNECTIONS,
        "streams": STREAMS,
        "requests": 4 * REQUESTS,
        "requests_per_identity": REQUESTS,
        "payload": format!("{PAYLOAD_MIB}MiB"),
        "payload_per_connection": "4MiB",
        "store_calls": STORE_CALLS,
        "store_queue_per_identity": STORE_QUEUE,
        "log_streams": LOG_STREAMS,
        "log_streams_per_identity": 2,
    }}));
    let fixture = Fixture::new(setup).await;
    let peak = fixture.peak();
    let name = "all loads, a tenth of the limits";
    let steady = Steady::start(&fixture.server, &fixture.client, "my-k").await;
    let loads = mixed::all(&fixture);
    for (kind, load) in &loads {
        if *kind == "hellos" {
            load.counters().reached("connected", STORM).await;
        }
    }
    steady.all_succeeded(name).await;
    for (kind, load) in loads {
        measured(&format!("{name}, {kind}: {}", load.stop()));
    }
    peak.at_most(SUM, name);
    fixture.descriptors_return(0, name).await;
    fixture.stop("no load").await;
}
