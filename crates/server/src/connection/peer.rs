//! Determines the identity of a connection's peer and of a request's caller.
//!
//! One parser reads each certificate, for the signature of the handshake and for the identity. If two parsers
//! disagreed about the position of the public key, one caller could be taken for another.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock};

use axum::http::{HeaderMap, HeaderName};
use kes_policy::Subject;
use kes_types::wire::message;
use kes_types::{Identity, PolicyName, lock};
use percent_encoding::percent_decode_str;

use crate::http::decoded_path::has_whole_escapes;
use crate::http::error::ApiError;
use crate::limit::accounts::{Account, Accounts};
use crate::limit::budget::{Budget, ConnectionBudget};
use crate::log::refusal::{self, Refusal};
use crate::state::snapshot::Snapshot;

/// Describes the peer of a TLS connection; created once, at the end of the handshake.
#[derive(Debug)]
pub(crate) struct Peer {
    address: SocketAddr,
    /// The address as text, for the audit log.
    ip: Arc<str>,
    identity: Result<Identity, NoIdentity>,
    /// The resolved identity, and the generation of the configuration that it was resolved with.
    subject: Mutex<Option<(u64, Subject)>>,
    /// The memory budget of the connection for request and response bodies.
    pub(crate) budget: ConnectionBudget,
    /// The account of its identity; set once the identity is known.
    account: OnceLock<Arc<Account>>,
    accounts: Arc<Accounts>,
}

/// The reason why certificates have no identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoIdentity {
    /// There is no certificate.
    Missing,
    /// The first certificate cannot be parsed.
    Unreadable,
    /// The first certificate is that of a CA.
    Authority,
    /// A further certificate is not that of a CA.
    Ambiguous,
}

/// Describes a caller without an identity: its response, and the log entry.
#[derive(Clone, Debug)]
pub(crate) struct Unidentified {
    pub(crate) response: ApiError,
    pub(crate) refusal: Refusal,
    /// The address of the connection's peer.
    pub(crate) peer: SocketAddr,
    /// The client's address, if the request came through a TLS proxy.
    pub(crate) detail: Option<String>,
}

/// Describes the caller of a request.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) subject: Result<Subject, Box<Unidentified>>,
    /// The caller's address; behind a TLS proxy the one that it forwarded.
    pub(crate) ip: Arc<str>,
    /// The TLS proxy's address, if the request came through one.
    pub(crate) proxy_ip: Option<Arc<str>>,
    /// The account of its identity, until the request is counted there; `None` for callers without a policy.
    pub(crate) account: Option<Arc<Account>>,
}

impl Caller {
    /// Returns the identity, if it is the admin's or has a policy.
    pub(crate) fn known_identity(&self) -> Option<Identity> {
        let known = self.subject.as_ref().ok().filter(|subject| subject.is_known());
        known.map(|subject| *subject.identity())
    }

    /// Returns the policy that the identity is assigned to, if there is one.
    pub(crate) fn policy(&self) -> Option<&PolicyName> {
        match &self.subject {
            Ok(Subject::Assigned(_, policy)) => Some(policy.name()),
            _ => None,
        }
    }
}

impl Peer {
    /// Creates a peer. `address` is canonical, not an IPv4-mapped IPv6 address. `certificates` are DER in the
    /// order in which they were sent: the key of the first one signed the handshake.
    pub(crate) fn new(
        address: SocketAddr,
        certificates: &[impl AsRef<[u8]>],
        accounts: Arc<Accounts>,
        budget: &Arc<Budget>,
    ) -> Self {
        let (ip, identity) = (address.ip().to_string().into(), identity_of(certificates));
        let (subject, account) = (Mutex::new(None), OnceLock::new());
        let budget = ConnectionBudget::new(budget);
        Self { address, ip, identity, subject, budget, account, accounts }
    }

    /// Returns the identity, if it is configured: as the admin's, in a policy, or as that of a TLS proxy.
    pub(crate) fn known_identity(&self, snapshot: &Snapshot) -> Option<Identity> {
        self.identity.ok().filter(|_| self.is_known(snapshot))
    }

    /// Returns whether the identity is configured: as the admin's, in a policy, or as that of a TLS proxy.
    pub(crate) fn is_known(&self, snapshot: &Snapshot) -> bool {
        self.identity.is_ok_and(|identity| snapshot.policies.subject(&identity).is_known())
            || self.forwards(snapshot)
    }

    /// Returns whether the peer is a TLS proxy, which forwards the requests of other callers.
    pub(crate) fn forwards(&self, snapshot: &Snapshot) -> bool {
        self.identity.is_ok_and(|identity| snapshot.proxy.identities.contains(&identity))
    }

