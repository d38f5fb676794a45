//! `bao server -dev`, which keeps everything in memory and speaks HTTP without TLS.

use std::net::SocketAddr;

use tokio::process::{Child, Command};

use super::{ports, spawn};
use crate::lines::Lines;

/// A development server that a command of the guide started; it is killed when it is dropped.
#[derive(Debug)]
pub struct DevBao {
    address: SocketAddr,
    _child: Child,
    _output: (Lines, Lines),
}

impl DevBao {
    /// Runs a command that starts a development server, on a free port instead of 8200.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn start(mut command: Command) -> Self {
        command.env("BAO_DEV_LISTEN_ADDRESS", "127.0.0.1:0");
        let (child, stdout, stderr) = spawn(command).await;
        let clusters: Vec<u16> = stdout.so_far().iter().filter_map(|line| cluster(line)).collect();
        let port = ports::listening(child.id().expect("it runs"), &clusters);
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Self { address, _child: child, _output: (stdout, stderr) }
    }

    /// Returns the address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// The port for other nodes, in the line about a listener.
fn cluster(line: &str) -> Option<u16> {
    let (_, rest) = line.split_once("cluster address: \"127.0.0.1:")?;
    rest.split('"').next()?.parse().ok()
}
