//! The agent that gives credentials to the containers of ECS and, by the same protocol, to pods:
//! <https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>.

use bytes::Bytes;
use http::Response;
use http::request::Parts;
use http_body_util::Full;
use serde_json::json;

use super::{Ledger, header, response};

/// Where pods get theirs.
pub(super) const PATH: &str = "/v1/credentials";

pub(super) fn answer(ledger: &mut Ledger, head: &Parts) -> Response<Full<Bytes>> {
    match (head.method.as_str(), head.uri.path()) {
        ("GET", PATH) if !ledger.is_proof(header(head, "authorization")) => {
            refusal(400, "InvalidTokenException")
        }
        ("GET", PATH) => credentials(ledger),
        _ => refusal(404, "ResourceNotFoundException"),
    }
}

pub(super) fn refusal(status: u16, code: &str) -> Response<Full<Bytes>> {
    let body = json!({ "code": code, "message": "no credentials for you" });
    response(status, "application/json", body.to_string())
}

fn credentials(ledger: &mut Ledger) -> Response<Full<Bytes>> {
    let issued = ledger.issue();
    let body = json!({
        "AccessKeyId": issued.access_key,
        "SecretAccessKey": issued.secret_key,
        "Token": issued.token,
        "AccountId": "123456789012",
        "Expiration": issued.expiration(),
    });
    response(200, "application/json", body.to_string())
}
