//! Signals that mean nothing to the server do not end it.

use std::io::Write as _;

use kes_tests::{Lines, Setup, kes, signal};
use rustix::fs::{FileType, Mode};
use rustix::process::Signal;

#[tokio::test]
async fn sigusr1_and_sigusr2_do_not_end_the_server() {
    let setup = Setup::new();
    let server = setup.start().await;
    let mut admin = server.connect(setup.admin()).await;
    for signal in [Signal::USR1, Signal::USR2, Signal::USR1, Signal::WINCH, Signal::PIPE] {
        server.signal(signal);
        admin.get("/v1/status").await.ok();
    }
    server.connect(setup.admin()).await.get("/v1/status").await.ok();
    server.stop().await;
}

#[tokio::test]
async fn nor_while_it_is_starting() {
    let setup = Setup::new();
    let text = std::fs::read(setup.config_file()).expect("it was just written");
    let slow = setup.folder().join("slow.yaml");
    let here = rustix::fs::CWD;
    rustix::fs::mknodat(here, &slow, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
    let mut command = kes().command();
    command.args(["server", "--addr", "127.0.0.1:0", "--config"]).arg(&slow);
    let mut child = command.spawn().expect("the server starts");
    let log = Lines::of(child.stderr.take().expect("its errors are ours"));
    // Opens when the server reads its configuration.
    let opened = tokio::task::spawn_blocking(move || std::fs::File::create(slow));
    let mut config = opened.await.expect("it ends").expect("the pipe is there");
    for unknown in [Signal::USR1, Signal::USR2] {
        signal(&child, unknown);
    }
    config.write_all(&text).expect("the server reads");
    drop(config);
    let up = log.find(|line| line.contains("Endpoints")).await;
    assert!(up.is_some(), "it ended: {:?}", child.wait().await);
}
