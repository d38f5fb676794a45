//! Fake sources of temporary AWS credentials, on loopback.

mod container;
mod imds;
mod issued;
mod sts;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Collected, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

pub use issued::Issued;

/// How long a test waits for an event.
const TIMEOUT: Duration = Duration::from_mins(1);

/// The default lifetime of credentials.
const LIFETIME: Duration = Duration::from_hours(1);

/// A source of credentials; gone when dropped.
#[derive(Debug)]
pub struct Source {
    kind: Kind,
    address: SocketAddr,
    ledger: Arc<watch::Sender<Ledger>>,
    _accepting: JoinSet<()>,
}

/// How a source responds to requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behavior {
    /// Answers them.
    Serve,
    /// Answers this status, with an error in the body.
    Fail(u16),
    /// Never answers.
    Hang,
    /// Closes the connection without a word.
    Cut,
}

/// What a source was asked and what it did about it.
#[derive(Debug)]
pub struct Ledger {
    /// What it issued, in this order; the same credentials only once in a row.
    pub issued: Vec<Issued>,
    /// Methods and paths of all requests, with a space between.
    pub asked: Vec<String>,
    behavior: Behavior,
    /// Session tokens of IMDS, the authorization token, or the web identity token.
    proofs: BTreeSet<String>,
    lifetime: Duration,
    /// The same credentials are issued again while more than this is left of their lifetime.
    kept: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Imds,
    Container,
    Sts,
}

impl Source {
    /// The instance metadata service of EC2, version 2, with a role.
    pub async fn imds() -> Self {
        Self::start(Kind::Imds).await
    }

    /// The agent of ECS, or of EKS' pod identities. [`Self::accept`] says which authorization token.
    pub async fn container() -> Self {
        Self::start(Kind::Container).await
    }

    /// STS as far as web identities need it. [`Self::accept`] says which web identity token.
    pub async fn sts() -> Self {
        Self::start(Kind::Sts).await
    }

    async fn start(kind: Kind) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let address = listener.local_addr().expect("it was just bound");
        let ledger = Arc::new(watch::Sender::new(Ledger::new()));
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, kind, Arc::clone(&ledger)));
        Self { kind, address, ledger, _accepting: accepting }
    }

    /// The environment variables that lead a client here; how it gets what it must show is not
    /// among them.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let url = |path: &str| format!("http://{}{path}", self.address);
        match self.kind {
            Kind::Imds => vec![("AWS_EC2_METADATA_SERVICE_ENDPOINT", url(""))],
            Kind::Container => {
                vec![("AWS_CONTAINER_CREDENTIALS_FULL_URI", url(container::PATH))]
            }
            Kind::Sts => vec![
                ("AWS_ENDPOINT_URL_STS", url("")),
                ("AWS_ROLE_ARN", sts::ROLE_ARN.to_owned()),
                ("AWS_ROLE_SESSION_NAME", sts::SESSION.to_owned()),
            ],
        }
    }

    /// Asserts that callers show `proof` from now on, and nothing that was good before.
    pub fn accept(&self, proof: &str) {
        self.ledger.send_modify(|ledger| ledger.proofs = BTreeSet::from([proof.to_owned()]));
    }

    /// Takes nothing that callers have shown so far; IMDS gives them new session tokens.
    pub fn forget(&self) {
        self.ledger.send_modify(|ledger| ledger.proofs.clear());
    }

    /// Changes how requests are answered from now on.
    pub fn set_behavior(&self, behavior: Behavior) {
        self.ledger.send_modify(|ledger| ledger.behavior = behavior);
    }

    /// Issues credentials with this lifetime from now on, other ones each time.
    pub fn live(&self, lifetime: Duration) {
        self.ledger.send_modify(|ledger| ledger.lifetime = lifetime);
    }

    /// Issues the same ones while more than this is left of their lifetime, as IMDS does.
    pub fn keep(&self, until_left: Duration) {
        self.ledger.send_modify(|ledger| ledger.kept = Some(until_left));
    }

    /// Finds issued credentials by the access key's id, now and later.
    pub fn finder(&self) -> impl Fn(&str) -> Option<Issued> + Send + Sync + use<> {
        let ledger = Arc::clone(&self.ledger);
        move |key_id| {
            let ledger = ledger.borrow();
            ledger.issued.iter().find(|issued| issued.access_key == key_id).cloned()
        }
    }

    /// The credentials that were issued so far.
    pub fn issued(&self) -> Vec<Issued> {
        self.ledger.borrow().issued.clone()
    }

    /// How many requests came so far.
    pub fn asked(&self) -> usize {
        self.ledger.borrow().asked.len()
    }

    /// Waits until its ledger is as wanted.
    ///
    /// # Panics
    /// If that does not come.
    pub async fn until(&self, is_wanted: impl Fn(&Ledger) -> bool + Send + Sync) {
        let mut ledger = self.ledger.subscribe();
        let found = timeout(TIMEOUT, ledger.wait_for(|ledger| is_wanted(ledger))).await.is_ok();
        assert!(found, "that does not come: {:?}", self.ledger.borrow());
    }
}

