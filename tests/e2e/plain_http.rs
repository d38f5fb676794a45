//! HTTP without TLS on the server's port is answered with an explanation.

use kes_harness::{Server, Setup};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const TEXT: &str = "Client sent an HTTP request to an HTTPS server.\n";

async fn connect(server: &Server) -> TcpStream {
    let stream = server.dial().tcp().await.expect("a TCP connection");
    stream.set_nodelay(true).expect("it is open");
    stream
}

/// All that comes until the server closes.
async fn answer(stream: &mut TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer, then the end");
    answer
}

fn assert_explained(request: &str, answer: &str) {
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.starts_with("HTTP/1.0 400 Bad Request\r\n"), "{request}: {answer}");
    assert!(head.contains("Connection: close"), "{request}: {answer}");
    assert!(head.contains("Content-Type: text/plain"), "{request}: {answer}");
    assert_eq!(body, TEXT, "{request}: {answer}");
}

#[tokio::test]
async fn every_method_over_plain_http_gets_a_readable_answer() {
    let setup = Setup::new();
    let server = setup.start().await;
    for request in [
        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /v1/status HTTP/1.0\r\n\r\n",
        "PUT /v1/key/create/k HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
        "POST /v1/key/generate/k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
        "DELETE /v1/key/delete/k HTTP/1.1\r\nHost: x\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        "CONNECT localhost:7373 HTTP/1.1\r\nHost: x\r\n\r\n",
        "PATCH / HTTP/1.1\r\n\r\n",
        "PROPFIND / HTTP/1.1\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "G",
    ] {
        let mut stream = connect(&server).await;
        stream.write_all(request.as_bytes()).await.expect("it is open");
        assert_explained(request, &answer(&mut stream).await);
    }
    server.connect(setup.admin()).await.get("/v1/status").await.ok();
    let words = ["WARN", "peer=127.0.0.1", "plain HTTP request", "https://"];
    server.log_has(&words).await;
}

#[tokio::test]
async fn head_gets_the_head_alone() {
    let setup = Setup::new();
    let server = setup.start().await;
    let mut stream = connect(&server).await;
    stream.write_all(b"HEAD /v1/ready HTTP/1.1\r\n\r\n").await.expect("it is open");
    let answer = answer(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.0 400 ") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn a_client_that_is_still_sending_gets_the_answer() {
    let setup = Setup::new();
    let server = setup.start().await;
    let body = "x".repeat(32 << 10);
    for piece in [1000, 7] {
        let mut stream = connect(&server).await;
        let head = format!("PUT / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
        for piece in [head.as_bytes(), body.as_bytes()].concat().chunks(piece).take(2000) {
            // The answer may be there before all is sent.
            if stream.write_all(piece).await.is_err() {
                break;
            }
        }
        assert_explained("PUT", &answer(&mut stream).await);
    }
}

#[tokio::test]
async fn the_log_has_the_refusal_before_the_client_has_its_answer() {
    let setup = Setup::new();
    let server = setup.start().await;
    let mut stream = connect(&server).await;
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("it is open");
    assert_explained("GET", &answer(&mut stream).await);
    // The client has not closed its end, for which the server still waits.
    let (_, log) = server.stop_and_read().await;
    assert_eq!(log.matches("plain HTTP request").count(), 1, "{log}");
    drop(stream);
}
