//! Measures a listing of 100,000 keys.

use std::fs;
use std::path::Path;

use kes_harness::{Credential, Request};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;

use super::Bench;
use super::table::Row;
use crate::number::{median, millis};
use crate::operation::KEY;
use crate::process::{megabytes, reset_peak};
use crate::scenario;

const KEYS: usize = 100_000;

/// Hard links to one file; file systems limit their number.
const LINKS: usize = 10_000;

/// Number of listings that are measured.
const RUNS: usize = 5;

/// A file system in memory, used if it is there.
const MEMORY: &str = "/dev/shm";

pub(super) async fn measure(bench: &Bench) -> Vec<Row> {
    let is_there = Path::new(MEMORY).is_dir();
    let folder = if is_there { TempDir::new_in(MEMORY) } else { TempDir::new() };
    let folder = folder.expect("a temporary folder can be made");
    let credential = Credential::generate();
    let setup = scenario::setup(&credential, 1);
    scenario::start_kes(bench.pinning, &setup).await.kill().await;
    fill(folder.path(), &fs::read(setup.keys().join(KEY)).expect("the server has stored it"));
    let setup = setup.with(json!({ "keystore": { "fs": { "path": folder.path() } } }));
    let server = scenario::start_kes(bench.pinning, &setup).await;
    let mut admin = server.connect(setup.admin()).await;
    let before = megabytes(server.pid(), "VmRSS");
    let is_exact = reset_peak(server.pid());
    let (mut times, mut names) = (Vec::new(), 0);
    for _ in 0..RUNS {
        let begin = Instant::now();
        let answer = admin.send(Request::new("GET", "/v1/key/list/*")).await;
        times.push(millis(begin.elapsed()));
        assert_eq!(answer.status, 200, "{answer:?}");
        names = answer.json()["names"].as_array().map_or(0, Vec::<Value>::len);
    }
    let peak = megabytes(server.pid(), "VmHWM") - before;
    server.kill().await;
    let also = if is_exact { "" } else { "or less: the peak could not be reset" };
    vec![
        Row::new("list of 100,000 keys", median(times), "ms")
            .also(format!("{names} names fit into an answer")),
        Row::new("list of 100,000 keys: memory at the peak", peak, "MB")
            .at_most(40.0)
            .also(also.to_owned()),
    ]
}

/// Stores the key under 100,000 names.
fn fill(folder: &Path, key: &[u8]) {
    fs::write(folder.join(KEY), key).expect("the folder can be written to");
    let mut file = folder.join(KEY);
    for number in 1..KEYS {
        let path = folder.join(format!("{KEY}-{number:06}"));
        if number % LINKS == 0 {
            fs::write(&path, key).expect("the folder can be written to");
            file = path;
        } else {
            fs::hard_link(&file, &path).expect("the folder can be written to");
        }
    }
}
