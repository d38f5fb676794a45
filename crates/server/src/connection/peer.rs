//! The peer of a connection, and the caller of a request: their identities.
//!
//! One parser reads a certificate, for the handshake's signature and for the identity. Two parsers that disagree about where
//! the public key is would let one caller take the identity of another.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::http::{HeaderMap, HeaderName};
use kes_policy::Subject;
use kes_types::wire::message;
use kes_types::{Identity, PolicyName};
use percent_encoding::percent_decode_str;

use crate::http::decoded_path::has_whole_escapes;
use crate::http::error::ApiError;
use crate::limit::accounts::{Account, Accounts};
use crate::limit::budget::{Budget, ConnectionBudget};
use crate::log::refusal::{self, Refusal};
use crate::state::snapshot::Snapshot;

/// The peer of a TLS connection; computed once, at the end of the handshake.
#[derive(Debug)]
pub(crate) struct Peer {
    address: SocketAddr,
    /// Its address, as the audit log has it.
    ip: Arc<str>,
    identity: Result<Identity, NoIdentity>,
    /// The identity as the policies of a generation see it.
    subject: Mutex<Option<(u64, Subject)>>,
    /// What the connection holds of the memory for bodies and answers.
    pub(crate) budget: ConnectionBudget,
    /// The requests of its identity; found once it is known.
    account: OnceLock<Arc<Account>>,
    accounts: Arc<Accounts>,
}

/// The reasons why certificates give no identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoIdentity {
    /// There is no certificate.
    Missing,
    /// The first one cannot be read.
    Unreadable,
    /// The first one is a CA's.
    Authority,
    /// A further one is not a CA's.
    Ambiguous,
}

/// A caller without an identity: its response, and the line in the log.
#[derive(Clone, Debug)]
pub(crate) struct Unidentified {
    pub(crate) answer: ApiError,
    pub(crate) refusal: Refusal,
    /// The other end of the connection.
    pub(crate) peer: SocketAddr,
    /// Behind a TLS proxy, the client's address.
    pub(crate) detail: Option<String>,
}

/// The caller of a request.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) subject: Result<Subject, Box<Unidentified>>,
    /// The caller's address; behind a TLS proxy the one that it forwarded.
    pub(crate) ip: Arc<str>,
    /// The TLS proxy's address, if the request came through one.
    pub(crate) proxy_ip: Option<Arc<str>>,
    /// The requests of its identity, until the request is counted there; none for callers without a
    /// policy.
    pub(crate) account: Option<Arc<Account>>,
}

impl Caller {
    /// The identity, if the policies know it.
    pub(crate) fn known_identity(&self) -> Option<Identity> {
        let known = self.subject.as_ref().ok().filter(|subject| subject.is_known());
        known.map(|subject| *subject.identity())
    }

    /// The policy that the identity is assigned to, if there is one.
    pub(crate) fn policy(&self) -> Option<&PolicyName> {
        match &self.subject {
            Ok(Subject::Assigned(_, policy)) => Some(policy.name()),
            _ => None,
        }
    }
}

impl Peer {
    /// `address` is canonical: IPv4 is not written as IPv6. `certificates` are DER, as sent: the first
    /// signed the handshake.
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

    /// The identity, if the configuration knows it: as the admin's, through a policy, or as that of a
    /// TLS proxy.
    pub(crate) fn known_identity(&self, snapshot: &Snapshot) -> Option<Identity> {
        self.identity.ok().filter(|_| self.is_known(snapshot))
    }

    /// Whether the configuration knows the peer.
    pub(crate) fn is_known(&self, snapshot: &Snapshot) -> bool {
        self.identity.is_ok_and(|identity| snapshot.policies.subject(&identity).is_known())
            || self.forwards(snapshot)
    }

    /// Whether it is a TLS proxy, which forwards the requests of others.
    pub(crate) fn forwards(&self, snapshot: &Snapshot) -> bool {
        self.identity.is_ok_and(|identity| snapshot.proxy.identities.contains(&identity))
    }

    /// The sender of the connection's requests; none for a TLS proxy, which forwards those of others.
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

    /// The sender of a request that the peer, a TLS proxy, forwards with these headers.
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

