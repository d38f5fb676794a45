//! TLS connections to the server, with any version, protocol and certificates.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ClientSessionStore, ResolvesClientCert, Resumption, Tls12ClientSessionValue,
    Tls13ClientSessionValue,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, NamedGroup, RootCertStore,
    SignatureScheme, version,
};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::connection::{Connection, Request};
use crate::pki::Credential;

/// The HTTP version that a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proto {
    /// HTTP/1.1.
    H1,
    /// HTTP/2.
    H2,
}

/// The TLS version that a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// TLS 1.2.
    V12,
    /// TLS 1.3.
    V13,
}

/// Every combination of HTTP and TLS versions.
pub const PROTOCOLS: [(Proto, Tls); 4] =
    [(Proto::H1, Tls::V12), (Proto::H1, Tls::V13), (Proto::H2, Tls::V12), (Proto::H2, Tls::V13)];

/// Connects to a server, with h2 over TLS 1.3 by default.
#[derive(Clone)]
pub struct Dialer {
    address: SocketAddr,
    root: CertificateDer<'static>,
    credential: Option<Credential>,
    name: ServerName<'static>,
    alpn: Vec<Vec<u8>>,
    proto: Proto,
    tls: Tls,
    source: Option<IpAddr>,
    receive_buffer: Option<u32>,
    seen: Arc<Seen>,
}

/// Observations of the server in handshakes.
#[derive(Debug, Default)]
pub struct Seen {
    schemes: Mutex<Vec<SignatureScheme>>,
    sessions: Mutex<Vec<&'static str>>,
}

impl Dialer {
    /// Makes a dialer for `address` that trusts `root` alone.
    pub fn new(address: SocketAddr, root: CertificateDer<'static>) -> Self {
        Self {
            address,
            root,
            credential: None,
            name: ServerName::IpAddress(address.ip().into()),
            alpn: vec![b"h2".to_vec()],
            proto: Proto::H2,
            tls: Tls::V13,
            source: None,
            receive_buffer: None,
            seen: Arc::default(),
        }
    }

    /// Shows this credential, whatever the server asks for.
    #[must_use]
    pub fn show(mut self, credential: &Credential) -> Self {
        self.credential = Some(credential.clone());
        self
    }

    /// Shows no certificate.
    #[must_use]
    pub fn anonymous(mut self) -> Self {
        self.credential = None;
        self
    }

    /// Speaks and offers only this protocol and this TLS version.
    #[must_use]
    pub fn over(mut self, (proto, tls): (Proto, Tls)) -> Self {
        self.proto = proto;
        self.tls = tls;
        self.alpn = vec![match proto {
            Proto::H1 => b"http/1.1".to_vec(),
            Proto::H2 => b"h2".to_vec(),
        }];
        self
    }

    /// Offers these protocols and speaks the one given to [`Self::over`] whatever is chosen.
    #[must_use]
    pub fn offer(mut self, protocols: &[&str]) -> Self {
        self.alpn = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    /// Expects the server's certificate to be for this name.
    ///
    /// # Panics
    /// If it is not a name.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.name = ServerName::try_from(name.to_owned()).expect("a host name");
        self
    }

    /// Connects from this address.
    #[must_use]
    pub fn from(mut self, source: IpAddr) -> Self {
        self.source = Some(source);
        self
    }

    /// Gives the kernel no more than about so many bytes for what was received and not yet read.
    #[must_use]
    pub fn receive_buffer(mut self, bytes: u32) -> Self {
        self.receive_buffer = Some(bytes);
        self
    }

    /// What the server did in the handshakes of this dialer and its clones.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Opens a TCP connection.
    pub async fn tcp(&self) -> io::Result<TcpStream> {
        let socket = match self.address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        if let Some(bytes) = self.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(source) = self.source {
            // Ports of connections that just ended may be taken again.
            socket.set_reuseaddr(true)?;
            socket.bind(SocketAddr::new(source, 0))?;
        }
        socket.connect(self.address).await
    }

