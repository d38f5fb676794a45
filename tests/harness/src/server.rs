//! A server as a process.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use rustix::process::Signal;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::process::{Child, Command};

use crate::connection::Connection;
use crate::dial::{Dialer, Proto, Tls};
use crate::figures::Figures;
use crate::lines::Lines;
use crate::pki::Credential;
use crate::program::{Finished, kes, prepare};

/// A running server. It is killed when it is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    stdout: Lines,
    stderr: Lines,
    address: SocketAddr,
    certificate_file: PathBuf,
}

impl Server {
    /// Runs a command that starts a server and waits until it says where it listens.
    ///
    /// # Panics
    /// If it ends before that.
    pub async fn launch(command: Command, certificate_file: &Path) -> Self {
        match Self::try_launch(command, certificate_file).await {
            Ok(server) => server,
            Err(Finished { code, stdout, stderr }) => {
                panic!("the server ended with {code:?}\nstdout: {stdout}\nstderr: {stderr}")
            }
        }
    }

    /// Runs a command that starts a server; if it does not start, the error is how it ended.
    ///
    /// # Panics
    /// If it cannot be started at all.
    pub async fn try_launch(
        mut command: Command,
        certificate_file: &Path,
    ) -> Result<Self, Finished> {
        prepare(&mut command);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = Lines::of(child.stdout.take().expect("its output is ours"));
        let stderr = Lines::of(child.stderr.take().expect("its errors are ours"));
        // With `--config` the line is in the log, with `--dev` on the standard output.
        let says_where = |line: &str| endpoint(line).is_some();
        let line = tokio::select! {
            Some(line) = stdout.find(says_where) => Some(line),
            Some(line) = stderr.find(says_where) => Some(line),
            else => None,
        };
        let Some(line) = line else {
            let code = child.wait().await.expect("its end is known").code();
            let (stdout, stderr) = (stdout.all().await, stderr.all().await);
            return Err(Finished { code, stdout, stderr });
        };
        let address = endpoint(&line).expect("it was just found");
        let certificate_file = certificate_file.to_owned();
        Ok(Self { child, stdout, stderr, address, certificate_file })
    }

    /// Starts `kes server --dev` with its files below `folder`.
    ///
    /// # Panics
    /// If it ends before it is up, or writes no certificate.
    pub async fn dev(folder: &Path) -> Self {
        Self::launch_dev(kes().command(), folder).await
    }

    /// Starts `kes server --dev` with an environment of its own.
    ///
    /// # Panics
    /// If it ends before it is up, or writes no certificate.
    pub async fn launch_dev(mut command: Command, folder: &Path) -> Self {
        command.args(["server", "--dev", "--addr", "127.0.0.1:0"]).env("TMPDIR", folder);
        let mut server = Self::launch(command, Path::new("")).await;
        server.certificate_file = dev_file(folder, "server.crt");
        server
    }

    /// The API key of the admin that `--dev` prints.
    ///
    /// # Panics
    /// If it prints none.
    pub async fn dev_api_key(&self) -> String {
        let line = self.stdout.find(|line| line.contains("API Key")).await.expect("a line");
        line.split_whitespace().nth(2).expect("a third word").to_owned()
    }

    /// Returns the address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for a line of its log that has all these words.
    ///
    /// # Panics
    /// If it ends without one.
    pub async fn log_has(&self, words: &[&str]) {
        let line = self.stderr.find(|line| words.iter().all(|word| line.contains(word))).await;
        assert!(line.is_some(), "{words:?} is not in the log: {:#?}", self.stderr.so_far());
    }

    /// Returns its URL, without a path.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The PEM file of its certificate.
    pub fn certificate_file(&self) -> &Path {
        &self.certificate_file
    }

    /// Returns its standard output.
    pub fn stdout(&self) -> &Lines {
        &self.stdout
    }

    /// Returns its standard error.
    pub fn stderr(&self) -> &Lines {
        &self.stderr
    }

    /// Returns the process id.
    ///
    /// # Panics
    /// If it has ended.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Reads its resource usage.
    pub fn figures(&self) -> Figures {
        Figures::of(self.pid())
    }

    /// Returns a dialer without a client certificate.
    ///
    /// # Panics
    /// If the certificate's file cannot be read.
    pub fn dial(&self) -> Dialer {
        let root = CertificateDer::from_pem_file(&self.certificate_file);
        Dialer::new(self.address, root.expect("the certificate's file is there"))
    }

    /// Connects as this client, with h2 over TLS 1.3.
    ///
    /// # Panics
    /// If there is none to be had.
    pub async fn connect(&self, credential: &Credential) -> Connection {
        self.connect_over(credential, (Proto::H2, Tls::V13)).await
    }

    /// Connects as this client, with these protocols.
    ///
    /// # Panics
    /// If there is none to be had.
    pub async fn connect_over(
        &self,
        credential: &Credential,
        protocol: (Proto, Tls),
    ) -> Connection {
        let connection = self.dial().show(credential).over(protocol).connect().await;
        connection.unwrap_or_else(|error| panic!("{protocol:?}: {error}"))
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// If the process has ended.
    pub fn signal(&self, signal: Signal) {
        crate::signal(&self.child, signal);
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If the end cannot be known.
    pub async fn wait(&mut self) -> ExitStatus {
        self.child.wait().await.expect("its end is known")
    }

    /// Ends it with SIGTERM and asserts exit code 0.
    ///
    /// # Panics
    /// If it is another.
    pub async fn stop(mut self) {
        self.signal(Signal::TERM);
        let status = self.wait().await;
        assert_eq!(status.code(), Some(0), "stderr: {}", self.stderr.all().await);
    }

    /// Ends it as [`Self::stop`] does, and returns all that it wrote: standard output, then the log.
    ///
    /// # Panics
    /// If its exit code is not 0.
    pub async fn stop_and_read(mut self) -> (String, String) {
        self.signal(Signal::TERM);
        let status = self.wait().await;
        let (stdout, stderr) = (self.stdout.all().await, self.stderr.all().await);
        assert_eq!(status.code(), Some(0), "stderr: {stderr}");
        (stdout, stderr)
    }

    /// Kills it with SIGKILL.
    pub async fn kill(mut self) {
        self.signal(Signal::KILL);
        self.wait().await;
    }
}

/// A file that `kes server --dev` wrote below `folder`.
///
/// # Panics
/// If it is not there.
pub fn dev_file(folder: &Path, name: &str) -> PathBuf {
    let entries = fs::read_dir(folder).expect("the folder is ours");
    let mut entries = entries.map(|entry| entry.expect("an entry").path().join(name));
    entries.find(|path| path.is_file()).unwrap_or_else(|| panic!("no {name}"))
}

/// The address among the endpoints that a line names.
fn endpoint(line: &str) -> Option<SocketAddr> {
    let (_, urls) = line.split_once("Endpoints ")?;
    let urls = urls.split_whitespace();
    let mut addresses = urls.filter_map(|url| url.strip_prefix("https://")?.parse().ok());
    addresses.find(|address: &SocketAddr| address.ip().is_loopback())
}
