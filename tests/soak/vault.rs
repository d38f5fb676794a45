//! Two key servers on a Vault that is sealed, killed, stopped and cut off at random.

use std::io::Write as _;
use std::sync::Arc;

use kes_harness::vault::{Bao, Engine, Kv, Options, bao};
use kes_harness::{Server, Setup, soak_length};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::chaos::Chaos;
use crate::counters::Counters;
use crate::load::{Client, Known};

/// Clients of each server.
const CLIENTS: u64 = 4;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes ten minutes: `just soak-vault`"]
async fn keys_stay_readable_through_faults_of_vault() {
    let need = bao().expect("a soak needs OpenBao: run ./tests/run once");
    let (length, seed) = (soak_length(), u64::from(std::process::id()));
    let mut bao = Bao::start_with(&need, Options { durable: true, ..Options::default() }).await;
    let ttl = json!({ "token_ttl": "10s", "token_max_ttl": "45s" });
    let engine = Engine::new(&bao, "kv", Kv::V2, ttl).await;
    let setup = Setup::new()
        .vault(engine.keystore())
        .with(json!({ "cache": { "expiry": { "any": "1s", "unused": "1s" } } }));
    let servers = [setup.start().await, setup.start().await];
    let before = servers.each_ref().map(Server::figures);

    let (known, counters) = (Arc::new(Known::default()), Arc::new(Counters::default()));
    let end = Instant::now() + length;
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS * 2 {
        let server = &servers[usize::try_from(number % 2).expect("0 or 1")];
        let mut client = Client::new(
            number,
            server.dial(),
            setup.admin(),
            Arc::clone(&known),
            Arc::clone(&counters),
            seed,
        );
        clients.spawn(async move {
            while Instant::now() < end {
                client.step().await;
            }
        });
    }
    let mut chaos = Chaos::new(seed);
    while Instant::now() < end {
        chaos.strike(&mut bao).await;
    }
    clients.join_all().await;

    let after = servers.each_ref().map(Server::figures);
    let fresh = setup.start().await;
    let mut client =
        Client::new(99, fresh.dial(), setup.admin(), known.clone(), counters.clone(), seed);
    let (lost, half) = look_back(&mut client, &known).await;

    let audit = bao.audit();
    let text = format!(
        "\nVault soak: {} min, seed {seed}, 2 servers, {} clients\n\
         faults                 {:?}\n\
         keys created           {} (in doubt: {})\n\
         {counters}\n\
         keys lost              {lost}\n\
         half keys              {half}\n\
         logins, renewals       {}, {}\n\
         what a server takes    {before:?} before\n\
         \x20                      {after:?} after\n",
        length.as_secs() / 60,
        CLIENTS * 2,
        chaos.done,
        known.names().len(),
        known.doubtful().len(),
        audit.logins(),
        audit.renewals(),
    );
    // Past the capture of the test runner; nothing can be done when even this fails.
    let _ = std::io::stderr().write_all(text.as_bytes());
    assert_eq!((counters.faults(), lost, half), ((0, 0), 0, 0));
}

/// Whatever was answered 200 is there, from a server that has nothing cached, and what was answered
/// with an error is a whole key or none. Counts what is lost, and what is half.
async fn look_back(client: &mut Client, known: &Known) -> (usize, usize) {
    let (mut lost, mut half) = (0, 0);
    for name in known.names() {
        let path = format!("/v1/key/describe/{name}");
        let answer = client.ask("at the end", "GET", &path, None).await;
        lost += usize::from(answer.is_none_or(|answer| answer.status != 200));
        client.open_all(&name).await;
    }
    for name in known.doubtful() {
        let path = format!("/v1/key/describe/{name}");
        let answer = client.ask("in doubt", "GET", &path, None).await;
        half += usize::from(answer.is_none_or(|answer| ![200, 404].contains(&answer.status)));
    }
    (lost, half)
}
