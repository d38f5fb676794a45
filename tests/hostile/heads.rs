//! Ambiguous HTTP/1.1 heads (request smuggling) are refused, and nothing after them is executed.

use std::time::Duration;

use kes_harness::{Dialer, Proto, Setup, Tls};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::process::Fixture;

/// How long a server that does not close a connection is waited for.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A request that would create a key if it were taken for one.
const SMUGGLED: &str =
    "PUT /v1/key/create/my-smuggled HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n";

/// Sends this over HTTP/1.1, then a second request, and gives all that comes until the server closes
/// the connection.
async fn answered(dialer: &Dialer, head: &str) -> String {
    let (mut reader, mut writer) = tokio::io::split(dialer.tls().await.expect("TLS"));
    let sent = format!("{head}{SMUGGLED}");
    let (_, received) = tokio::join!(
        async {
            // The server need not take all of it.
            let _ = writer.write_all(sent.as_bytes()).await;
            writer.flush().await
        },
        async {
            let mut received = Vec::new();
            // What comes before the end is a part of the failure where there is no end.
            let ended =
                async { while !matches!(reader.read_buf(&mut received).await, Ok(0) | Err(_)) {} };
            let ended = timeout(TIMEOUT, ended).await;
            received.extend_from_slice(if ended.is_ok() { b"" } else { b"(and not closed)" });
            received
        }
    );
    String::from_utf8(received).expect("a text")
}

/// Whether it is one answer of this status, in the shape of every error, and the last one.
fn is_refused(answer: &str, status: u16) -> bool {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { return false };
    let head = head.to_ascii_lowercase();
    let message = serde_json::from_str(body).ok().and_then(|json: Value| {
        let object = json.as_object().filter(|object| object.len() == 1)?;
        Some(object.get("message")?.as_str()?.to_owned())
    });
    head.starts_with(&format!("http/1.1 {status} "))
        && head.contains("\r\ncontent-type: application/json")
        && head.contains("\r\nconnection: close")
        // What was executed may be refused too, in the same shape.
        && message.is_some_and(|message| !message.is_empty() && message != "key already exists")
}