impl Ledger {
    fn new() -> Self {
        Self {
            issued: Vec::new(),
            asked: Vec::new(),
            behavior: Behavior::Serve,
            proofs: BTreeSet::new(),
            lifetime: LIFETIME,
            kept: None,
        }
    }

    /// Credentials for an authorized caller.
    fn issue(&mut self) -> Issued {
        let kept =
            self.issued.last().filter(|last| self.kept.is_some_and(|kept| last.left() > kept));
        if let Some(last) = kept {
            return last.clone();
        }
        let issued = Issued::new(self.lifetime);
        self.issued.push(issued.clone());
        issued
    }

    /// Whether `proof` is what callers must show.
    fn is_proof(&self, proof: &str) -> bool {
        self.proofs.contains(proof)
    }
}

async fn accept(listener: TcpListener, kind: Kind, ledger: Arc<watch::Sender<Ledger>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, kind, Arc::clone(&ledger)));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, kind: Kind, ledger: Arc<watch::Sender<Ledger>>) {
    let service = service_fn(|request| {
        let ledger = Arc::clone(&ledger);
        async move { respond(request, kind, &ledger).await }
    });
    // Errors are seen by the client.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// An answer, or the end of the connection.
type Answer = Result<Response<Full<Bytes>>, std::io::Error>;

async fn respond(request: Request<Incoming>, kind: Kind, ledger: &watch::Sender<Ledger>) -> Answer {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(Collected::to_bytes).unwrap_or_default();
    let mut behavior = Behavior::Serve;
    ledger.send_modify(|ledger| {
        ledger.asked.push(format!("{} {}", head.method, head.uri.path()));
        behavior = ledger.behavior;
    });
    match behavior {
        Behavior::Cut => Err(std::io::Error::other("cut")),
        Behavior::Hang => std::future::pending().await,
        Behavior::Fail(status) => Ok(refusal(kind, status)),
        Behavior::Serve => {
            let mut answer = refusal(kind, 500);
            ledger.send_modify(|ledger| answer = kind.answer(ledger, &head, &body));
            Ok(answer)
        }
    }
}

impl Kind {
    fn answer(self, ledger: &mut Ledger, head: &Parts, body: &[u8]) -> Response<Full<Bytes>> {
        match self {
            Self::Imds => imds::answer(ledger, head),
            Self::Container => container::answer(ledger, head),
            Self::Sts => sts::answer(ledger, head, body),
        }
    }
}

fn refusal(kind: Kind, status: u16) -> Response<Full<Bytes>> {
    match kind {
        Kind::Imds => response(status, "text/html", "<html>out of order</html>".to_owned()),
        Kind::Container => container::refusal(status, "OutOfOrder"),
        Kind::Sts => sts::refusal(status, "AccessDenied"),
    }
}

fn response(status: u16, content_type: &str, body: String) -> Response<Full<Bytes>> {
    let response = Response::builder().status(status).header("content-type", content_type);
    response.body(Full::from(body)).expect("the parts are sound")
}

/// A header's text, empty when it is not there.
fn header<'a>(head: &'a Parts, name: &str) -> &'a str {
    head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
