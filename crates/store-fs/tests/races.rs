//! Tests servers that create and delete keys in one directory concurrently.

#![expect(clippy::unwrap_used, reason = "what helps a test may fail it")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use kes_crypto::SystemRandom;
use kes_store::{KeyStore as _, StoreError};
use kes_store_fs::FsStore;
use kes_types::{KeyName, Secret, SystemClock};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

fn open(path: &Path) -> FsStore {
    FsStore::open(path, Arc::new(SystemClock), Arc::new(SystemRandom::new())).unwrap().0
}

fn runtime() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}

fn key(name: &str) -> KeyName {
    KeyName::parse(name).unwrap()
}

fn secret(value: &str) -> Secret {
    Secret::new(value.as_bytes().to_vec())
}

/// Half of the threads use a name of their own and must never fail; the others compete for one
/// name, so that deletions run concurrently with creations.
#[test]
fn deletions_leave_the_creations_of_others_alone() {
    const ROUNDS: usize = 1_500;
    let folder = TempDir::new().unwrap();
    let contested = AtomicUsize::new(0);
    thread::scope(|scope| {
        for number in 0..4 {
            let (own, rival) = (open(folder.path()), open(folder.path()));
            scope.spawn(move || {
                let name = key(&format!("own-{number}"));
                runtime().block_on(async {
                    for round in 0..ROUNDS {
                        let value = format!("value {number} {round}");
                        own.create(&name, secret(&value)).await.unwrap();
                        assert_eq!(own.get(&name).await.unwrap().expose(), value.as_bytes());
                        own.delete(&name).await.unwrap();
                    }
                });
            });
            let contested = &contested;
            scope.spawn(move || {
                let name = key("contested");
                runtime().block_on(async {
                    for _ in 0..ROUNDS {
                        match rival.create(&name, secret("value")).await {
                            Ok(()) => drop(contested.fetch_add(1, Ordering::Relaxed)),
                            Err(StoreError::Exists(_)) => {}
                            Err(error) => panic!("{error:?}"),
                        }
                        match rival.get(&name).await {
                            Ok(value) => assert_eq!(value.expose(), b"value"),
                            Err(StoreError::NotFound(_)) => {}
                            Err(error) => panic!("{error:?}"),
                        }
                        match rival.delete(&name).await {
                            Ok(()) | Err(StoreError::NotFound(_)) => {}
                            Err(error) => panic!("{error:?}"),
                        }
                    }
                });
            });
        }
    });
    assert!(contested.into_inner() > 1);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "something was left behind");
}
