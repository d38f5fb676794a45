//! The floor, a baseline server: TLS, HTTP, JSON and one AEAD operation per request.
//!
//! It has no routes, policy, cache, metrics, log or limits.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Collected, Full};
use hyper::body::Incoming;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::ServerConfig;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::floor_connection;
use crate::output::print_result;

const NONCE_LEN: usize = 12;
/// Length of IV and nonce at the end of a ciphertext, as in the key server's format; the floor uses
/// the nonce only.
const TAIL_LEN: usize = 28;
const TAG_LEN: usize = 16;
const DATA_KEY_LEN: usize = 32;

/// The options of `load floor`.
#[derive(Debug)]
pub(crate) struct Floor {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// Whether the streams of a connection run in the connection's task, so that their answers
    /// share writes.
    pub(crate) in_one_task: bool,
}

#[derive(Deserialize)]
struct RequestBody<'a> {
    #[serde(borrow, default)]
    ciphertext: &'a str,
    #[serde(borrow, default)]
    context: &'a str,
}

#[derive(Serialize)]
struct ResponseBody<'a> {
    plaintext: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    ciphertext: &'a str,
}

/// Serves until the process is killed.
///
/// # Panics
/// If a file cannot be read.
pub(crate) async fn serve(floor: &Floor) {
    let certificates = CertificateDer::pem_file_iter(&floor.certificate).expect("a certificate");
    let certificates = certificates.collect::<Result<_, _>>().expect("certificates are PEM");
    let key = PrivateKeyDer::from_pem_file(&floor.key).expect("a private key");
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = AnyClient(provider.signature_verification_algorithms);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider speaks them")
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(certificates, key)
        .expect("the certificate is sound");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    let acceptor = TlsAcceptor::from(Arc::new(config));

    let mut secret = [0; DATA_KEY_LEN];
    SystemRandom::new().fill(&mut secret).expect("the system has random bytes");
    let key = UnboundKey::new(&AES_256_GCM, &secret).expect("the key has 32 bytes");
    let key = Arc::new(LessSafeKey::new(key));

    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    print_result(&format!("Endpoints  https://{}", listener.local_addr().expect("it is bound")));
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let (acceptor, key, in_one_task) = (acceptor.clone(), Arc::clone(&key), floor.in_one_task);
        connections.spawn(async move {
            let Ok(tls) = acceptor.accept(stream).await else { return };
            floor_connection::serve(tls, key, in_one_task).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Decrypts the `ciphertext` of the body, or generates a data key if the path says so.
pub(crate) async fn answer(
    key: Arc<LessSafeKey>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_generate = request.uri().path().contains("/generate/");
    let body = request.into_body().collect().await.map(Collected::to_bytes).unwrap_or_default();
    let json = if is_generate { generate(&key, &body) } else { decrypt(&key, &body) };
    let status = if json.is_some() { 200 } else { 400 };
    let mut response = Response::new(Full::new(Bytes::from(json.unwrap_or_default())));
    *response.status_mut() = status.try_into().expect("a status");
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    Ok(response)
}

fn decrypt(key: &LessSafeKey, body: &[u8]) -> Option<Vec<u8>> {
    let request: RequestBody<'_> = serde_json::from_slice(body).ok()?;
    let mut sealed = STANDARD.decode(request.ciphertext).ok()?;
    let context = STANDARD.decode(request.context).ok()?;
    let nonce_at = sealed.len().checked_sub(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(&sealed[nonce_at..]).ok()?;
    sealed.truncate(sealed.len().checked_sub(TAIL_LEN)?);
    let plaintext = key.open_in_place(nonce, Aad::from(context), &mut sealed).ok()?;
    let plaintext = STANDARD.encode(plaintext);
    serde_json::to_vec(&ResponseBody { plaintext: &plaintext, ciphertext: "" }).ok()
}

fn generate(key: &LessSafeKey, body: &[u8]) -> Option<Vec<u8>> {
    let request: RequestBody<'_> = serde_json::from_slice(body).ok()?;
    let context = STANDARD.decode(request.context).ok()?;
    let mut random = [0; DATA_KEY_LEN + TAIL_LEN];
    SystemRandom::new().fill(&mut random).ok()?;
    let (plaintext, tail) = random.split_at(DATA_KEY_LEN);
    let nonce = Nonce::try_assume_unique_for_key(&tail[TAIL_LEN - NONCE_LEN..]).ok()?;
    let mut sealed = Vec::with_capacity(DATA_KEY_LEN + TAG_LEN + TAIL_LEN);
    sealed.extend_from_slice(plaintext);
    key.seal_in_place_append_tag(nonce, Aad::from(context), &mut sealed).ok()?;
    sealed.extend_from_slice(tail);
    let (plaintext, ciphertext) = (STANDARD.encode(plaintext), STANDARD.encode(&sealed));
    serde_json::to_vec(&ResponseBody { plaintext: &plaintext, ciphertext: &ciphertext }).ok()
}

/// Accepts any client certificate whose private key signed the handshake.
#[derive(Debug)]
struct AnyClient(WebPkiSupportedAlgorithms);

impl ClientCertVerifier for AnyClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
