//! Tests that run the binary as a user or a script does.

#![cfg(test)]

mod client_files;
mod configuration;
mod dev_server;
mod encrypted_key;
mod identity;
mod secrets;
mod usage;

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The result of a command.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs the binary in a folder, with the given environment only.
fn command(folder: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kes"));
    command
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .envs(environment.iter().copied())
        .stdin(Stdio::null());
    command
}

fn finish(command: &mut Command) -> Answer {
    let Output { status, stdout, stderr } = command.output().unwrap();
    Answer {
        code: status.code(),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}

fn kes_in(folder: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> Answer {
    finish(&mut command(folder, environment, arguments))
}

fn kes(arguments: &[&str]) -> Answer {
    kes_in(Path::new("."), &[], arguments)
}
