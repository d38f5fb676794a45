//! Test fixture: the server, its clients, and its resource usage.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use kes_harness::{
    Credential, Figures, Request, Server, Setup, measured, raise_open_files, try_status,
};
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, capabilities, remove_capability_from_bounding_set};
use tokio::process::Command;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, MutexGuard, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

use crate::client::{Latency, ask, encryption};

/// Files that this process and the server need.
const FILES: u64 = 6000;

/// How often what the process takes is read.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// How long what is to be given back is waited for.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Descriptors that come and go.
const FILES_SLACK: usize = 8;

/// One MiB, in KiB.
pub(crate) const MIB: u64 = 1024;

static TURN: Mutex<()> = Mutex::const_new(());

/// Waits until no other load is on this machine: a measurement during another load says nothing.
pub(crate) async fn exclusive() -> MutexGuard<'static, ()> {
    raise_open_files(FILES);
    TURN.lock().await
}

/// A server, with a key `my-k` and its clients.
pub(crate) struct Fixture {
    pub(crate) setup: Setup,
    pub(crate) server: Server,
    /// The legitimate client.
    pub(crate) client: Credential,
    /// A client with a policy as well, whose load is hostile.
    pub(crate) hostile: Credential,
    /// A client without a policy.
    pub(crate) unknown: Credential,
    /// What the server took before there was a load.
    pub(crate) before: Figures,
}

/// Which clients a setup knows.
pub(crate) fn known(setup: Setup, client: &Credential, hostile: &Credential) -> Setup {
    setup.minio(&[client, hostile])
}

impl Fixture {
    /// A server with this setup, as it is started everywhere.
    pub(crate) async fn new(setup: Setup) -> Self {
        Self::with(setup, async |setup| setup.start().await).await
    }

    /// A server with this setup, started like that.
    pub(crate) async fn with(setup: Setup, start: impl AsyncFnOnce(&Setup) -> Server) -> Self {
        let (client, hostile) = (Credential::generate(), Credential::generate());
        let setup = known(setup, &client, &hostile);
        let server = start(&setup).await;
        let files = server.figures().files;
        let mut admin = server.connect(setup.admin()).await;
        admin.call("PUT", "/v1/key/create/my-k").await.ok();
        warm(&server, &client).await;
        drop(admin);
        // Connections that just ended may be among the descriptors still.
        let before = Figures { files, ..server.figures() };
        Self { setup, server, client, hostile, unknown: Credential::generate(), before }
    }

    /// Starts to watch what the server takes.
    pub(crate) fn peak(&self) -> Peak {
        Peak::of(&self.server)
    }

    /// Waits until the server's descriptors are those of before, and so many of connections that
    /// are open still.
    ///
    /// # Panics
    /// If that does not come.
    pub(crate) async fn descriptors_return(&self, open: usize, phase: &str) {
        let wanted = self.before.files + open + FILES_SLACK;
        self.becomes(TIMEOUT, &format!("at most {wanted} descriptors after {phase}"), |now| {
            now.files <= wanted
        })
        .await;
    }

    /// Waits until the server's memory is what it was, and so much more.
    ///
    /// # Panics
    /// If that does not come.
    pub(crate) async fn memory_returns(&self, slack_kib: u64, phase: &str) {
        self.memory_returns_within(TIMEOUT, slack_kib, phase).await;
    }

    /// The same, within this time.
    ///
    /// # Panics
    /// If that does not come.
    pub(crate) async fn memory_returns_within(&self, time: Duration, slack_kib: u64, phase: &str) {
        let wanted = self.before.resident_kib + slack_kib;
        self.becomes(time, &format!("at most {wanted} KiB after {phase}"), |now| {
            now.resident_kib <= wanted
        })
        .await;
        let now = self.server.figures().resident_kib;
        measured(&format!("{} KiB before, {now} KiB after {phase}", self.before.resident_kib));
    }

