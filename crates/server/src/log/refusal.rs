//! Describes, for the operator, why a connection or a request was refused and how to correct it.

use std::borrow::Cow;
use std::io;

use kes_tls::{Explanation, Side, explain, explain_io};
use rustls::{Error, InvalidMessage};

/// Describes a refusal: what failed, why, and how to correct it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Refusal {
    pub(crate) what: &'static str,
    pub(crate) reason: Cow<'static, str>,
    pub(crate) cure: Cow<'static, str>,
}

type Text = Cow<'static, str>;

const HANDSHAKE: &str = "TLS handshake failed";
const REQUEST: &str = "request refused";

/// The advice if no better one is known.
const SEE_CLIENT: &str = "the client's log may say why";

/// The reason for a CA certificate in place of the client's own.
pub(crate) const CLIENT_IS_CA: &str = "the client's certificate is that of a CA (CA:TRUE)";

impl Refusal {
    pub(crate) fn new(what: &'static str, reason: impl Into<Text>, cure: impl Into<Text>) -> Self {
        Self { what, reason: reason.into(), cure: cure.into() }
    }

    /// A request whose caller has no identity.
    pub(crate) fn of_request(reason: impl Into<Text>, cure: impl Into<Text>) -> Self {
        Self::new(REQUEST, reason, cure)
    }

    /// A handshake that reached its timeout.
    pub(crate) fn timed_out() -> Self {
        let reason = "the client did not finish the handshake in time";
        Self::new(
            HANDSHAKE,
            reason,
            "see whether the client speaks TLS, and whether the network loses packets",
        )
    }

    /// A connection without a known identity that was closed for another one.
    pub(crate) fn evicted() -> Self {
        let reason = "too many connections of clients without a policy";
        let cure =
            "stop these clients, or give them a policy; raise the limit of open files if it is low";
        Self::new("connection closed", reason, cure)
    }

    /// A connection of an identity whose connection limit is reached, and none of whose connections is idle.
    pub(crate) fn too_many_connections() -> Self {
        let reason = "too many connections of one identity, none of them idle";
        let cure =
            "let its clients use fewer connections, or raise limits.connections_per_identity";
        Self::new("requests of a connection refused", reason, cure)
    }

    /// A connection whose client does not read its responses.
    pub(crate) fn not_read() -> Self {
        let reason = "the client does not take its answers";
        let cure = "see whether the client hangs, and whether the network loses packets";
        Self::new("connection closed", reason, cure)
    }

    /// A connection with plain HTTP.
    pub(crate) fn plain_http() -> Self {
        Self::new(HANDSHAKE, "the client sent a plain HTTP request", "let the client use https://")
    }

    /// A connection with a protocol other than TLS or HTTP.
    pub(crate) fn not_tls() -> Self {
        Self::explained(
            HANDSHAKE,
            "",
            explain(&Error::InvalidMessage(InvalidMessage::InvalidContentType), Side::Server),
        )
    }

    /// A handshake that failed.
    pub(crate) fn of_handshake(error: &io::Error) -> Self {
        Self::explained(HANDSHAKE, "", explain_io(error, Side::Server))
    }

    /// A request with a forwarded certificate that is not trusted.
    pub(crate) fn of_forwarded(error: &Error) -> Self {
        Self::explained(REQUEST, "forwarded by a TLS proxy: ", explain(error, Side::Server))
    }

    fn explained(what: &'static str, head: &str, explanation: Explanation) -> Self {
        let Explanation { problem, cure } = explanation;
        let reason = if head.is_empty() { problem } else { format!("{head}{problem}").into() };
        Self { what, reason, cure: cure.unwrap_or(Cow::Borrowed(SEE_CLIENT)) }
    }
}
