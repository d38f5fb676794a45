//! Tests the store when the disk fails between two steps.

use std::fs;
use std::future::poll_fn;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::thread;
use std::time::{Duration, SystemTime};

use kes_crypto::SystemRandom;
use kes_store::{KeyStore as _, StoreError};
use kes_types::{Secret, SystemClock};
use rustix::io::Errno;
use tempfile::TempDir;

use crate::directory::Directory;
use crate::fake::{Bench, Disk, Fault, Syscall, assert_refused, assert_unreachable, chain, key};
use crate::{FsStore, create, staging};

#[test]
fn a_key_is_synced_before_it_is_linked_and_its_name_before_it_is_confirmed() {
    let bench = Bench::new();
    bench.create("value").unwrap();
    assert_eq!(
        bench.disk.take_calls(),
        [Syscall::Write, Syscall::SyncFile, Syscall::Link, Syscall::SyncDirectory, Syscall::Unlink]
    );
    assert_eq!(bench.get().unwrap().expose(), b"value");
    assert_eq!(bench.disk.take_calls(), [], "a confirmed key costs a read no sync");
    bench.delete().unwrap();
    assert_eq!(bench.disk.take_calls(), [Syscall::Unlink, Syscall::SyncDirectory]);
}

#[test]
fn an_error_before_the_link_leaves_nothing() {
    for (call, errno, why) in [
        (Syscall::Write, Errno::NOSPC, "No space left on device"),
        (Syscall::Write, Errno::DQUOT, "quota exceeded"),
        (Syscall::SyncFile, Errno::IO, "Input/output error"),
        (Syscall::SyncFile, Errno::NOSPC, "No space left on device"),
        (Syscall::Link, Errno::ACCESS, "Permission denied"),
        (Syscall::Link, Errno::PERM, "hard-link"),
        (Syscall::Link, Errno::ROFS, "Read-only file system"),
    ] {
        let bench = Bench::new();
        bench.disk.breaks(call, Fault::Fails(errno));
        assert_refused(bench.create("value"), &bench, why);
        assert_eq!(bench.files(), [""; 0], "{call:?} {errno:?}");
        bench.disk.heals();
        assert!(matches!(bench.get(), Err(StoreError::NotFound(_))));
        bench.create("value").unwrap();
        assert_eq!(bench.get().unwrap().expose(), b"value");
    }
}

#[test]
fn a_network_disk_that_does_not_answer_is_unreachable() {
    for errno in [Errno::STALE, Errno::TIMEDOUT] {
        for call in [Syscall::Write, Syscall::SyncFile, Syscall::Link, Syscall::SyncDirectory] {
            let bench = Bench::new();
            bench.disk.breaks(call, Fault::Fails(errno));
            assert_unreachable(bench.create("value"), &bench, "");
        }
    }
}

#[test]
fn a_link_that_was_made_in_spite_of_its_error_counts() {
    // A repeated NFS request finds that the name exists, because the first one created it.
    for errno in [Errno::EXIST, Errno::TIMEDOUT, Errno::IO] {
        let bench = Bench::new();
        bench.disk.breaks(Syscall::Link, Fault::FailsAfterwards(errno));
        bench.create("value").unwrap();
        assert_eq!(bench.files(), ["my-key"]);
        assert_eq!(bench.get().unwrap().expose(), b"value");
        assert!(bench.disk.take_calls().contains(&Syscall::SyncDirectory));
    }
}

#[test]
fn a_name_that_another_else_took_is_left_to_them() {
    // The other server creates its link between the first check of this server and its link.
    let bench = Bench::new();
    let theirs = bench.folder.path().join("my-key");
    let mut ours = staging::Staging::write(&bench.directory, &key(), b"ours").unwrap();
    fs::write(&theirs, "theirs").unwrap();
    assert_eq!(ours.link(&key()).unwrap(), staging::Link::Taken);
    drop(ours);
    assert_eq!(bench.files(), ["my-key"]);

    assert!(matches!(bench.create("ours"), Err(StoreError::Exists(_))));
    bench.disk.breaks(Syscall::Link, Fault::Fails(Errno::IO));
    assert!(matches!(bench.create("ours"), Err(StoreError::Exists(_))));
    assert_eq!(fs::read(&theirs).unwrap(), b"theirs");
}

#[test]
fn an_unconfirmed_key_stays_and_is_confirmed_before_it_is_read() {
    let bench = Bench::new();
    bench.disk.breaks(Syscall::SyncDirectory, Fault::Fails(Errno::IO));
    assert_unreachable(bench.create("value"), &bench, "Input/output error");
    assert_eq!(fs::read(bench.folder.path().join("my-key")).unwrap(), b"value");
    assert_refused(bench.get(), &bench, "Input/output error");

    bench.disk.heals();
    bench.disk.take_calls();
    assert_eq!(bench.get().unwrap().expose(), b"value");
    assert_eq!(bench.disk.take_calls(), [Syscall::SyncDirectory]);
    assert!(matches!(bench.create("other"), Err(StoreError::Exists(_))));
}

