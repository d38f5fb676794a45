//! A test server with real TLS and HTTP and a fixed reply, and the credentials of it and its
//! clients.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kes_client::{Client, ClientConfig, ClientIdentity, Endpoint, Proxies, ServerTrust, Timeouts};
use kes_types::Secret;
use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A request that a server has received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) agent: String,
    pub(crate) content_type: Option<String>,
    pub(crate) body: Bytes,
    /// The first certificate of the client's chain.
    pub(crate) certificate: Vec<u8>,
}

/// The reply of a server to every request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Answer(u16, Bytes),
    /// Closes the connection without an answer.
    Close,
}

/// A running server; it ends when it is dropped.
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) endpoint: Endpoint,
    pub(crate) certificate: Vec<u8>,
    seen: Arc<Mutex<Vec<Seen>>>,
    _tasks: JoinSet<()>,
}

impl Peer {
    /// Starts a server that speaks the protocol of `alpn` alone and trusts `client`.
    pub(crate) async fn start(alpn: &'static str, client: &Credential, reply: Reply) -> Self {
        Self::start_as(Credential::new(), alpn, client, reply).await
    }

    /// Starts a server with this certificate.
    pub(crate) async fn start_as(
        credential: Credential,
        alpn: &'static str,
        client: &Credential,
        reply: Reply,
    ) -> Self {
        let acceptor = acceptor(&credential, client, alpn);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        let requests = Arc::clone(&seen);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, seen, reply) =
                    (acceptor.clone(), Arc::clone(&requests), reply.clone());
                connections.spawn(async move {
                    if let Ok(tls) = acceptor.accept(tcp).await {
                        serve(tls, alpn, seen, reply).await;
                    }
                });
            }
        });
        let endpoint = endpoint(address);
        Self { address, endpoint, certificate: credential.certificate, seen, _tasks: tasks }
    }

    /// The requests that were received so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

/// A certificate for 127.0.0.1 and its private key.
pub(crate) struct Credential {
    pub(crate) certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Credential {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// Makes a self-signed certificate with changed contents.
    pub(crate) fn with(change: impl FnOnce(&mut CertificateParams)) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        change(&mut params);
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate: certificate.der().to_vec(), key: key.serialize_der() }
    }

    /// Makes a certificate that is signed by an authority.
    pub(crate) fn issued(
        authority: &Issuer<'_, KeyPair>,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, authority).unwrap();
        Self { certificate: certificate.der().to_vec(), key: key.serialize_der() }
    }

    pub(crate) fn identity(&self) -> ClientIdentity {
        ClientIdentity::new(vec![self.certificate.clone()], Secret::new(self.key.clone()))
    }

    /// Combines this certificate with the private key of another credential.
    pub(crate) fn with_key_of(&self, other: &Self) -> ClientIdentity {
        ClientIdentity::new(vec![self.certificate.clone()], Secret::new(other.key.clone()))
    }

    /// Returns certificate and private key in the types of a rustls server.
    pub(crate) fn with_other_key(&self, other: &Self) -> Self {
        Self { certificate: self.certificate.clone(), key: other.key.clone() }
    }

    /// Returns a client with this identity that trusts only `servers`.
    pub(crate) fn client(&self, servers: &[&Peer]) -> Client {
        let endpoints = servers.iter().map(|peer| peer.endpoint.clone()).collect();
        let certificates = servers.iter().map(|peer| peer.certificate.clone()).collect();
        self.client_of(endpoints, ServerTrust::Certificates(certificates), Timeouts::default())
    }

    pub(crate) fn client_of(
        &self,
        endpoints: Vec<Endpoint>,
        trust: ServerTrust,
        timeouts: Timeouts,
    ) -> Client {
        let (identity, proxies) = (self.identity(), Proxies::default());
        Client::new(ClientConfig { endpoints, identity, trust, proxies, timeouts }).unwrap()
    }
}

pub(crate) fn endpoint(address: SocketAddr) -> Endpoint {
    address.to_string().parse().unwrap()
}

fn acceptor(server: &Credential, client: &Credential, alpn: &str) -> TlsAcceptor {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(client.certificate.clone())).unwrap();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .unwrap();
    let key = PrivateKeyDer::try_from(server.key.clone()).unwrap();
    let key = provider.key_provider.load_private_key(key).unwrap();
    // The test server accepts a key that does not belong to the certificate; the client has to
    // detect it.
    let shown = CertifiedKey::new(vec![CertificateDer::from(server.certificate.clone())], key);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

async fn serve(
    tls: TlsStream<TcpStream>,
    alpn: &'static str,
    seen: Arc<Mutex<Vec<Seen>>>,
    reply: Reply,
) {
    let chain = tls.get_ref().1.peer_certificates().unwrap();
    let certificate = chain[0].to_vec();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (seen, reply, certificate) = (Arc::clone(&seen), reply.clone(), certificate.clone());
        async move {
            let (head, body) = request.into_parts();
            let text = |name| head.headers.get(name).map(|v| v.to_str().unwrap().to_owned());
            let request = Seen {
                method: head.method.clone(),
                path: head.uri.path().to_owned(),
                agent: text(header::USER_AGENT).unwrap_or_default(),
                content_type: text(header::CONTENT_TYPE),
                body: body.collect().await.unwrap().to_bytes(),
                certificate,
            };
            seen.lock().unwrap().push(request);
            match reply {
                Reply::Answer(status, body) => {
                    let mut response = Response::new(Full::new(body));
                    *response.status_mut() = StatusCode::from_u16(status).unwrap();
                    Ok(response)
                }
                Reply::Close => Err("hung up"),
            }
        }
    });
    let io = TokioIo::new(tls);
    // It fails when the server or the client closes the connection.
    let _ = match alpn {
        "h2" => http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await,
        _ => http1::Builder::new().serve_connection(io, service).await,
    };
}