    /// Returns the caller of the connection's requests; `None` for a TLS proxy, which forwards those of
    /// other callers.
    pub(crate) fn caller(&self, snapshot: &Snapshot) -> Option<Caller> {
        let ip = Arc::clone(&self.ip);
        let identity = match self.identity {
            Ok(identity) => identity,
            Err(reason) => {
                let unidentified = self.unidentified(reason.into(), reason.refusal());
                let subject = Err(unidentified);
                return Some(Caller { subject, ip, proxy_ip: None, account: None });
            }
        };
        if self.forwards(snapshot) {
            return None;
        }
        let subject = self.subject(snapshot, identity);
        let account = subject
            .is_known()
            .then(|| Arc::clone(self.account.get_or_init(|| self.accounts.of(&identity))));
        Some(Caller { subject: Ok(subject), ip, proxy_ip: None, account })
    }

    /// Returns the caller of a request that the peer, a TLS proxy, forwards with these headers.
    pub(crate) fn forwarded_caller(&self, snapshot: &Snapshot, headers: &HeaderMap) -> Caller {
        let proxy_ip = Arc::clone(&self.ip);
        let ip = forwarded_for(headers).map(|ip| ip.to_string().into());
        let ip: Arc<str> = ip.unwrap_or_else(|| Arc::clone(&proxy_ip));
        let subject = self.forwarded(snapshot, headers).map_err(|mut unidentified| {
            unidentified.detail = Some(format!("forwarded for {ip}"));
            unidentified
        });
        let known = subject.as_ref().ok().filter(|subject| subject.is_known());
        let account = known.map(|subject| self.accounts.of(subject.identity()));
        Caller { subject, ip, proxy_ip: Some(proxy_ip), account }
    }

    /// Resolves the identity to its policy; the result is cached for a generation of the configuration.
    fn subject(&self, snapshot: &Snapshot, identity: Identity) -> Subject {
        let mut resolved = lock(&self.subject);
        match &*resolved {
            Some((generation, subject)) if *generation == snapshot.generation => subject.clone(),
            _ => {
                let subject = snapshot.policies.subject(&identity);
                *resolved = Some((snapshot.generation, subject.clone()));
                subject
            }
        }
    }

    /// Returns the caller that a configured TLS proxy forwards: exactly one header with a URL-escaped PEM
    /// certificate.
    fn forwarded(
        &self,
        snapshot: &Snapshot,
        headers: &HeaderMap,
    ) -> Result<Subject, Box<Unidentified>> {
        let certificates = self.forwarded_certificates(&snapshot.proxy.header, headers)?;
        let identity = identity_of(&certificates).map_err(|reason| {
            let (reason_text, cure) = reason.reason_and_cure();
            let reason_text = format!("forwarded by a TLS proxy: {reason_text}");
            self.unidentified(reason.into(), Refusal::of_request(reason_text, cure))
        })?;
        if let Some(chain) = &snapshot.forwarded_chain
            && let Err(error) = chain.check(&certificates)
        {
            tracing::debug!(%identity, "a forwarded client certificate is not trusted");
            let refusal = Refusal::of_forwarded(&error);
            return Err(self.unidentified(ApiError::not_allowed(), refusal));
        }
        Ok(snapshot.policies.subject(&identity))
    }

    /// Returns the certificates of the header as DER.
    fn forwarded_certificates(
        &self,
        header: &str,
        headers: &HeaderMap,
    ) -> Result<Vec<Vec<u8>>, Box<Unidentified>> {
        let refused = |response: ApiError, reason: &'static str| {
            let cure = format!(
                "let the TLS proxy set the header {header} once, to the client's certificate as \
                 URL-escaped PEM"
            );
            self.unidentified(response, Refusal::of_request(reason, cure))
        };
        let malformed = || {
            let response = ApiError::bad_request("invalid client certificate from TLS proxy");
            refused(response, "the client certificate that a TLS proxy forwarded cannot be read")
        };
        let name = HeaderName::try_from(header)
            .map_err(|error| refused(ApiError::internal(error), "the header's name is wrong"))?;
        let mut values = headers.get_all(name).iter();
        let Some(value) = values.next() else {
            let reason = "a TLS proxy forwarded no client certificate";
            return Err(refused(NoIdentity::Missing.into(), reason));
        };
        if values.next().is_some() {
            let reason = "a TLS proxy forwarded several client certificates";
            return Err(refused(NoIdentity::Ambiguous.into(), reason));
        }
        let escaped = value.to_str().map_err(|_| malformed())?;
        if !has_whole_escapes(escaped) {
            return Err(malformed());
        }
        let pem = percent_decode_str(escaped).decode_utf8().map_err(|_| malformed())?;
        // Proxies and libraries join repeated headers with a comma (RFC 9110, 5.3). The first one may be
        // set by the client: a client that can add a header must not be able to choose the identity.
        if pem.contains(',') {
            let reason = "a TLS proxy forwarded several client certificates, joined by a comma";
            return Err(refused(NoIdentity::Ambiguous.into(), reason));
        }
        // Some proxies escape a space as a plus sign, which is a base64 character as well; only the labels
        // have spaces.
        let pem = pem.replace("BEGIN+CERTIFICATE", "BEGIN CERTIFICATE");
        let pem = pem.replace("END+CERTIFICATE", "END CERTIFICATE");
        if !holds_certificates_alone(&pem) {
            return Err(malformed());
        }
        kes_crypto::pem::certificates(pem.as_bytes()).map_err(|_| malformed())
    }

    fn unidentified(&self, response: ApiError, refusal: Refusal) -> Box<Unidentified> {
        Box::new(Unidentified { response, refusal, peer: self.address, detail: None })
    }
}