    async fn becomes(&self, time: Duration, what: &str, is_so: impl Fn(&Figures) -> bool) {
        let (began, mut ticks) = (Instant::now(), interval(POLL_INTERVAL));
        loop {
            ticks.tick().await;
            let now = self.server.figures();
            if is_so(&now) {
                return;
            }
            assert!(began.elapsed() < time, "not {what}: {now:?}, before: {:?}", self.before);
        }
    }

    /// How many lines of the log have this word.
    pub(crate) fn logged(&self, word: &str) -> usize {
        self.server.stderr().so_far().iter().filter(|line| line.contains(word)).count()
    }

    /// The requests that failed so far, as `/v1/metrics` counts them.
    pub(crate) async fn failures(&self) -> f64 {
        let mut admin = self.server.connect(self.setup.admin()).await;
        let text = admin.get("/v1/metrics").await.ok().body;
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines = text.lines().filter(|line| line.starts_with("kes_http_request_failure"));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Ends the server with SIGTERM while peers hold it, and asserts exit code 0.
    ///
    /// # Panics
    /// If it is another.
    pub(crate) async fn stop(self, phase: &str) {
        let began = Instant::now();
        self.server.stop().await;
        measured(&format!("stopped in {:.1} s during {phase}", began.elapsed().as_secs_f64()));
    }
}

/// Connections and requests enough for what a server makes once.
async fn warm(server: &Server, client: &Credential) {
    let mut latency = Latency::new();
    let mut connections = Vec::new();
    for _ in 0..50 {
        let mut connection = server.connect(client).await;
        ask(&mut connection, &mut latency, encryption("my-k", 1024)).await.ok();
        ask(&mut connection, &mut latency, Request::new("GET", "/v1/key/list/*")).await.ok();
        connections.push(connection);
    }
    for connection in connections {
        connection.closed().await.expect("in good order");
    }
}

/// The most memory that a server had.
#[derive(Debug)]
pub(crate) struct Peak {
    most: Arc<AtomicU64>,
    _watching: JoinSet<()>,
}

impl Peak {
    fn of(server: &Server) -> Self {
        let (pid, most) = (server.pid(), Arc::new(AtomicU64::new(0)));
        let seen = Arc::clone(&most);
        let mut watching = JoinSet::new();
        watching.spawn(async move {
            let mut ticks = interval(POLL_INTERVAL);
            // Until the server has ended.
            while let Some(now) = try_status(pid, "VmRSS") {
                seen.fetch_max(now, Ordering::Relaxed);
                ticks.tick().await;
            }
        });
        Self { most, _watching: watching }
    }

    /// Asserts that it was never more than this, and says what it was.
    ///
    /// # Panics
    /// If it was more.
    pub(crate) fn at_most(&self, kib: u64, phase: &str) {
        let most = self.most.load(Ordering::Relaxed);
        measured(&format!("at most {most} KiB during {phase}, {kib} KiB are allowed"));
        assert!(most <= kib, "{most} KiB during {phase}, {kib} KiB are allowed");
    }
}

/// Starts a server that may not lock its memory.
pub(crate) async fn start_unlocked(setup: &Setup) -> Server {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -l 0; exec \"$@\"", "sh"]).arg(kes_harness::kes().path());
    command.args(["server", "--addr", "127.0.0.1:0", "--config"]).arg(setup.config_file());
    let certificate_file = setup.certificate_file();
    let runtime = Handle::current();
    let (started, server) = oneshot::channel();
    // The capability is given up by a thread of its own, whose children do not have it.
    let thread = thread::spawn(move || {
        let may_lock =
            capabilities(None).is_ok_and(|it| it.effective.contains(CapabilitySet::IPC_LOCK));
        if may_lock {
            let given_up: Result<(), Errno> =
                remove_capability_from_bounding_set(CapabilitySet::IPC_LOCK);
            given_up.expect("who has the capability may give it up");
        }
        let _ = started.send(runtime.block_on(Server::launch(command, &certificate_file)));
    });
    let server = server.await.expect("the server starts");
    thread.join().expect("it does not panic");
    server
}
