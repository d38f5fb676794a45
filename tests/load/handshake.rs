//! Makes TLS handshakes one after the other.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kes_harness::{Credential, Server};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, version};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use crate::load::Counters;

/// A TLS client that offers only the key exchange X25519MLKEM768, without session resumption.
pub(crate) struct Handshaker {
    address: SocketAddr,
    connector: TlsConnector,
}

impl Handshaker {
    pub(crate) fn new(server: &Server, credential: &Credential) -> Self {
        let mut provider = aws_lc_rs::default_provider();
        provider.kx_groups = vec![kx_group::X25519MLKEM768];
        let root = CertificateDer::from_pem_file(server.certificate_file());
        let mut roots = RootCertStore::empty();
        roots.add(root.expect("a certificate")).expect("it can be a trust anchor");
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&version::TLS13])
            .expect("the provider speaks TLS 1.3")
            .with_root_certificates(roots)
            .with_client_auth_cert(credential.chain(), credential.key())
            .expect("the certificate and the key belong together");
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.resumption = Resumption::disabled();
        Self { address: server.address(), connector: TlsConnector::from(Arc::new(config)) }
    }

    /// Connects, makes a handshake and closes, repeatedly until `length` has passed. A handshake
    /// counts when the server has closed its side, for then it has verified the client.
    pub(crate) async fn run(&self, length: Duration) -> Counters {
        let mut counters = Counters::new();
        let begin = Instant::now();
        while begin.elapsed() < length {
            let start = Instant::now();
            counters.failed += u64::from(self.handshake().await.is_err());
            counters.latencies.record(start.elapsed());
        }
        counters.length = begin.elapsed();
        counters
    }

    async fn handshake(&self) -> io::Result<()> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::IpAddress(self.address.ip().into());
        let mut stream = self.connector.connect(name, stream).await?;
        stream.shutdown().await?;
        // h2 servers send their settings first.
        let mut rest = Vec::new();
        match stream.read_to_end(&mut rest).await {
            // The server may close without close_notify when the client has closed.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(()),
            end => end.map(drop),
        }
    }
}
