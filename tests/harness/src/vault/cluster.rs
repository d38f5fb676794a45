//! A fake Kubernetes API that reviews service account tokens for `OpenBao`.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Collected, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::pki::Authority;

/// Where tokens are reviewed:
/// <https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1>.
const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

/// The namespace, name and uid of the one service account.
const NAMESPACE: &str = "storage";
const NAME: &str = "kes";
const UID: &str = "0c5bd1a7-9d1f-4c08-9b0f-7c1d5d6f2a11";

/// The audience of tokens: the cluster itself, which issues them.
const AUDIENCE: &str = "https://kubernetes.default.svc";

/// 2020-01-01 and 2100-01-01, in seconds since 1970: tokens live long here.
const VALID_FROM: u64 = 1_577_836_800;
const VALID_UNTIL: u64 = 4_102_444_800;

/// A cluster with one service account, on loopback over TLS. It ends when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    address: SocketAddr,
    authority: String,
    state: Arc<Mutex<State>>,
    _accepting: JoinSet<()>,
}

#[derive(Debug, Default)]
struct State {
    valid: BTreeSet<String>,
    issued: usize,
    reviewed: Vec<String>,
}

impl Cluster {
    /// Starts a cluster.
    ///
    /// # Panics
    /// If it cannot listen.
    pub async fn start() -> Self {
        let authority = Authority::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let address = listener.local_addr().expect("it was just bound");
        let state = Arc::<Mutex<State>>::default();
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, authority.acceptor(), Arc::clone(&state)));
        Self { address, authority: authority.pem(), state, _accepting: accepting }
    }

    /// Issues a new token of the service account. The earlier ones stay valid.
    pub fn token(&self) -> String {
        let mut state = lock(&self.state);
        state.issued += 1;
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = part(json!({ "alg": "RS256", "typ": "JWT" }));
        // What a projected token says; only the cluster checks its signature.
        let claims = part(json!({
            "iss": AUDIENCE,
            "sub": user(),
            "aud": [AUDIENCE],
            "iat": VALID_FROM,
            "nbf": VALID_FROM,
            "exp": VALID_UNTIL,
            "jti": state.issued.to_string(),
            "kubernetes.io": {
                "namespace": NAMESPACE,
                "serviceaccount": { "name": NAME, "uid": UID },
            },
        }));
        let token = format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode("signed"));
        state.valid.insert(token.clone());
        token
    }

    /// Ends a token.
    pub fn end(&self, token: &str) {
        lock(&self.state).valid.remove(token);
    }

    /// The tokens that were reviewed so far, in their order.
    pub fn reviewed(&self) -> Vec<String> {
        lock(&self.state).reviewed.clone()
    }

    /// Returns the configuration of the auth method `kubernetes` for this cluster.
    pub fn method(&self) -> Value {
        json!({
            "kubernetes_host": format!("https://{}", self.address),
            "kubernetes_ca_cert": self.authority,
            "token_reviewer_jwt": self.token(),
            "disable_local_ca_jwt": true,
        })
    }

    /// A role of that method for the service account of any cluster.
    pub fn role(policy: &str) -> Value {
        json!({
            "bound_service_account_names": [NAME],
            "bound_service_account_namespaces": [NAMESPACE],
            "token_policies": [policy],
        })
    }
}

fn user() -> String {
    format!("system:serviceaccount:{NAMESPACE}:{NAME}")
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, state: Arc<Mutex<State>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, acceptor.clone(), Arc::clone(&state)));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, state: Arc<Mutex<State>>) {
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let review = service_fn(|request| {
        let state = Arc::clone(&state);
        async move { Ok::<_, Infallible>(answer(request, &state).await) }
    });
    // Errors are seen by the client.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), review).await;
}

async fn answer(request: Request<Incoming>, state: &Mutex<State>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let bearer = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    let body = body.collect().await.map(Collected::to_bytes).unwrap_or_default();
    let review: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut state = lock(state);
    let (status, body) = match review["spec"]["token"].as_str() {
        _ if !state.valid.contains(bearer) => (401, json!({ "kind": "Status", "code": 401 })),
        Some(token) if head.method == "POST" && head.uri.path() == REVIEWS => {
            state.reviewed.push(token.to_owned());
            (201, reviewed(state.valid.contains(token)))
        }
        _ => (404, json!({ "kind": "Status", "code": 404 })),
    };
    let response = Response::builder().status(status).header(CONTENT_TYPE, "application/json");
    response.body(Full::from(body.to_string())).expect("the parts are sound")
}

fn reviewed(is_valid: bool) -> Value {
    let status = if is_valid {
        let user = json!({ "username": user(), "uid": UID, "groups": [] });
        json!({ "authenticated": true, "user": user, "audiences": [AUDIENCE] })
    } else {
        json!({ "authenticated": false, "error": "token has been invalidated" })
    };
    json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status })
}

/// Every operation leaves the state whole.
fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
