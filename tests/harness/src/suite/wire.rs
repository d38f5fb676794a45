//! Suite: every request of `wire.jsonl` gets its expected answer.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::vectors::{self, Exchange, Want};
use crate::{Answer, Connection, Credential, Payload, Proto, Request, Setup, Tls};

/// Sends every request of `wire.jsonl`, in order, to a server of this setup, whose store is to be
/// empty.
///
/// # Panics
/// If an answer is not what it should be.
pub async fn every_exchange_is_answered(setup: Setup, protocol: (Proto, Tls)) {
    let (client, another, other) =
        (Credential::generate(), Credential::generate(), Credential::generate());
    let setup = setup.minio(&[&client, &another]);
    let server = setup.start().await;
    let mut connections = BTreeMap::new();
    for (name, who) in [("admin", setup.admin()), ("client-ed25519", &client), ("other", &other)] {
        connections.insert(name, (who, server.connect_over(who, protocol).await));
    }
    let (mut saved, mut wrong) = (BTreeMap::new(), Vec::new());
    for exchange in vectors::wire() {
        let known = connections.get_mut(exchange.identity.as_str());
        let (who, connection) = known.expect("an identity of the vectors");
        let answer = ask(connection, &exchange, &saved).await;
        if answer.header("connection") == "close" {
            *connection = server.connect_over(who, protocol).await;
        }
        if let Err(problem) = check(&answer, &exchange.want, &saved) {
            wrong.push(format!("{}: {problem}: {answer:?}", exchange.id));
        }
        for (name, field) in &exchange.save {
            saved.insert(name.clone(), answer.text(field));
        }
    }
    assert!(wrong.is_empty(), "{protocol:?}\n{}", wrong.join("\n"));
}

async fn ask(
    connection: &mut Connection,
    exchange: &Exchange,
    saved: &BTreeMap<String, String>,
) -> Answer {
    let mut request = Request::new(&exchange.method, &exchange.path);
    if let Some(body) = &exchange.body {
        request = request.payload(Payload::chunked(fill(body, saved)));
    }
    if let Some((head, unit, times, tail)) = &exchange.body_repeat {
        let body = format!("{head}{}{tail}", unit.repeat(*times));
        request = request.payload(Payload::chunked(body));
    }
    let answer = connection.try_send(request).await;
    answer.unwrap_or_else(|error| panic!("{}: {error}", exchange.id))
}

fn check(answer: &Answer, want: &Want, saved: &BTreeMap<String, String>) -> Result<(), String> {
    if answer.status != want.status {
        return Err(format!("status {} instead of {}", answer.status, want.status));
    }
    if want.empty && !(answer.body.is_empty() && answer.header("content-length") == "0") {
        return Err("not empty".to_owned());
    }
    if let Some(allow) = &want.allow
        && answer.header("allow") != allow
    {
        return Err(format!("Allow is not '{allow}'"));
    }
    if let Some(message) = &want.message
        && answer.error() != *message
    {
        return Err(format!("message is not '{message}'"));
    }
    if let Some(json) = &want.json {
        let json: Value =
            serde_json::from_str(&fill(&json.to_string(), saved)).map_err(|e| e.to_string())?;
        if answer.json() != json {
            return Err(format!("not {json}"));
        }
    }
    if let Some(fields) = &want.fields
        && answer.fields() != *fields
    {
        return Err(format!("fields are not {fields:?}"));
    }
    if want.array && !answer.json().is_array() {
        return Err("not an array".to_owned());
    }
    if want.json_error {
        answer.error();
    }
    Ok(())
}

fn fill(text: &str, saved: &BTreeMap<String, String>) -> String {
    saved
        .iter()
        .fold(text.to_owned(), |text, (name, value)| text.replace(&format!("${{{name}}}"), value))
}
