//! The filesystem store while files in the key directory appear, disappear and are replaced.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use kes_harness::{Connection, Server, Setup};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::json;

/// Creates, uses and deletes a key that no other connection uses: nothing of it ever fails.
async fn own_key(connection: &mut Connection, key: &str, rounds: usize) {
    for _ in 0..rounds {
        connection.call("POST", &format!("/v1/key/create/{key}")).await.ok_empty();
        connection.post(&format!("/v1/key/generate/{key}"), "{}").await.ok();
        connection.call("DELETE", &format!("/v1/key/delete/{key}")).await.ok_empty();
    }
}

/// Creates and deletes the key that the others do, too.
async fn contested_key(connection: &mut Connection, rounds: usize) {
    for _ in 0..rounds {
        let created = connection.call("POST", "/v1/key/create/contested").await;
        if created.status != 200 {
            created.refused(400, "key already exists");
        }
        let deleted = connection.call("DELETE", "/v1/key/delete/contested").await;
        if deleted.status != 200 {
            deleted.refused(404, "key does not exist");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletions_do_not_disturb_the_creations_of_other_keys() {
    let setup = Setup::new().uncached();
    let servers = [setup.start().await, setup.start().await];
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..4 {
        let mut own = servers[number % 2].connect(setup.admin()).await;
        let mut contested = servers[number % 2].connect(setup.admin()).await;
        tasks.spawn(async move { own_key(&mut own, &format!("own-{number}"), 150).await });
        tasks.spawn(async move { contested_key(&mut contested, 150).await });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("an answer that is not one of a key store that works");
    }
    let left = fs::read_dir(setup.keys()).expect("the folder is ours").count();
    assert_eq!(left, 0, "something was left behind");
}

/// Exchanges two paths on a thread until dropped, and leaves them as they were.
struct Exchange {
    is_done: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Exchange {
    fn start(one: &Path, other: &Path) -> Self {
        let (one, other) = (one.to_owned(), other.to_owned());
        let is_done = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&is_done);
        let exchange = move || {
            while !is_over.load(Ordering::Relaxed) {
                for _ in 0..2 {
                    renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE)
                        .expect("the paths are ours");
                    thread::yield_now();
                }
            }
        };
        Self { is_done, thread: Some(thread::spawn(exchange)) }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.is_done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A failed exchange shows in what the test counts.
            drop(thread.join());
        }
    }
}

/// Decrypts with the key inside while its folder is exchanged; returns how many times that was
/// done, and how many times refused.
async fn decrypt_while_exchanged(server: &Server, setup: &Setup, sealed: &str) -> (usize, usize) {
    let mut admin = server.connect(setup.admin()).await;
    let body = json!({ "ciphertext": sealed }).to_string();
    let (mut done, mut refused) = (0, 0);
    for round in 0..2000 {
        let answer = admin.post("/v1/key/decrypt/linked", &body).await;
        if answer.status == 200 {
            done += 1;
        } else {
            // With the key outside it would be a 400: the ciphertext is not of that key.
            answer.refused(502, "failed to read key");
            refused += 1;
        }
        if round % 50 == 0 {
            admin.get("/v1/key/list/").await.ok();
            let created = admin.call("POST", "/v1/key/create/linked").await;
            created.refused(400, "key already exists");
            admin.call("POST", "/v1/key/create/other").await.ok_empty();
            admin.call("DELETE", "/v1/key/delete/other").await.ok_empty();
        }
    }
    (done, refused)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_is_exchanged_for_a_link_does_not_lead_out_of_the_key_directory() {
    let setup = Setup::new().uncached();
    let server = setup.start().await;
    let mut admin = server.connect(setup.admin()).await;
    let keys = setup.keys();
    let (data, link) = (keys.join("..data"), keys.join("..link"));
    let outside = setup.folder().join("outside");
    for folder in [&data, &outside] {
        fs::create_dir(folder).expect("the folder is ours");
        admin.call("POST", "/v1/key/create/linked").await.ok_empty();
        fs::rename(keys.join("linked"), folder.join("linked")).expect("the folder is ours");
    }
    symlink(&outside, &link).expect("the folder is ours");
    symlink("..data/linked", keys.join("linked")).expect("the folder is ours");
    let before = fs::read(outside.join("linked")).expect("the key was moved here");
    let sealed = admin.post("/v1/key/generate/linked", "{}").await.ok().text("ciphertext");

    let exchange = Exchange::start(&data, &link);
    let (done, refused) = decrypt_while_exchanged(&server, &setup, &sealed).await;
    drop(exchange);
    assert!(done > 0 && refused > 0, "{done} done, {refused} refused: nothing was exchanged");

    admin.call("DELETE", "/v1/key/delete/linked").await.ok_empty();
    assert!(data.join("linked").exists(), "the link goes, not what it leads to");
    assert_eq!(fs::read(outside.join("linked")).ok(), Some(before));
    assert_eq!(fs::read_dir(&outside).expect("the folder is ours").count(), 1);
}