#[test]
fn a_leftover_goes_only_when_its_key_is_durable() {
    let bench = Bench::new();
    bench.disk.breaks(Syscall::SyncDirectory, Fault::Fails(Errno::IO));
    bench.create("value").unwrap_err();
    let later = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::MAX >> 8);

    let warnings = staging::sweep(&bench.directory, later);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(chain(&warnings[0]).contains("Input/output error"));
    assert_eq!(bench.files().len(), 2);

    bench.disk.breaks(Syscall::Unlink, Fault::Fails(Errno::ROFS));
    let warnings = staging::sweep(&bench.directory, later);
    assert!(chain(&warnings[0]).contains("Read-only file system"), "{warnings:?}");
    assert!(chain(&warnings[0]).contains(".kes-"), "{warnings:?}");

    bench.disk.heals();
    bench.disk.take_calls();
    assert!(staging::sweep(&bench.directory, later).is_empty());
    assert_eq!(bench.disk.take_calls(), [Syscall::Rename, Syscall::SyncDirectory, Syscall::Unlink]);
    assert_eq!(bench.files(), ["my-key"]);
    assert_eq!(bench.get().unwrap().expose(), b"value");
}

#[test]
fn a_durable_key_whose_leftover_cannot_be_removed_is_confirmed() {
    let bench = Bench::new();
    bench.disk.breaks(Syscall::Unlink, Fault::Fails(Errno::IO));
    bench.create("value").unwrap();
    bench.disk.heals();
    assert_eq!(bench.get().unwrap().expose(), b"value");
    assert_eq!(bench.files().len(), 2);

    // A deletion also removes the leftover, because it holds the value.
    bench.delete().unwrap();
    assert_eq!(bench.files(), [""; 0]);
}

#[test]
fn a_deletion_that_is_not_durable_is_not_confirmed() {
    let bench = Bench::new();
    bench.create("value").unwrap();
    bench.disk.breaks(Syscall::Unlink, Fault::Fails(Errno::ROFS));
    assert_refused(bench.delete(), &bench, "Read-only file system");
    assert_eq!(bench.get().unwrap().expose(), b"value");

    bench.disk.breaks(Syscall::SyncDirectory, Fault::Fails(Errno::IO));
    assert_unreachable(bench.delete(), &bench, "Input/output error");
}

#[test]
fn a_directory_that_vanishes_is_never_an_absent_key() {
    let bench = Bench::new();
    bench.create("value").unwrap();
    let path = bench.folder.path().to_owned();
    let inode = fs::metadata(&path).unwrap().ino();
    fs::remove_dir_all(&path).unwrap();
    let all = |why: &str| {
        assert_unreachable(bench.get(), &bench, why);
        assert_unreachable(bench.create("value"), &bench, why);
        assert_unreachable(bench.delete(), &bench, why);
        assert_unreachable(bench.directory.verify().map_err(StoreError::from), &bench, why);
        let query = kes_store::ListQuery {
            prefix: String::new(),
            from: None,
            limit: std::num::NonZeroUsize::MIN,
        };
        assert_unreachable(crate::list::list(&bench.directory, &query), &bench, why);
    };
    all("is gone");
    fs::create_dir(&path).unwrap();
    assert_ne!(fs::metadata(&path).unwrap().ino(), inode);
    all("not the one that was opened");
}

/// Creates a store whose first write blocks: the receiver reports that it has started, and the
/// sender lets it continue.
fn gated(path: &Path) -> (FsStore, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (reached, is_reached) = mpsc::channel();
    let (opener, open) = mpsc::channel();
    let disk = Disk::default();
    disk.interrupts(Syscall::Write, move || {
        reached.send(()).unwrap();
        open.recv().unwrap();
    });
    let directory =
        Arc::new(Directory::open(path, Box::new(disk), Arc::new(SystemRandom::new())).unwrap());
    (FsStore { directory, clock: Arc::new(SystemClock) }, is_reached, opener)
}

#[test]
fn a_write_runs_to_its_end_when_its_caller_gives_up() {
    let folder = TempDir::new().unwrap();
    let (store, is_reached, opener) = gated(folder.path());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let name = key();
        let mut create = store.create(&name, Secret::new(b"value".to_vec()));
        let poll = poll_fn(|context| Poll::Ready(create.as_mut().poll(context)));
        assert!(poll.await.is_pending());
        is_reached.recv().unwrap();
    });
    assert!(!folder.path().join("my-key").exists(), "a key is visible before it is written");
    opener.send(()).unwrap();
    // This waits for the blocking work in progress.
    drop(runtime);
    assert_eq!(fs::read(folder.path().join("my-key")).unwrap(), b"value");
}

#[test]
fn a_key_that_went_to_a_directory_which_is_no_longer_there_is_not_confirmed() {
    let bench = Bench::new();
    let path = bench.folder.path().join("keys");
    let (store, is_reached, opener) = gated(&path);
    let create = thread::spawn(move || {
        create::create(&store.directory, &key(), &Secret::new(b"value".to_vec()))
    });
    is_reached.recv().unwrap();
    fs::rename(&path, bench.folder.path().join("elsewhere")).unwrap();
    opener.send(()).unwrap();
    assert_unreachable(create.join().unwrap(), &bench, "is gone");
}
