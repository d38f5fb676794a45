//! AWS emulators as processes. Both have gaps: they check no signatures or policies, and accept what AWS
//! refuses.

use std::net::SocketAddr;

use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::Api;
use crate::lines::Lines;
use crate::need::{Need, tool};
use crate::program::prepare;

/// What a server writes when it listens, somewhere in a line.
const RUNNING: &str = "Running on http://127.0.0.1:";

/// A moto server; killed when dropped.
///
/// It answers a missing secret with HTTP 404 and checks that a name is free and takes it in two
/// steps: of creators that come at once, two may be answered that they were the first.
#[derive(Debug)]
pub struct Moto(Process);

/// A ministack; killed when dropped.
///
/// Its filter for names is a case-insensitive substring instead of a prefix, and versions have
/// identifiers of its own instead of the caller's.
#[derive(Debug)]
pub struct Ministack(Process);

#[derive(Debug)]
struct Process {
    address: SocketAddr,
    _child: Child,
    _output: (Lines, Lines),
    _folder: TempDir,
}

/// Finds the program `moto_server`.
pub fn moto() -> Option<Need> {
    tool("moto", Some("KES_TEST_MOTO"), "moto as AWS")
}

/// Finds the program `ministack`.
pub fn ministack() -> Option<Need> {
    tool("ministack", Some("KES_TEST_MINISTACK"), "ministack as AWS")
}

impl Moto {
    /// Starts an empty emulator.
    pub async fn start(need: &Need) -> Self {
        let mut command = Command::new(need.path());
        command.args(["-H", "127.0.0.1", "-p", "0"]);
        Self(Process::start(command).await)
    }

    /// Returns the address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// A client of its API, which needs no permissions.
    pub fn api(&self) -> Api {
        Api::new(self.0.address)
    }
}

impl Ministack {
    /// Starts an empty emulator.
    pub async fn start(need: &Need) -> Self {
        let mut command = Command::new(need.path());
        // Its MQTT broker would take a fixed port.
        command.env("BIND_HOST", "127.0.0.1").env("GATEWAY_PORT", "0").env("IOT_MTLS_ENABLED", "0");
        Self(Process::start(command).await)
    }

    /// Returns the address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// A client of its API, which needs no permissions.
    pub fn api(&self) -> Api {
        Api::new(self.0.address)
    }
}

impl Process {
    /// Both choose a port by themselves when they are given port 0, and say which.
    async fn start(mut command: Command) -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        command.env("TMPDIR", folder.path()).env("PYTHONUNBUFFERED", "1");
        prepare(&mut command);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = Lines::of(child.stdout.take().expect("its output is ours"));
        let stderr = Lines::of(child.stderr.take().expect("its errors are ours"));
        let running = tokio::select! {
            Some(line) = stdout.find(|line| port(line).is_some()) => Some(line),
            Some(line) = stderr.find(|line| port(line).is_some()) => Some(line),
            else => None,
        };
        let port = running.as_deref().and_then(port);
        let said = || (stdout.so_far(), stderr.so_far());
        let port = port.unwrap_or_else(|| panic!("{command:?} does not start: {:?}", said()));
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Self { address, _child: child, _output: (stdout, stderr), _folder: folder }
    }
}

fn port(line: &str) -> Option<u16> {
    let (_, rest) = line.split_once(RUNNING)?;
    rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}
