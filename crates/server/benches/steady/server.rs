//! The server under measurement, with everything switched on.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use kes_config::Limits;
use kes_config::ProcessEnvironment;
use kes_crypto::SystemRandom;
use kes_harness::{Credential, Setup};
use kes_keyring::{CacheExpiry, Keyring};
use kes_server::{BuildInfo, ErrorLog, Server, Stop, count};
use kes_store::MemoryStore;
use kes_types::SystemClock;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::ALLOCATOR;

/// Kept for as long as the measurement takes.
const KEPT: Duration = Duration::from_hours(1);

/// A server in this process.
pub(crate) struct Subject {
    setup: Setup,
    who: Credential,
    address: String,
    runtime: Runtime,
    stop: Stop,
    running: JoinHandle<bool>,
}

/// What the server did for a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) writes: f64,
    pub(crate) reads: f64,
    pub(crate) allocations: f64,
}

/// What it has done so far.
#[derive(Clone, Copy, Debug)]
struct Counts {
    writes: u64,
    reads: u64,
    allocations: u64,
}

/// Clients in a process of their own, which execute the commands that they receive.
struct Clients {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Subject {
    /// A policy of 100 identities and an audit log that goes to standard output, which is nowhere.
    pub(crate) fn start() -> Self {
        let who = Credential::generate();
        let others: Vec<Credential> = (0..99).map(|_| Credential::generate()).collect();
        let identities: Vec<&Credential> = others.iter().chain([&who]).collect();
        let setup = Setup::new().minio(&identities).with(serde_json::json!({
            "log": { "audit": "on" }
        }));
        let config = kes_config::load(&setup.config_file(), &ProcessEnvironment);
        let live = config.expect("the configuration is sound").live;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime can be made");
        let (tasks, stop, clock) = (TaskTracker::new(), Stop::new(), Arc::new(SystemClock));
        let keyring = Keyring::new(kes_keyring::KeyringDeps {
            store: Arc::new(MemoryStore::new()),
            expiry: CacheExpiry { any: KEPT, unused: KEPT },
            probe_every: KEPT,
            calls_max: 256,
            waiting_max: 4096,
            clock: Arc::clone(&clock) as _,
            random: Arc::new(SystemRandom::new()),
            tasks: tasks.clone(),
        });
        let deps = kes_server::ServerDeps {
            live,
            keyring: Arc::new(keyring),
            clock,
            audit_output: Box::new(io::sink()),
            errors: ErrorLog::new(),
            stop: stop.clone(),
            tasks,
            build: BuildInfo { version: "0.0.0", commit: "" },
            limits: Limits::default(),
        };
        let within = runtime.enter();
        let server = Server::new(deps).expect("the configuration can be used");
        let loopback = "127.0.0.1:0".parse().expect("an address");
        let bound = server.bind(&[loopback]).expect("a port is free");
        let address = bound.address().expect("it is bound").to_string();
        drop(within);
        let running = runtime.spawn(bound.run());
        Self { setup, who, address, runtime, stop, running }
    }

    /// What each of so many requests costs, when as many have gone before.
    pub(crate) fn requests(&self, what: &[&str], requests: u32) -> Cost {
        let mut clients = self.clients(what, requests);
        clients.until("warm");
        let before = Counts::now();
        clients.go();
        clients.until("done");
        let after = Counts::now();
        clients.end();
        let share = |before: u64, after: u64| float(after - before) / f64::from(requests);
        Cost {
            writes: share(before.writes, after.writes),
            reads: share(before.reads, after.reads),
            allocations: share(before.allocations, after.allocations),
        }
    }

    /// Resident memory of each of so many connections that have had an answer and do nothing. As
    /// many are there before: they take the memory that earlier ones have left behind.
    pub(crate) fn idle_kib(&self, proto: &str, connections: u32) -> f64 {
        let mut clients = self.clients(&["connections", proto, "1"], connections);
        clients.until("warm");
        let before = resident_kib();
        clients.go();
        clients.until("done");
        let after = resident_kib();
        clients.end();
        float(after.saturating_sub(before)) / f64::from(connections)
    }

    pub(crate) fn stop(self) {
        self.stop.drain();
        let is_clean = self.runtime.block_on(self.running).expect("it does not panic");
        assert!(is_clean, "the server did not end in time");
    }

    fn clients(&self, what: &[&str], count: u32) -> Clients {
        let this = std::env::current_exe().expect("this executable has a path");
        let mut child = Command::new(this)
            .arg("client")
            .arg(&self.address)
            .arg(self.setup.certificate_file())
            .arg(self.who.api_key())
            .args(what)
            .arg(count.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this executable can be run");
        let input = child.stdin.take().expect("it is ours");
        let output = BufReader::new(child.stdout.take().expect("it is ours"));
        Clients { child, input, output }
    }
}

impl Clients {
    fn until(&mut self, word: &str) {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the clients can be read");
        assert_eq!(line.trim(), word);
    }

    fn go(&mut self) {
        writeln!(self.input, "go").expect("the clients listen");
    }

    fn end(mut self) {
        drop(self.input);
        assert!(self.child.wait().expect("their end is known").success());
    }
}

impl Counts {
    fn now() -> Self {
        let stats = ALLOCATOR.stats();
        let allocations = stats.allocations + stats.reallocations;
        Self {
            writes: count::writes(),
            reads: count::reads(),
            allocations: u64::try_from(allocations).unwrap_or(u64::MAX),
        }
    }
}

fn float(count: u64) -> f64 {
    f64::from(u32::try_from(count).expect("a few thousand"))
}

fn resident_kib() -> u64 {
    kes_harness::status(std::process::id(), "VmRSS")
}