    /// Resolves the identity, anew only when the configuration's generation has changed.
    fn subject(&self, snapshot: &Snapshot, identity: Identity) -> Subject {
        let mut resolved = self.subject.lock().unwrap_or_else(PoisonError::into_inner);
        match &*resolved {
            Some((generation, subject)) if *generation == snapshot.generation => subject.clone(),
            _ => {
                let subject = snapshot.policies.subject(&identity);
                *resolved = Some((snapshot.generation, subject.clone()));
                subject
            }
        }
    }

    /// The caller that a listed TLS proxy forwards: exactly one header with a URL-escaped PEM
    /// certificate.
    fn forwarded(
        &self,
        snapshot: &Snapshot,
        headers: &HeaderMap,
    ) -> Result<Subject, Box<Unidentified>> {
        let certificates = self.forwarded_certificates(&snapshot.proxy.header, headers)?;
        let identity = identity_of(&certificates).map_err(|reason| {
            let (words, cure) = reason.words();
            let words = format!("forwarded by a TLS proxy: {words}");
            self.unidentified(reason.into(), Refusal::of_request(words, cure))
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

    /// The certificates of the header, DER.
    fn forwarded_certificates(
        &self,
        header: &str,
        headers: &HeaderMap,
    ) -> Result<Vec<Vec<u8>>, Box<Unidentified>> {
        let refused = |answer: ApiError, reason: &'static str| {
            let cure = format!(
                "let the TLS proxy set the header {header} once, to the client's certificate as \
                 URL-escaped PEM"
            );
            self.unidentified(answer, Refusal::of_request(reason, cure))
        };
        let malformed = || {
            let answer = ApiError::bad_request("invalid client certificate from TLS proxy");
            refused(answer, "the client certificate that a TLS proxy forwarded cannot be read")
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
        // Proxies and libraries join repeated headers with a comma (RFC 9110, 5.3), and the first one
        // is the client's own: a client that can add a header must not choose the identity.
        if pem.contains(',') {
            let reason = "a TLS proxy forwarded several client certificates, joined by a comma";
            return Err(refused(NoIdentity::Ambiguous.into(), reason));
        }
        // Some escape a blank as a plus sign, which base64 has as well; only the labels have blanks.
        let pem = pem.replace("BEGIN+CERTIFICATE", "BEGIN CERTIFICATE");
        let pem = pem.replace("END+CERTIFICATE", "END CERTIFICATE");
        if !holds_certificates_alone(&pem) {
            return Err(malformed());
        }
        kes_crypto::pem::certificates(pem.as_bytes()).map_err(|_| malformed())
    }

    fn unidentified(&self, answer: ApiError, refusal: Refusal) -> Box<Unidentified> {
        Box::new(Unidentified { answer, refusal, peer: self.address, detail: None })
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
        let (reason, cure) = self.words();
        Refusal::of_request(reason, cure)
    }

    /// What is wrong, and what would cure it.
    fn words(self) -> (&'static str, &'static str) {
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

/// The identity of certificates: that of the first one, whose key signed the handshake, and
/// never that of another. The first must not be a CA's, and every further one must be: a client that has seen the
/// certificate of another client cannot take its identity by sending it along.
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

/// Whether a text is certificate sections and white space alone: other text around them has another source.
fn holds_certificates_alone(pem: &str) -> bool {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
    let mut rest = pem.trim_ascii();
    while let Some(section) = rest.strip_prefix(BEGIN) {
        let Some((body, after)) = section.split_once(END) else { return false };
        if !body.bytes().all(|byte| is_base64(byte) || byte.is_ascii_whitespace()) {
            return false;
        }
        rest = after.trim_ascii_start();
    }
    rest.is_empty() && !pem.trim_ascii().is_empty()
}

/// The last address of `X-Forwarded-For`: the one that the proxy itself has seen. Whatever stands
/// before it came from the client.
fn forwarded_for(headers: &HeaderMap) -> Option<IpAddr> {
    const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
    let last = headers.get_all(FORWARDED_FOR).iter().next_back()?.to_str().ok()?;
    let last = last.rsplit(',').next()?.trim();
    let ip = last.parse::<IpAddr>().ok();
    ip.or_else(|| last.parse::<SocketAddr>().ok().map(|address| address.ip()))
        .map(|ip| ip.to_canonical())
}
