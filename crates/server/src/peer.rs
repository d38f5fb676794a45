//! Who is at the other end of a connection, and who a request is from.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::{HeaderMap, HeaderName};
use kes_policy::Subject;
use kes_types::Identity;
use kes_types::wire::message;
use percent_encoding::percent_decode;

use crate::error::ApiError;
use crate::live::Snapshot;

/// The other end of a TLS connection; computed once, at the end of the handshake.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Its address, as the audit log has it.
    ip: Arc<str>,
    identity: Result<Identity, NoIdentity>,
    /// The identity as the policies of a generation see it.
    subject: Mutex<Option<(u64, Subject)>>,
}

/// Why the certificates of a connection name nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoIdentity {
    /// No certificate, one that cannot be read, or a CA's where the caller's should stand.
    Required,
    /// A further certificate that is not a CA's.
    Ambiguous,
}

/// Who a request is from.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) subject: Result<Subject, ApiError>,
    /// The caller's address; behind a TLS proxy the one that it forwarded.
    pub(crate) ip: Arc<str>,
    /// The TLS proxy's address, if the request came through one.
    pub(crate) proxy_ip: Option<Arc<str>>,
}

impl Peer {
    /// `certificates` are DER, as sent: the first signed the handshake.
    pub(crate) fn new(address: SocketAddr, certificates: &[impl AsRef<[u8]>]) -> Self {
        let ip = address.ip().to_canonical().to_string().into();
        Self { ip, identity: identity_of(certificates), subject: Mutex::new(None) }
    }

    /// Whether the connection is somebody's whom the configuration knows.
    pub(crate) fn is_known(&self, snapshot: &Snapshot) -> bool {
        self.identity.is_ok_and(|identity| snapshot.policies.subject(&identity).is_known())
            || self.forwards(snapshot)
    }

    /// Whether it is a TLS proxy, whose requests are other people's.
    pub(crate) fn forwards(&self, snapshot: &Snapshot) -> bool {
        self.identity.is_ok_and(|identity| snapshot.proxy.identities.contains(&identity))
    }

    /// Who sent a request with these headers. A forwarded identity is that of the request alone.
    pub(crate) fn caller(&self, snapshot: &Snapshot, headers: &HeaderMap) -> Caller {
        let ip = Arc::clone(&self.ip);
        let identity = match self.identity {
            Ok(identity) => identity,
            Err(reason) => {
                return Caller { subject: Err(reason.into()), ip, proxy_ip: None };
            }
        };
        if self.forwards(snapshot) {
            return Caller {
                subject: forwarded(snapshot, headers),
                ip: forwarded_for(headers)
                    .map_or_else(|| Arc::clone(&ip), |ip| ip.to_string().into()),
                proxy_ip: Some(ip),
            };
        }
        Caller { subject: Ok(self.subject(snapshot, identity)), ip, proxy_ip: None }
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
}

impl From<NoIdentity> for ApiError {
    fn from(reason: NoIdentity) -> Self {
        Self::bad_request(match reason {
            NoIdentity::Required => message::CERTIFICATE_REQUIRED,
            NoIdentity::Ambiguous => message::CERTIFICATE_AMBIGUOUS,
        })
    }
}

/// The identity that certificates stand for: the first one's, whose key signed the handshake, and
/// no other's ever. It must not be a CA's, and every further one must be: a client that has seen
/// somebody's certificate cannot pass for them by sending it along.
fn identity_of(certificates: &[impl AsRef<[u8]>]) -> Result<Identity, NoIdentity> {
    let (first, further) = certificates.split_first().ok_or(NoIdentity::Required)?;
    let first =
        kes_crypto::certificate_identity(first.as_ref()).map_err(|_| NoIdentity::Required)?;
    if first.is_ca {
        return Err(NoIdentity::Required);
    }
    for certificate in further {
        match kes_crypto::certificate_identity(certificate.as_ref()) {
            Ok(certificate) if certificate.is_ca => {}
            _ => return Err(NoIdentity::Ambiguous),
        }
    }
    Ok(first.identity)
}

/// The caller that a listed TLS proxy forwards: exactly one header with a URL-escaped PEM
/// certificate.
fn forwarded(snapshot: &Snapshot, headers: &HeaderMap) -> Result<Subject, ApiError> {
    let malformed = || ApiError::bad_request("invalid client certificate from TLS proxy");
    let name = HeaderName::try_from(&snapshot.proxy.header).map_err(ApiError::internal)?;
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or(NoIdentity::Required)?;
    if values.next().is_some() {
        return Err(NoIdentity::Ambiguous.into());
    }
    let pem = percent_decode(value.as_bytes()).decode_utf8().map_err(|_| malformed())?;
    // Some escape a blank as a plus sign, which base64 has as well; only the labels have blanks.
    let pem = pem.replace("BEGIN+CERTIFICATE", "BEGIN CERTIFICATE");
    let pem = pem.replace("END+CERTIFICATE", "END CERTIFICATE");
    let certificates = kes_crypto::pem::certificates(pem.as_bytes()).map_err(|_| malformed())?;
    let identity = identity_of(&certificates)?;
    if let Some(chain) = &snapshot.forwarded_chain
        && let Err(error) = chain.check(&certificates)
    {
        tracing::warn!(%identity, %error, "a forwarded client certificate is not trusted");
        return Err(ApiError::not_allowed());
    }
    Ok(snapshot.policies.subject(&identity))
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
