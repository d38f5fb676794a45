//! Runs the conformance suite on the file store, with one server and with several on one directory.

#![expect(clippy::unwrap_used, reason = "what helps a test may fail it")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use kes_crypto::SystemRandom;
use kes_store::conformance::{self, Profile};
use kes_store::{Fleet, KeyStore};
use kes_store_fs::FsStore;
use kes_types::SystemClock;
use tempfile::TempDir;

fn open(path: &Path) -> Arc<dyn KeyStore> {
    let (store, warnings) =
        FsStore::open(path, Arc::new(SystemClock), Arc::new(SystemRandom::new())).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    Arc::new(store)
}

fn private_folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    folder
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn file_store_keeps_the_contract() {
    let folder = private_folder();
    conformance::run(
        open(folder.path()),
        Profile { binary: true },
        &kes_crypto::SystemRandom::new(),
    )
    .await;
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "something was left behind");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn servers_that_share_a_directory_keep_the_contract_together() {
    let folder = private_folder();
    let others = vec![open(folder.path()), open(folder.path())];
    let fleet = Fleet::new(open(folder.path()), others);
    conformance::run(Arc::new(fleet), Profile { binary: true }, &kes_crypto::SystemRandom::new())
        .await;
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "something was left behind");
}