/// Asserts that each of these is refused with that status, for the admin, over TLS 1.2 and 1.3.
async fn all_refused(status: u16, heads: &[String]) {
    let fixture = Fixture::new(Setup::new()).await;
    let mut wrong = Vec::new();
    for tls in [Tls::V12, Tls::V13] {
        let dialer = fixture.server.dial().show(fixture.setup.admin()).over((Proto::H1, tls));
        for head in heads {
            let answer = answered(&dialer, head).await;
            if !is_refused(&answer, status) {
                let head: String = head.chars().take(200).collect();
                wrong.push(format!("{tls:?} {head:?}: {answer:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "not {status}: {wrong:#?}");
    let mut admin = fixture.server.connect(fixture.setup.admin()).await;
    for key in ["my-smuggled", "my-first"] {
        let path = format!("/v1/key/describe/{key}");
        assert_eq!(admin.get(&path).await.status, 404, "{key} was created");
    }
    assert_eq!(fixture.logged("ERROR"), 0, "{:#?}", fixture.server.stderr().so_far());
    drop(admin);
    fixture.stop("no load").await;
}

/// A request that would create a key, with these lines after its first one.
fn first(lines: &str) -> String {
    format!("PUT /v1/key/create/my-first HTTP/1.1\r\n{lines}\r\n")
}

#[tokio::test]
async fn a_head_over_64_kib_is_431() {
    let one = format!("host: x\r\nx-long: {}\r\n", "l".repeat(70 << 10));
    let lines: Vec<String> = (0..900).map(|at| format!("x-{at}: {}\r\n", "l".repeat(80))).collect();
    let many = lines.concat();
    let path = format!("GET /v1/{} HTTP/1.1\r\nhost: x\r\n\r\n", "p".repeat(70 << 10));
    let endless =
        format!("GET /v1/status HTTP/1.1\r\nhost: x\r\nx-endless: {}", "l".repeat(80 << 10));
    all_refused(431, &[first(&one), first(&format!("host: x\r\n{many}")), endless]).await;
    // Where a path alone is too long 414 says so as well.
    let fixture = Fixture::new(Setup::new()).await;
    let dialer = fixture.server.dial().show(fixture.setup.admin()).over((Proto::H1, Tls::V13));
    let answer = answered(&dialer, &path).await;
    let status = if answer.starts_with("HTTP/1.1 414") { 414 } else { 431 };
    assert!(is_refused(&answer, status), "{answer:?}");
    fixture.stop("no load").await;
}

#[tokio::test]
async fn two_hosts_or_none_are_400() {
    all_refused(
        400,
        &[
            first("host: x\r\nhost: y\r\n"),
            first("host: x\r\nHost: x\r\n"),
            first("host: x\r\naccept: */*\r\nHOST: x\r\n"),
            first("host: x, y\r\n"),
            first("accept: */*\r\n"),
            first(""),
        ],
    )
    .await;
}

#[tokio::test]
async fn transfer_codings_that_are_not_chunked_once_are_400() {
    let chunks = "0\r\n\r\n";
    let coded = |codings: &[&str]| {
        let line = |coding: &&str| format!("transfer-encoding: {coding}\r\n");
        let lines: Vec<String> = codings.iter().map(line).collect();
        first(&format!("host: x\r\n{}", lines.concat())) + chunks
    };
    all_refused(
        400,
        &[
            coded(&["chunked, chunked"]),
            coded(&["chunked", "chunked"]),
            coded(&["identity, chunked"]),
            coded(&["identity", "chunked"]),
            coded(&["chunked, identity"]),
            coded(&["identity"]),
            coded(&["gzip, chunked"]),
            coded(&["xchunked"]),
            coded(&[""]),
            coded(&["chunked,"]),
        ],
    )
    .await;
}

#[tokio::test]
async fn two_lengths_and_lengths_that_are_none_are_400() {
    let chunks = "0\r\n\r\n";
    let with = |lines: &str| first(&format!("host: x\r\n{lines}")) + chunks;
    all_refused(
        400,
        &[
            with("content-length: 5\r\ncontent-length: 6\r\n"),
            with("content-length: 5, 6\r\n"),
            with("content-length: +5\r\n"),
            with("content-length: 5 5\r\n"),
        ],
    )
    .await;
}

/// The length counts for nothing (RFC 9112, 6.3): what follows the chunks is the next request.
#[tokio::test]
async fn a_length_and_a_transfer_coding_together_hide_no_request() {
    let fixture = Fixture::new(Setup::new()).await;
    let dialer = fixture.server.dial().show(fixture.setup.admin()).over((Proto::H1, Tls::V13));
    let hidden = "PUT /v1/key/create/my-hidden HTTP/1.1\r\nhost: x\r\n\r\n";
    let chunk = format!("{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len());
    for lengths in ["content-length: 5\r\n", "content-length: 0\r\n"] {
        for lines in [
            format!("{lengths}transfer-encoding: chunked\r\n"),
            format!("transfer-encoding: chunked\r\n{lengths}"),
        ] {
            let mut stream = dialer.tls().await.expect("TLS");
            let last = "GET /v1/status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
            let first = format!("PUT /v1/key/generate/my-k HTTP/1.1\r\nhost: x\r\n{lines}\r\n");
            let sent = format!("{first}{chunk}{last}");
            stream.write_all(sent.as_bytes()).await.expect("it is sent");
            stream.flush().await.expect("it is sent");
            let mut answers = String::new();
            stream.read_to_string(&mut answers).await.expect("answers, then the end");
            assert!(answers.starts_with("HTTP/1.1 400 "), "{lines:?}: {answers}");
            // What follows is the next request, or is not looked at.
            let is_last = answers.contains("connection: close") && !answers.contains(" 200 ");
            assert!(is_last || answers.contains("HTTP/1.1 200 "), "{lines:?}: {answers}");
        }
    }
    let mut admin = fixture.server.connect(fixture.setup.admin()).await;
    assert_eq!(admin.get("/v1/key/describe/my-hidden").await.status, 404);
    drop(admin);
    fixture.stop("nothing").await;
}

#[tokio::test]
async fn heads_that_can_be_read_in_one_way_only_are_served() {
    let fixture = Fixture::new(Setup::new()).await;
    let dialer = fixture.server.dial().show(fixture.setup.admin()).over((Proto::H1, Tls::V13));
    let long = format!("x-long: {}\r\n", "l".repeat(40 << 10));
    for (lines, body) in [
        ("host: x\r\ncontent-length: 2\r\n", "{}"),
        ("Host: x:7373\r\nTransfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"),
        ("host: x\r\ntransfer-encoding: Chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"),
        (&format!("host: x\r\n{long}content-length: 2\r\n"), "{}"),
    ] {
        let mut stream = dialer.tls().await.expect("TLS");
        let request =
            format!("PUT /v1/key/generate/my-k HTTP/1.1\r\nconnection: close\r\n{lines}\r\n{body}");
        stream.write_all(request.as_bytes()).await.expect("it is sent");
        stream.flush().await.expect("it is sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer, then the end");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    fixture.stop("no load").await;
}