impl From<NoIdentity> for ApiError {
    fn from(reason: NoIdentity) -> Self {
        Self::bad_request(match reason {
            NoIdentity::Missing | NoIdentity::Unreadable | NoIdentity::Authority => {
                message::CERTIFICATE_REQUIRED
            }
            NoIdentity::Ambiguous => message::CERTIFICATE_AMBIGUOUS,
        })
    }
}

impl NoIdentity {
    fn refusal(self) -> Refusal {
        let (reason, cure) = self.reason_and_cure();
        Refusal::of_request(reason, cure)
    }

    /// Returns what is wrong, and how to correct it.
    fn reason_and_cure(self) -> (&'static str, &'static str) {
        match self {
            Self::Missing => (kes_tls::NO_CERTIFICATE, kes_tls::GIVE_CERTIFICATE),
            Self::Unreadable => (kes_tls::UNREADABLE_CERTIFICATE, "issue a new certificate"),
            Self::Authority => (
                refusal::CLIENT_IS_CA,
                "issue one with CA:FALSE, with `kes identity new` for example; in a chain the \
                 client's own certificate comes first",
            ),
            Self::Ambiguous => (
                "the client sent further certificates that are not those of CAs",
                "let the client send its own certificate and those of the CAs above it, nothing \
                 else",
            ),
        }
    }
}

/// Returns the identity of a certificate list: that of the first one, whose key signed the handshake. The
/// first one must not be that of a CA, and every further one must be: otherwise a client could send the
/// certificate of another client along with its own and be taken for that client.
fn identity_of(certificates: &[impl AsRef<[u8]>]) -> Result<Identity, NoIdentity> {
    let (first, further) = certificates.split_first().ok_or(NoIdentity::Missing)?;
    let first =
        kes_crypto::certificate_identity(first.as_ref()).map_err(|_| NoIdentity::Unreadable)?;
    if first.is_ca {
        return Err(NoIdentity::Authority);
    }
    for certificate in further {
        match kes_crypto::certificate_identity(certificate.as_ref()) {
            Ok(certificate) if certificate.is_ca => {}
            _ => return Err(NoIdentity::Ambiguous),
        }
    }
    Ok(first.identity)
}

/// Returns whether a text has only certificate sections and white space. Text outside of them was not
/// added by the proxy.
fn holds_certificates_alone(pem: &str) -> bool {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
    let mut remaining = pem.trim_ascii();
    while let Some(section) = remaining.strip_prefix(BEGIN) {
        let Some((body, after)) = section.split_once(END) else { return false };
        if !body.bytes().all(|byte| is_base64(byte) || byte.is_ascii_whitespace()) {
            return false;
        }
        remaining = after.trim_ascii_start();
    }
    remaining.is_empty() && !pem.trim_ascii().is_empty()
}

/// Returns the last address of `X-Forwarded-For`, which the proxy itself has added. The addresses before it
/// may be set by the client.
fn forwarded_for(headers: &HeaderMap) -> Option<IpAddr> {
    const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
    let last = headers.get_all(FORWARDED_FOR).iter().next_back()?.to_str().ok()?;
    let last = last.rsplit(',').next()?.trim();
    let ip = last.parse::<IpAddr>().ok();
    ip.or_else(|| last.parse::<SocketAddr>().ok().map(|address| address.ip()))
        .map(|ip| ip.to_canonical())
}
