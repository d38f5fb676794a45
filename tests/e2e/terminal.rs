//! Passwords are not echoed on the terminal.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::time::Duration;

use kes_harness::{Credential, kes, terminal, tool};
use rustix::termios::{LocalModes, tcgetattr};
use tokio::process::{Child, Command};
use tokio::task::{spawn_blocking, yield_now};
use tokio::time::timeout;

const API_KEY: &str = "kes:v1:AD9E7FSYWrMD+VjhI6q545cYT9YOyFxZb7UnjEepYDRc";
const IDENTITY: &str = "3ecfcdf38fcbe141ae26a1030f81e96b753365a46760ae6b578698a97c59fd22";

/// How long a program that shows what is typed is waited for.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Waits until the terminal shows nothing that is typed. False if the program ends before, or goes on
/// showing it.
async fn is_hidden(terminal: &OwnedFd, program: &mut Child) -> bool {
    let shows = || {
        let settings = tcgetattr(terminal).expect("a terminal");
        settings.local_modes.contains(LocalModes::ECHO)
    };
    let mut runs = || program.try_wait().expect("it is our child").is_none();
    let hidden = async {
        while shows() && runs() {
            yield_now().await;
        }
    };
    timeout(TIMEOUT, hidden).await.is_ok() && runs()
}

/// Types a text at the prompt of a command. Gives what it writes to standard output, and what the
/// terminal shows.
async fn type_at(arguments: &[&str], prompt: &str, typed: &str) -> Option<(String, String)> {
    let setsid = tool("setsid", None, "prompts on a terminal")?;
    let (ours, of_program) = terminal();
    let mut command = Command::new(setsid.path());
    command.args(["--ctty", "--wait"]).arg(kes().path()).args(arguments);
    command.stdin(Stdio::from(of_program)).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut program = command.kill_on_drop(true).spawn().expect("setsid starts");
    drop(command);
    assert!(is_hidden(&ours, &mut program).await, "{arguments:?} ended, or shows what is typed");
    let mut ours = File::from(ours);
    ours.write_all(typed.as_bytes()).expect("the terminal takes it");
    let output = program.wait_with_output().await.expect("its output");
    assert!(output.status.success(), "{output:?}");
    let shown = spawn_blocking(move || {
        let mut shown = Vec::new();
        // Ends with an error when the program's end is closed.
        let _ = ours.read_to_end(&mut shown);
        String::from_utf8_lossy(&shown).into_owned()
    });
    let shown = shown.await.expect("the terminal can be read");
    assert!(shown.starts_with(prompt), "{shown}");
    Some((String::from_utf8_lossy(&output.stdout).into_owned(), shown))
}

#[tokio::test]
async fn an_api_key_that_is_typed_is_not_shown() {
    let of = ["identity", "of", "-"];
    let new = ["identity", "new", "--json", "--api-key", "-"];
    for (arguments, prompt) in [(&of[..], "API key or certificate: "), (&new, "API key: ")] {
        let typed = format!("{API_KEY}\n");
        let Some((out, shown)) = type_at(arguments, prompt, &typed).await else { return };
        assert!(out.contains(IDENTITY), "{out}");
        assert!(!shown.contains("AD9E7F"), "{shown}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_pasted_is_read_to_its_end() {
    let credential = Credential::generate();
    let pem = credential.chain_pem();
    let prompt = "API key or certificate: ";
    let Some((out, _)) = type_at(&["identity", "of", "-"], prompt, &pem).await else { return };
    assert_eq!(out, credential.identity());
}
