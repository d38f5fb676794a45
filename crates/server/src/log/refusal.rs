//! The reasons for refusals of peers whose identity is not known yet, as text for an operator.

use std::borrow::Cow;
use std::io;

use kes_tls::{Explanation, Side, explain, explain_io};
use rustls::{Error, InvalidMessage};

/// A refusal: what failed, why, and how to correct it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Refusal {
    pub(crate) what: &'static str,
    pub(crate) reason: Cow<'static, str>,
    pub(crate) cure: Cow<'static, str>,
}

type Text = Cow<'static, str>;

const HANDSHAKE: &str = "TLS handshake failed";
const REQUEST: &str = "request refused";

/// The correction where no better one is known.
const SEE_CLIENT: &str = "the client's log may say why";

/// A CA's certificate, where the client's own should be.
pub(crate) const CLIENT_IS_CA: &str = "the client's certificate is that of a CA (CA:TRUE)";

impl Refusal {
    pub(crate) fn new(what: &'static str, reason: impl Into<Text>, cure: impl Into<Text>) -> Self {
        Self { what, reason: reason.into(), cure: cure.into() }
    }

    /// A request whose caller has no identity.
    pub(crate) fn of_request(reason: impl Into<Text>, cure: impl Into<Text>) -> Self {
        Self::new(REQUEST, reason, cure)
    }

    /// A handshake that took too long.
    pub(crate) fn timed_out() -> Self {
        let reason = "the client did not finish the handshake in time";
        Self::new(
            HANDSHAKE,
            reason,
            "see whether the client speaks TLS, and whether the network loses packets",
        )
    }

    /// A connection that had to make room for others before its client was known.
    pub(crate) fn evicted() -> Self {
        let reason = "too many connections of clients without a policy";
        let cure =
            "stop these clients, or give them a policy; raise the limit of open files if it is low";
        Self::new("connection closed", reason, cure)
    }

    /// A connection of an identity that holds as many as it may, and none that is idle.
    pub(crate) fn too_many_connections() -> Self {
        let reason = "too many connections of one identity, none of them idle";
        let cure =
            "let its clients use fewer connections, or raise limits.connections_per_identity";
        Self::new("requests of a connection refused", reason, cure)
    }

    /// A connection whose client does not take what it is answered.
    pub(crate) fn not_taken() -> Self {
        let reason = "the client does not take its answers";
        let cure = "see whether the client hangs, and whether the network loses packets";
        Self::new("connection closed", reason, cure)
    }

    /// HTTP without TLS.
    pub(crate) fn plain_http() -> Self {
        Self::new(HANDSHAKE, "the client sent a plain HTTP request", "let the client use https://")
    }

    /// Something else than TLS.
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

    /// A certificate that a TLS proxy forwarded and that is not trusted.
    pub(crate) fn of_forwarded(error: &Error) -> Self {
        Self::explained(REQUEST, "forwarded by a TLS proxy: ", explain(error, Side::Server))
    }

    fn explained(what: &'static str, head: &str, explanation: Explanation) -> Self {
        let Explanation { problem, cure } = explanation;
        let reason = if head.is_empty() { problem } else { format!("{head}{problem}").into() };
        Self { what, reason, cure: cure.unwrap_or(Cow::Borrowed(SEE_CLIENT)) }
    }
}
