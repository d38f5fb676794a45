//! The binary, as a person or a script runs it.

#![cfg(test)]

mod configuration;
mod dev_server;
mod identity;
mod usage;

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// What a command gave.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs the binary in a folder, with nothing in its environment but what is given.
fn kes_in(folder: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> Answer {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_kes"))
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Answer {
        code: status.code(),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}

fn kes(arguments: &[&str]) -> Answer {
    kes_in(Path::new("."), &[], arguments)
}
