//! Signals: SIGTERM and SIGINT end the server gracefully, others do not end it.

use std::io::Write as _;

use kes_harness::{Lines, PROTOCOLS, Payload, Proto, Request, Setup, Tls, kes, signal};
use rustix::fs::{FileType, Mode};
use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};

#[tokio::test]
async fn a_request_whose_body_is_still_being_sent_is_answered() {
    for tls in [Tls::V12, Tls::V13] {
        let setup = Setup::new();
        let mut server = setup.start().await;
        let mut admin = server.connect_over(setup.admin(), (Proto::H2, tls)).await;
        admin.call("POST", "/v1/key/create/k").await.ok_empty();
        let (feed, payload) = Payload::fed();
        let request = Request::new("POST", "/v1/key/generate/k").payload(payload);
        let pending = admin.start(request).await.expect("a connection");
        feed.send("{\"context\":");
        // Answered later on the same connection: the server has the request above.
        admin.get("/version").await.ok();
        let mut idle = server.connect(setup.admin()).await;
        server.signal(Signal::TERM);
        idle.ended().await.expect("the server has begun to end");
        feed.send("\"Yw==\"}");
        drop(feed);
        let answer = pending.answer().await.ok();
        assert_eq!(answer.fields(), ["ciphertext", "plaintext"]);
        drop(admin);
        assert_eq!(server.wait().await.code(), Some(0));
    }
}

#[tokio::test]
async fn a_request_over_http_1_1_whose_body_is_still_being_sent_is_answered() {
    for tls in [Tls::V12, Tls::V13] {
        let setup = Setup::new();
        let mut server = setup.start().await;
        let dialer = server.dial().show(setup.admin()).over((Proto::H1, tls));
        dialer.connect().await.expect("h1").call("POST", "/v1/key/create/k").await.ok_empty();
        let mut stream = BufReader::new(dialer.tls().await.expect("TLS"));
        let head = "POST /v1/key/generate/k HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n";
        stream.write_all(head.as_bytes()).await.expect("a head is sent");
        let mut line = String::new();
        stream.read_line(&mut line).await.expect("a line");
        assert_eq!(line, "HTTP/1.1 100 Continue\r\n", "the server has the request");
        let mut idle = server.connect(setup.admin()).await;
        server.signal(Signal::TERM);
        idle.ended().await.expect("the server has begun to end");
        stream.write_all(b"{}").await.expect("the body is sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("the answer, then the end");
        assert!(answer.contains("HTTP/1.1 200 "), "{answer}");
        assert!(answer.contains("ciphertext"), "{answer}");
        assert_eq!(server.wait().await.code(), Some(0));
    }
}

#[tokio::test]
async fn log_streams_end_in_good_order() {
    for signal in [Signal::TERM, Signal::INT] {
        let setup = Setup::new();
        let mut server = setup.start().await;
        let mut streams = Vec::new();
        let mut connections = Vec::new();
        for protocol in PROTOCOLS {
            for path in ["/v1/log/audit", "/v1/log/error"] {
                let mut connection = server.connect_over(setup.admin(), protocol).await;
                streams.push(connection.follow(path).await);
                connections.push(connection);
            }
        }
        server.signal(signal);
        for stream in &mut streams {
            while stream.line().await.is_some() {}
        }
        assert_eq!(server.wait().await.code(), Some(0));
    }
}

/// Events of this many requests do not fit into what lies between a server and a reader that has
/// stopped reading.
const UNREAD: usize = 8000;

#[tokio::test]
async fn a_log_reader_that_stopped_reading_does_not_hold_up_the_end() {
    let setup = Setup::new();
    let mut server = setup.start().await;
    let mut admin = server.connect(setup.admin()).await;
    let mut stuck = Vec::new();
    for proto in [Proto::H1, Proto::H2] {
        let dialer = server.dial().show(setup.admin()).over((proto, Tls::V13));
        let mut connection = dialer.connect().await.expect("a connection");
        let stream = connection.follow("/v1/log/audit").await;
        stuck.push((connection, stream));
    }
    let long = format!("/v1/key/describe/{}", "k".repeat(1000));
    for _ in 0..UNREAD {
        assert_eq!(admin.get(&long).await.status, 400);
    }
    drop(admin);
    server.signal(Signal::TERM);
    assert_eq!(server.wait().await.code(), Some(0));
    drop(stuck);
}

#[tokio::test]
async fn idle_connections_are_closed_in_good_order() {
    let setup = Setup::new();
    let mut server = setup.start().await;
    let mut connections = Vec::new();
    for protocol in PROTOCOLS {
        let mut connection = server.connect_over(setup.admin(), protocol).await;
        connection.get("/v1/status").await.ok();
        connections.push((protocol, connection));
    }
    server.signal(Signal::TERM);
    for (protocol, mut connection) in connections {
        connection.ended().await.unwrap_or_else(|error| panic!("{protocol:?}: {error}"));
    }
    assert_eq!(server.wait().await.code(), Some(0));
}

#[tokio::test]
async fn silent_clients_do_not_hold_up_the_end() {
    let setup = Setup::new();
    let mut server = setup.start().await;
    let mut silent = vec![server.dial().tcp().await.expect("TCP")];
    for protocol in PROTOCOLS {
        let stream = server.dial().show(setup.admin()).over(protocol).tls().await.expect("TLS");
        silent.push(stream.into_inner().0);
    }
    server.signal(Signal::TERM);
    let status = server.wait().await;
    assert_eq!(status.code(), Some(0), "{}", server.stderr().all().await);
    drop(silent);
}

#[tokio::test]
async fn sighup_does_not_end_the_server() {
    let setup = Setup::new();
    let server = setup.start().await;
    let mut admin = server.connect(setup.admin()).await;
    server.signal(Signal::HUP);
    let line = server.stderr().find(|line| line.contains("SIGHUP")).await;
    assert!(line.is_some(), "what became of the signal is not said");
    admin.get("/v1/status").await.ok();
    server.connect(setup.admin()).await.get("/v1/status").await.ok();
    server.stop().await;
}

#[tokio::test]
async fn sigusr1_and_sigusr2_do_not_end_the_server() {
    let setup = Setup::new();
    let server = setup.start().await;
    let mut admin = server.connect(setup.admin()).await;
    for signal in [Signal::USR1, Signal::USR2, Signal::USR1, Signal::WINCH, Signal::PIPE] {
        server.signal(signal);
        admin.get("/v1/status").await.ok();
    }
    server.connect(setup.admin()).await.get("/v1/status").await.ok();
    server.stop().await;
}

#[tokio::test]
async fn sigusr1_and_sigusr2_do_not_end_a_server_that_is_starting() {
    let setup = Setup::new();
    let text = std::fs::read(setup.config_file()).expect("it was just written");
    let slow = setup.folder().join("slow.yaml");
    let here = rustix::fs::CWD;
    rustix::fs::mknodat(here, &slow, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
    let mut command = kes().command();
    command.args(["server", "--addr", "127.0.0.1:0", "--config"]).arg(&slow);
    let mut child = command.spawn().expect("the server starts");
    let log = Lines::of(child.stderr.take().expect("its errors are ours"));
    // Opens when the server reads its configuration.
    let opened = tokio::task::spawn_blocking(move || std::fs::File::create(slow));
    let mut config = opened.await.expect("it ends").expect("the pipe is there");
    for unknown in [Signal::USR1, Signal::USR2] {
        signal(&child, unknown);
    }
    config.write_all(&text).expect("the server reads");
    drop(config);
    let up = log.find(|line| line.contains("Endpoints")).await;
    assert!(up.is_some(), "it ended: {:?}", child.wait().await);
}
