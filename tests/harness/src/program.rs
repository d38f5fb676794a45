//! The `kes` binary, run as a command.

use std::env;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Stdio;

use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, getrlimit, kill_process, setrlimit,
    waitid,
};
use tokio::process::{Child, Command};

use crate::need::variable;

/// The binary under test.
#[derive(Clone, Debug)]
pub struct Program(PathBuf);

/// The result of a command.
#[derive(Debug)]
pub struct Finished {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to the standard output.
    pub stdout: String,
    /// What it wrote to the standard error.
    pub stderr: String,
}

/// The binary under test: `KES_BIN`, or `kes` in the folder above the test executable.
///
/// # Panics
/// If it is not there.
pub fn kes() -> Program {
    if let Some(path) = variable("KES_BIN").filter(|path| !path.is_empty()) {
        return Program(path.into());
    }
    let this = env::current_exe().expect("this executable has a path");
    // target/<profile>/deps/<test> → target/<profile>/kes
    let folder = this.parent().and_then(|deps| deps.parent()).expect("cargo's folders");
    let path = folder.join("kes");
    assert!(
        path.is_file(),
        "{} is not there: run ./tests/run, or `cargo build -p kes` first, or set KES_BIN",
        path.display()
    );
    Program(path)
}

impl Program {
    /// Returns its path.
    pub fn path(&self) -> &PathBuf {
        &self.0
    }

    /// Returns a command of it, with an empty standard input and output to be read. It is killed when it is dropped.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.0);
        prepare(&mut command);
        command
    }

    /// Runs it, and waits for its end.
    ///
    /// # Panics
    /// If it cannot be started.
    pub async fn run(&self, arguments: &[impl AsRef<OsStr> + Sync]) -> Finished {
        finish(self.command().args(arguments)).await
    }
}

/// Prepares any command as [`Program::command`] does.
pub(crate) fn prepare(command: &mut Command) {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
}

/// Sends a signal to a child process.
///
/// # Panics
/// If it has ended.
pub fn signal(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    kill_process(pid.expect("it runs"), signal).expect("it runs");
}

/// Waits until all threads of a process of ours that was sent `SIGSTOP` stand still: some run on for
/// a moment.
///
/// # Panics
/// If it has ended.
pub(crate) fn stopped(child: &Child) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    // How it ends is for the runtime to see.
    let options = WaitIdOptions::STOPPED | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(pid.expect("it runs")), options).expect("it is our child");
}

/// Raises the limit of open files of this process, and of servers that are started after this, to the
/// hard limit.
///
/// # Panics
/// If these are fewer than `files`.
pub fn raise_open_files(files: u64) {
    let limit = getrlimit(Resource::Nofile);
    assert!(
        limit.maximum.is_none_or(|maximum| maximum >= files),
        "this test needs a hard limit of {files} open files: `ulimit -Hn {files}`"
    );
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).expect("up to the hard limit it may be raised");
}

/// Runs any command, and waits for its end.
///
/// # Panics
/// If it cannot be started.
pub async fn finish(command: &mut Command) -> Finished {
    let output = command.output().await;
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Finished {
    /// Asserts exit code 0 and gives the standard output.
    ///
    /// # Panics
    /// If it is another.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self.stdout
    }
}
