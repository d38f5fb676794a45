//! STS, which gives credentials for the tokens of others:
//! <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use http::Response;
use http::request::Parts;
use http_body_util::Full;
use percent_encoding::percent_decode_str;

use super::{Ledger, header, response};

/// The one role, and the name of its sessions.
pub(super) const ROLE_ARN: &str = "arn:aws:iam::123456789012:role/kes";
pub(super) const SESSION: &str = "kes-1";

const SPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";
const REQUEST_ID: &str = "<RequestId>0c5bd1a7-9d1f-4c08-9b0f-7c1d5d6f2a11</RequestId>";

pub(super) fn answer(ledger: &mut Ledger, head: &Parts, body: &[u8]) -> Response<Full<Bytes>> {
    let body = String::from_utf8_lossy(body);
    let form = form(&body);
    let field = |name: &str| form.get(name).map_or("", String::as_str);
    // Who has a web identity has no key yet to sign with.
    let is_signed = !header(head, "authorization").is_empty();
    let is_asked_well = head.method == "POST"
        && field("Version") == "2011-06-15"
        && field("RoleSessionName") == SESSION
        && !is_signed;
    match field("Action") {
        "AssumeRoleWithWebIdentity" if !is_asked_well => refusal(400, "ValidationError"),
        "AssumeRoleWithWebIdentity" if field("RoleArn") != ROLE_ARN => refusal(403, "AccessDenied"),
        "AssumeRoleWithWebIdentity" if !ledger.is_proof(field("WebIdentityToken")) => {
            refusal(400, "InvalidIdentityToken")
        }
        "AssumeRoleWithWebIdentity" => credentials(ledger),
        _ => refusal(400, "InvalidAction"),
    }
}

pub(super) fn refusal(status: u16, code: &str) -> Response<Full<Bytes>> {
    let kind = if status < 500 { "Sender" } else { "Receiver" };
    let body = format!(
        "<ErrorResponse xmlns=\"{SPACE}\"><Error><Type>{kind}</Type><Code>{code}</Code>\
         <Message>no credentials for you</Message></Error>{REQUEST_ID}</ErrorResponse>"
    );
    response(status, "text/xml", body)
}

fn credentials(ledger: &mut Ledger) -> Response<Full<Bytes>> {
    let issued = ledger.issue();
    // Base64 has no character that XML minds.
    let body = format!(
        "<AssumeRoleWithWebIdentityResponse xmlns=\"{SPACE}\">\
         <AssumeRoleWithWebIdentityResult>\
         <SubjectFromWebIdentityToken>system:serviceaccount:storage:kes</SubjectFromWebIdentityToken>\
         <Audience>sts.amazonaws.com</Audience>\
         <AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/kes/{SESSION}</Arn>\
         <AssumedRoleId>AROACLKWSDQRAOEXAMPLE:{SESSION}</AssumedRoleId></AssumedRoleUser>\
         <Credentials><AccessKeyId>{}</AccessKeyId><SecretAccessKey>{}</SecretAccessKey>\
         <SessionToken>{}</SessionToken><Expiration>{}</Expiration></Credentials>\
         </AssumeRoleWithWebIdentityResult>\
         <ResponseMetadata>{REQUEST_ID}</ResponseMetadata>\
         </AssumeRoleWithWebIdentityResponse>",
        issued.access_key,
        issued.secret_key,
        issued.token,
        issued.expiration()
    );
    response(200, "text/xml", body)
}

/// The fields of a form.
fn form(body: &str) -> BTreeMap<String, String> {
    let text = |encoded: &str| {
        let spaced: Cow<'_, str> = encoded.replace('+', " ").into();
        percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
    };
    let fields = body.split('&').filter_map(|field| field.split_once('='));
    fields.map(|(name, value)| (text(name), text(value))).collect()
}