    /// Returns the first bytes of a handshake: a `ClientHello`.
    ///
    /// # Panics
    /// If the TLS library makes none.
    pub fn hello(&self) -> Vec<u8> {
        let connection = ClientConnection::new(Arc::new(self.config()), self.name.clone());
        let mut hello = Vec::new();
        let written = connection.expect("the configuration is sound").write_tls(&mut hello);
        written.expect("a vector takes everything");
        hello
    }

    /// Opens a TLS stream.
    pub async fn tls(&self) -> io::Result<TlsStream<TcpStream>> {
        let stream = self.tcp().await?;
        stream.set_nodelay(true)?;
        let connector = TlsConnector::from(Arc::new(self.config()));
        connector.connect(self.name.clone(), stream).await
    }

    /// Opens an HTTP connection.
    pub async fn connect(&self) -> io::Result<Connection> {
        Connection::open(self.tls().await?, self.proto).await.map_err(io::Error::other)
    }

    /// Connects, and asserts that the server answers no request.
    ///
    /// # Panics
    /// If it answers one.
    pub async fn refused(&self) {
        // With TLS 1.3 the client completes its handshake before the server has looked at it.
        if let Ok(mut connection) = self.connect().await {
            let answer = connection.try_send(Request::new("GET", "/version")).await;
            assert!(answer.is_err(), "{:?} {answer:?}", self.proto);
        }
    }

    /// Returns the first certificate that the server shows to any client; the handshake need not succeed.
    ///
    /// # Panics
    /// If it shows none.
    pub async fn shown_certificate(&self) -> CertificateDer<'static> {
        let curious = Arc::new(RecordingVerifier::default());
        let mut config = self.config();
        config.dangerous().set_certificate_verifier(Arc::clone(&curious) as _);
        let stream = self.tcp().await.expect("a TCP connection");
        // Without a client certificate the server ends the handshake after its own was seen.
        let _ = TlsConnector::from(Arc::new(config)).connect(self.name.clone(), stream).await;
        let shown = curious.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        shown.expect("the server shows a certificate")
    }

    fn config(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).expect("the server's certificate can be a root");
        let versions = match self.tls {
            Tls::V12 => &version::TLS12,
            Tls::V13 => &version::TLS13,
        };
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(&[versions])
            .expect("the provider speaks TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_client_cert_resolver(Arc::new(FixedCertificate {
                key: self.credential.as_ref().map(certified),
                seen: Arc::clone(&self.seen),
            }));
        config.alpn_protocols.clone_from(&self.alpn);
        config.resumption =
            Resumption::store(Arc::clone(&self.seen) as Arc<dyn ClientSessionStore>);
        config
    }
}

impl Seen {
    /// Signature schemes that the last certificate request offered.
    pub fn schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sessions that the server let the client keep, for resumption.
    pub fn sessions(&self) -> Vec<&'static str> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, what: &'static str) {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }
}

impl ClientSessionStore for Seen {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {
        self.keep("TLS 1.2 session");
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, _: Tls13ClientSessionValue) {
        self.keep("TLS 1.3 ticket");
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        None
    }
}

fn provider() -> CryptoProvider {
    aws_lc_rs::default_provider()
}

/// The chain is not compared with the key: some tests show certificates that are not theirs.
fn certified(credential: &Credential) -> Arc<CertifiedKey> {
    let key = provider().key_provider.load_private_key(credential.key());
    Arc::new(CertifiedKey::new(credential.chain(), key.expect("the key is sound")))
}

/// Accepts any certificate and keeps it.
#[derive(Debug, Default)]
struct RecordingVerifier(Mutex<Option<CertificateDer<'static>>>);

impl ServerCertVerifier for RecordingVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = Some(certificate.clone().into_owned());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

#[derive(Debug)]
struct FixedCertificate {
    key: Option<Arc<CertifiedKey>>,
    seen: Arc<Seen>,
}

impl ResolvesClientCert for FixedCertificate {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        *self.seen.schemes.lock().unwrap_or_else(PoisonError::into_inner) = schemes.to_vec();
        self.key.clone()
    }

    fn has_certs(&self) -> bool {
        self.key.is_some()
    }
}
