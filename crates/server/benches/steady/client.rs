//! Clients, in a process of their own. They say `warm` when they are ready, wait for a line, and say
//! `done` when they have executed a command.

use std::io;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use kes_harness::{Connection, Credential, Dialer, Proto, Request, Tls, caller};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

const KEY: &str = "my-key";

pub(crate) fn run(mut arguments: impl Iterator<Item = String>) {
    let mut next = || arguments.next().expect("an argument");
    let (address, certificate, api_key) = (next(), next(), next());
    let (what, proto, streams, count) = (next(), next(), next(), next());
    let root = CertificateDer::from_pem_file(certificate).expect("a certificate");
    let proto = if proto == "h1" { Proto::H1 } else { Proto::H2 };
    let dialer = Dialer::new(address.parse().expect("an address"), root)
        .show(&Credential::from_api_key(&api_key))
        .over((proto, Tls::V13));
    let streams = streams.parse().expect("a number");
    let count = count.parse().expect("a number");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be made").block_on(async {
        if what == "connections" {
            connections(&dialer, count).await;
        } else {
            requests(&dialer, streams, count).await;
        }
    });
}

async fn requests(dialer: &Dialer, streams: usize, count: u64) {
    let mut connection = dialer.connect().await.expect("a connection");
    // One that exists is as good as a new one.
    connection.send(Request::new("PUT", &format!("/v1/key/create/{KEY}"))).await;
    let made = caller::generate(&mut connection, KEY).await;
    let (context, ciphertext) = (kes_harness::b64("c"), made.text("ciphertext"));
    let body = serde_json::json!({ "context": context, "ciphertext": ciphertext }).to_string();
    decrypt(&mut connection, streams, count, &body).await;
    ready();
    decrypt(&mut connection, streams, count, &body).await;
    println!("done");
}

/// Keeps so many streams busy until there were so many answers.
async fn decrypt(connection: &mut Connection, streams: usize, count: u64, body: &str) {
    let mut under_way = FuturesUnordered::new();
    let mut sent = 0;
    loop {
        while sent < count && under_way.len() < streams {
            let request = Request::new("PUT", &format!("/v1/key/decrypt/{KEY}")).json(body);
            let pending = connection.start(request).await.expect("the connection lives");
            under_way.push(pending.answer());
            sent += 1;
        }
        match under_way.next().await {
            Some(answer) => assert_eq!(answer.status, 200),
            None => return,
        }
    }
}

async fn connections(dialer: &Dialer, count: u64) {
    let mut open = Vec::new();
    for index in 0..2 * count {
        if index == count {
            ready();
        }
        let mut connection = dialer.connect().await.expect("a connection");
        assert_eq!(connection.get("/v1/status").await.status, 200);
        open.push(connection);
    }
    println!("done");
    wait();
}

fn ready() {
    println!("warm");
    wait();
}

fn wait() {
    io::stdin().read_line(&mut String::new()).expect("the server's process lives");
}
