//! Tests the store on full, read-only and inaccessible disks, and in a directory that is mounted
//! over.
//!
//! Each test runs on a thread with its own mounts or its own user. Without the privilege for that
//! it prints a message and is skipped (`faults.rs` injects the same failures without privileges).

#![expect(clippy::unwrap_used, reason = "what helps a test may fail it")]

use std::error::Error;
use std::fs;
use std::num::NonZeroUsize;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use kes_crypto::SystemRandom;
use kes_store::{KeyStore as _, ListQuery, Page, StoreError};
use kes_store_fs::FsStore;
use kes_types::{KeyName, Secret, SystemClock};
use rustix::fs::{Gid, Uid};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, mount_remount, unmount,
};
use rustix::thread::{UnshareFlags, set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use tempfile::TempDir;

const OTHER_USER: u32 = 65534;

/// Runs `body` on a thread with its own mount namespace.
fn with_own_mounts(body: impl AsyncFnOnce(&Path) + Send + 'static) {
    on_a_thread(
        || {
            #[expect(deprecated, reason = "its successor is unsafe for other flags than this one")]
            rustix::thread::unshare(UnshareFlags::NEWNS)?;
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        },
        body,
    );
}

/// Runs `body` on a thread of an unprivileged user.
fn as_no_one(body: impl AsyncFnOnce(&Path) + Send + 'static) {
    on_a_thread(
        || {
            let (user, group) = (Uid::from_raw(OTHER_USER), Gid::from_raw(OTHER_USER));
            set_thread_groups(&[])?;
            set_thread_res_gid(group, group, group)?;
            set_thread_res_uid(user, user, user)
        },
        body,
    );
}

/// Runs `body` on a new thread. The threads of the runtime inherit mounts and user from the thread
/// that starts them.
fn on_a_thread(
    prepare: impl FnOnce() -> rustix::io::Result<()> + Send + 'static,
    body: impl AsyncFnOnce(&Path) + Send + 'static,
) {
    let folder = TempDir::new().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let path = folder.path().to_owned();
    let outcome = thread::spawn(move || {
        if let Err(errno) = prepare() {
            skip(&format!("needs root: {errno}"));
            return;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(body(&path));
    });
    outcome.join().unwrap();
}

#[expect(clippy::print_stderr, reason = "a test that did not run must say so")]
fn skip(why: &str) {
    eprintln!("SKIPPED: {why}");
}

fn tmpfs(path: &Path, options: &str) {
    let options = std::ffi::CString::new(options).unwrap();
    mount("tmpfs", path, "tmpfs", MountFlags::empty(), Some(options.as_c_str())).unwrap();
}

fn open(path: &Path) -> FsStore {
    FsStore::open(path, Arc::new(SystemClock), Arc::new(SystemRandom::new())).unwrap().0
}

fn key(name: &str) -> KeyName {
    KeyName::parse(name).unwrap()
}

fn secret(len: usize) -> Secret {
    Secret::new(vec![b'x'; len])
}

fn everything() -> ListQuery {
    ListQuery { prefix: String::new(), from: None, limit: NonZeroUsize::new(1000).unwrap() }
}

#[track_caller]
fn assert_refused<T: std::fmt::Debug>(result: Result<T, StoreError>, path: &Path, why: &str) {
    match result {
        Err(error @ StoreError::Refused(_)) => assert_explained(&error, path, why),
        other => panic!("not refused: {other:?}"),
    }
}

#[track_caller]
fn assert_unreachable<T: std::fmt::Debug>(result: Result<T, StoreError>, path: &Path, why: &str) {
    match result {
        Err(error @ StoreError::Unreachable(_)) => assert_explained(&error, path, why),
        other => panic!("not unreachable: {other:?}"),
    }
}

#[track_caller]
fn assert_explained(error: &StoreError, path: &Path, why: &str) {
    let mut chain = String::new();
    let mut cause: Option<&dyn Error> = Some(error);
    while let Some(error) = cause {
        chain = format!("{chain}{error}: ");
        cause = error.source();
    }
    assert!(chain.contains(path.to_str().unwrap()) && chain.contains(why), "{chain}");
}

#[test]
fn a_full_disk_is_an_error_and_leaves_nothing_half_written() {
    with_own_mounts(async |path| {
        tmpfs(path, "size=64k,mode=700");
        let store = open(path);
        store.create(&key("first"), secret(20_000)).await.unwrap();
        for name in ["second", "second", "third"] {
            let created = store.create(&key(name), secret(60_000)).await;
            assert_refused(created, path, "No space left on device");
            assert!(matches!(store.get(&key(name)).await, Err(StoreError::NotFound(_))));
        }
        assert_eq!(fs::read_dir(path).unwrap().count(), 1, "something was left behind");
        assert_eq!(store.get(&key("first")).await.unwrap(), secret(20_000));

        // Other operations still work, and deleting a key frees space.
        let again = store.create(&key("first"), secret(60_000)).await;
        assert!(matches!(again, Err(StoreError::Exists(_))), "{again:?}");
        store.delete(&key("first")).await.unwrap();
        store.create(&key("second"), secret(60_000)).await.unwrap();
    });
}

#[test]
fn a_disk_without_room_for_another_file_is_an_error() {
    with_own_mounts(async |path| {
        tmpfs(path, "nr_inodes=3,mode=700");
        let store = open(path);
        store.create(&key("first"), secret(1)).await.unwrap();
        store.create(&key("second"), secret(1)).await.unwrap_err();
        assert_eq!(store.list(&everything()).await.unwrap().names, [key("first")]);
    });
}

#[test]
fn a_read_only_disk_is_read_and_not_written() {
    with_own_mounts(async |path| {
        tmpfs(path, "mode=700");
        open(path).create(&key("my-key"), secret(10)).await.unwrap();
        let old = path.join(".kes-0123456789abcdef.tmp");
        fs::write(&old, "half a ke").unwrap();
        let long_ago = std::time::SystemTime::UNIX_EPOCH;
        fs::File::options().write(true).open(&old).unwrap().set_modified(long_ago).unwrap();
        mount_remount(path, MountFlags::RDONLY, "").unwrap();

        let (store, warnings) =
            FsStore::open(path, Arc::new(SystemClock), Arc::new(SystemRandom::new())).unwrap();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert_eq!(store.get(&key("my-key")).await.unwrap(), secret(10));
        assert_eq!(store.list(&everything()).await.unwrap().names, [key("my-key")]);
        let why = "Read-only file system";
        assert_refused(store.create(&key("other"), secret(10)).await, path, why);
        assert_refused(store.delete(&key("my-key")).await, path, why);
        assert!(matches!(store.get(&key("other")).await, Err(StoreError::NotFound(_))));
        let again = store.create(&key("my-key"), secret(10)).await;
        assert!(matches!(again, Err(StoreError::Exists(_))), "{again:?}");
    });
}

#[test]
fn a_directory_that_is_mounted_over_is_unreachable_until_it_is_back() {
    with_own_mounts(async |path| {
        let store = open(path);
        store.create(&key("my-key"), secret(10)).await.unwrap();
        tmpfs(path, "mode=700");
        let why = "not the one that was opened";
        assert_unreachable(store.get(&key("absent")).await, path, why);
        assert_unreachable(store.create(&key("other"), secret(10)).await, path, why);
        assert_unreachable(store.create(&key("my-key"), secret(10)).await, path, why);
        assert_unreachable(store.delete(&key("my-key")).await, path, why);
        assert_unreachable(store.list(&everything()).await, path, why);
        assert_unreachable(store.status().await, path, why);
        assert_eq!(store.get(&key("my-key")).await.unwrap(), secret(10));

        unmount(path, UnmountFlags::empty()).unwrap();
        let Page { names, .. } = store.list(&everything()).await.unwrap();
        assert_eq!(names, [key("my-key")]);
        assert!(matches!(store.get(&key("other")).await, Err(StoreError::NotFound(_))));
        store.status().await.unwrap();
    });
}

#[test]
fn a_directory_whose_disk_is_taken_away_is_unreachable() {
    with_own_mounts(async |path| {
        tmpfs(path, "mode=700");
        let store = open(path);
        store.create(&key("my-key"), secret(10)).await.unwrap();
        unmount(path, UnmountFlags::DETACH).unwrap();
        let why = "not the one that was opened";
        assert_unreachable(store.get(&key("absent")).await, path, why);
        assert_unreachable(store.create(&key("other"), secret(10)).await, path, why);
        assert_unreachable(store.list(&everything()).await, path, why);
    });
}

#[test]
fn permission_denied_is_an_error_and_never_an_absent_key() {
    let folder = TempDir::new().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let keys = folder.path().join("keys");
    fs::create_dir(&keys).unwrap();
    fs::write(keys.join("theirs"), "value").unwrap();
    fs::set_permissions(keys.join("theirs"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o555)).unwrap();
    let path = keys.clone();
    as_no_one(async move |_| {
        let store = open(&path);
        let why = "Permission denied";
        assert_refused(store.create(&key("ours"), secret(10)).await, &path, why);
        assert_refused(store.get(&key("theirs")).await, &path, why);
        assert_refused(store.delete(&key("theirs")).await, &path, why);
        assert!(matches!(store.get(&key("ours")).await, Err(StoreError::NotFound(_))));
        assert!(
            FsStore::open(
                &path.join("below"),
                Arc::new(SystemClock),
                Arc::new(SystemRandom::new())
            )
            .is_err()
        );
    });
    assert_eq!(fs::read(keys.join("theirs")).unwrap(), b"value");
}

#[test]
fn a_directory_that_may_no_longer_be_entered_is_an_error_and_never_an_absent_key() {
    let folder = TempDir::new().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let keys = folder.path().join("keys");
    fs::create_dir(&keys).unwrap();
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o700)).unwrap();
    if chown(&keys, Some(OTHER_USER), Some(OTHER_USER)).is_err() {
        skip("needs root: cannot give a directory away");
        return;
    }
    as_no_one(async move |_| {
        let store = open(&keys);
        store.create(&key("my-key"), secret(10)).await.unwrap();
        fs::set_permissions(&keys, fs::Permissions::from_mode(0o000)).unwrap();
        let why = "Permission denied";
        assert_refused(store.get(&key("my-key")).await, &keys, why);
        assert_refused(store.get(&key("absent")).await, &keys, why);
        assert_refused(store.create(&key("other"), secret(10)).await, &keys, why);
        assert_refused(store.delete(&key("absent")).await, &keys, why);
        fs::set_permissions(&keys, fs::Permissions::from_mode(0o700)).unwrap();
    });
}
