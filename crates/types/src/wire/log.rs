//! Lines of the audit log and the error log.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::{Identity, Timestamp};

/// A line of `GET /v1/log/audit`. The server has a writer of its own for it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct AuditEvent<'a> {
    /// When the request arrived.
    pub time: Timestamp,
    /// The request and its caller.
    pub request: AuditRequest<'a>,
    /// The response.
    pub response: AuditResponse,
    /// Whether the caller closed the connection before the change that it requested had ended. The
    /// response is that of the change, and was not sent.
    #[serde(default)]
    pub client_gone: bool,
    /// The number of events before this one that were dropped because the subscriber was too slow.
    #[serde(default)]
    pub lost: u64,
}

/// The request of an [`AuditEvent`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct AuditRequest<'a> {
    /// The caller's address; behind a TLS proxy the one that the proxy forwarded.
    pub ip: Cow<'a, str>,
    /// The percent-decoded path.
    pub path: Cow<'a, str>,
    /// The caller's identity, if it sent a certificate.
    #[serde(default)]
    pub identity: Option<Identity>,
    /// The policy that the caller is assigned to, if there is one. KES has no such field.
    #[serde(default)]
    pub policy: Option<Cow<'a, str>>,
    /// The TLS proxy's address, if the request came through one.
    #[serde(default)]
    pub proxy_ip: Option<Cow<'a, str>>,
}

/// The response of an [`AuditEvent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct AuditResponse {
    /// The HTTP status; 499 if the caller closed the connection before there was a response.
    pub code: u16,
    /// The time from the request's head to the response's head, in nanoseconds.
    pub time: u64,
}

/// A line of `GET /v1/log/error`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorEvent {
    /// The log line.
    pub message: String,
    /// The number of events before this one that were dropped because the subscriber was too slow.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lost: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}
