//! The proxy of the test harness, in front of a real emulator.

use bytes::Bytes;
use kes_harness::aws::{Moto, error, moto};
use kes_harness::proxy::{Fault, Gate, Proxy};
use kes_harness::{Answer, Connection, Payload, Proto, Request};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::fixture::{action, action_on};

async fn connect(proxy: &Proxy) -> Connection {
    let stream = TcpStream::connect(proxy.address()).await.expect("it listens");
    Connection::open(stream, Proto::H1).await.expect("a connection")
}

fn request(action: &str, body: &Value) -> Request {
    Request::new("POST", "/")
        .header("x-amz-target", &format!("secretsmanager.{action}"))
        .header(
            "authorization",
            "AWS4-HMAC-SHA256 Credential=A/20260101/eu-central-1/secretsmanager/aws4_request, \
             SignedHeaders=host, Signature=0",
        )
        .payload(Payload::sized(body.to_string()))
}

fn read(name: &str) -> Request {
    request("GetSecretValue", &json!({ "SecretId": name }))
}

async fn try_read(proxy: &Proxy, name: &str) -> Result<Answer, String> {
    connect(proxy).await.try_send(read(name)).await.map_err(|error| format!("{error:?}"))
}

#[tokio::test]
async fn what_is_to_go_wrong_goes_wrong_and_nothing_else() {
    let Some(need) = moto() else { return };
    let moto = Moto::start(&need).await;
    let proxy = Proxy::to(moto.address()).await;
    moto.api().put("a", "the value of a").await;
    let gates = [Gate::new(), Gate::new()];
    for (name, fault) in [
        ("answer", Fault::Answer(error::throttling())),
        ("reset", Fault::Reset),
        ("lost", Fault::Lost),
        ("held", Fault::Held(gates[0].clone())),
        ("slow", Fault::SlowBody(gates[1].clone())),
        ("cut", Fault::CutBody),
        ("garbage", Fault::Garbage(Bytes::from_static(b"<html>"))),
        ("edit", Fault::edit(|body| Bytes::from([b"[", &body[..], b"]"].concat()))),
    ] {
        moto.api().put(name, "the value").await;
        proxy.inject_times(1, fault, action_on("GetSecretValue", name));
    }
    let whole = try_read(&proxy, "a").await.expect("nothing goes wrong").ok();
    assert_eq!(whole.text("SecretString"), "the value of a");

    let answer = try_read(&proxy, "answer").await.expect("an answer");
    assert_eq!((answer.status, answer.text("__type").as_str()), (400, "ThrottlingException"));
    assert_eq!(answer.header("x-amzn-requestid"), error::REQUEST_ID);
    for name in ["reset", "lost", "cut"] {
        let broken = try_read(&proxy, name).await.expect_err(name);
        assert!(broken.contains("reset") || broken.contains("IncompleteMessage"), "{broken}");
    }
    let garbage = try_read(&proxy, "garbage").await.expect("an answer");
    assert_eq!((garbage.status, &garbage.body[..]), (200, b"<html>".as_slice()));
    let edited = try_read(&proxy, "edit").await.expect("an answer").ok();
    assert_eq!(edited.json()[0]["SecretString"], "the value");

    for (name, gate) in [("held", &gates[0]), ("slow", &gates[1])] {
        let mut connection = connect(&proxy).await;
        let pending = connection.start(read(name)).await.expect("a connection");
        proxy.seen(action_on("GetSecretValue", name)).await;
        gate.open();
        assert_eq!(pending.answer().await.ok().text("SecretString"), "the value");
    }
    for name in ["answer", "reset", "lost", "held", "slow", "cut", "garbage", "edit"] {
        let again = try_read(&proxy, name).await.expect("it was to go wrong once").ok();
        assert_eq!(again.text("SecretString"), "the value");
    }
    assert_eq!(proxy.count(action("GetSecretValue")), 17);
    proxy.turn(None);
    try_read(&proxy, "a").await.expect_err("nothing listens there");
}

#[tokio::test]
async fn a_lost_answer_is_to_something_that_was_done_and_a_reset_to_something_that_was_not() {
    let Some(need) = moto() else { return };
    let moto = Moto::start(&need).await;
    let proxy = Proxy::to(moto.address()).await;
    for (name, fault, is_done) in [("lost", Fault::Lost, true), ("reset", Fault::Reset, false)] {
        proxy.inject(fault, action_on("CreateSecret", name));
        let create = request("CreateSecret", &json!({ "Name": name, "SecretString": "v" }));
        let created = connect(&proxy).await.try_send(create).await;
        created.expect_err("the connection ended");
        assert_eq!(moto.api().value(name).await.is_some(), is_done, "{name}");
    }
}
