//! What the store does when the disk fails between two steps.

use std::error::Error;
use std::fs::{self, File};
use std::future::poll_fn;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::task::Poll;
use std::thread;
use std::time::{Duration, SystemTime};

use kes_crypto::SystemRandom;
use kes_store::{KeyStore as _, StoreError};
use kes_types::{KeyName, Secret, SystemClock};
use rustix::fs::{Dir, OFlags};
use rustix::io::Errno;
use tempfile::TempDir;

use crate::directory::Directory;
use crate::syscalls::{Kernel, Syscalls};
use crate::{FsStore, create, delete, read, staging};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Write,
    SyncFile,
    Link,
    Rename,
    Unlink,
    SyncDirectory,
    ReadDirectory,
    OpenBeneath,
}

/// How a call goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// It does nothing, or half of what it should, and fails.
    Fails(Errno),
    /// It does what it should, and fails all the same.
    FailsAfterwards(Errno),
}

/// The kernel, with faults and interruptions; notes down the calls that change something.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    calls: Vec<Call>,
    fault: Option<(Call, Fault)>,
    interruptions: Vec<(Call, Box<dyn FnOnce() + Send>)>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("calls", &self.calls).finish_non_exhaustive()
    }
}

impl Disk {
    pub(crate) fn breaks(&self, call: Call, fault: Fault) {
        self.0.lock().unwrap().fault = Some((call, fault));
    }

    pub(crate) fn heals(&self) {
        self.0.lock().unwrap().fault = None;
    }

    /// Runs `work` before the next `call` that nothing runs before yet.
    pub(crate) fn interrupts(&self, call: Call, work: impl FnOnce() + Send + 'static) {
        self.0.lock().unwrap().interruptions.push((call, Box::new(work)));
    }

    pub(crate) fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.0.lock().unwrap().calls)
    }

    fn change(&self, call: Call, work: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        self.0.lock().unwrap().calls.push(call);
        match self.begin(call) {
            None => work(),
            Some(Fault::Fails(errno)) => Err(errno.into()),
            Some(Fault::FailsAfterwards(errno)) => work().and_then(|()| Err(errno.into())),
        }
    }

    fn find<T>(&self, call: Call, work: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
        match self.begin(call) {
            None => work(),
            Some(Fault::Fails(errno) | Fault::FailsAfterwards(errno)) => Err(errno),
        }
    }

    fn begin(&self, call: Call) -> Option<Fault> {
        let interruption = {
            let interruptions = &mut self.0.lock().unwrap().interruptions;
            let next = interruptions.iter().position(|(at, _)| *at == call);
            next.map(|index| interruptions.remove(index))
        };
        if let Some((_, work)) = interruption {
            work();
        }
        let state = self.0.lock().unwrap();
        state.fault.filter(|(broken, _)| *broken == call).map(|(_, fault)| fault)
    }
}

impl Syscalls for Disk {
    fn write_all(&self, file: &File, bytes: &[u8]) -> io::Result<()> {
        self.change(Call::Write, || Kernel.write_all(file, bytes)).inspect_err(|_| {
            Kernel.write_all(file, &bytes[..bytes.len() / 2]).unwrap();
        })
    }

    fn sync_file(&self, file: &File) -> io::Result<()> {
        self.change(Call::SyncFile, || Kernel.sync_file(file))
    }

    fn link(&self, directory: BorrowedFd<'_>, from: &str, to: &str) -> io::Result<()> {
        self.change(Call::Link, || Kernel.link(directory, from, to))
    }

    fn rename(&self, directory: BorrowedFd<'_>, from: &str, to: &str) -> io::Result<()> {
        self.change(Call::Rename, || Kernel.rename(directory, from, to))
    }

    fn unlink(&self, directory: BorrowedFd<'_>, name: &str) -> io::Result<()> {
        self.change(Call::Unlink, || Kernel.unlink(directory, name))
    }

    fn sync_directory(&self, directory: BorrowedFd<'_>) -> io::Result<()> {
        self.change(Call::SyncDirectory, || Kernel.sync_directory(directory))
    }

    fn read_directory(&self, directory: BorrowedFd<'_>) -> Result<Dir, Errno> {
        self.find(Call::ReadDirectory, || Kernel.read_directory(directory))
    }

    fn open_beneath(
        &self,
        directory: BorrowedFd<'_>,
        path: &str,
        flags: OFlags,
    ) -> Result<OwnedFd, Errno> {
        self.find(Call::OpenBeneath, || Kernel.open_beneath(directory, path, flags))
    }
}

pub(crate) struct Bench {
    pub(crate) disk: Disk,
    pub(crate) directory: Directory,
    pub(crate) folder: TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let disk = Disk::default();
        let directory =
            Directory::open(folder.path(), Box::new(disk.clone()), Arc::new(SystemRandom::new()))
                .unwrap();
        Self { disk, directory, folder }
    }

    pub(crate) fn create(&self, value: &str) -> Result<(), StoreError> {
        create::create(&self.directory, &key(), &Secret::new(value.as_bytes().to_vec()))
    }

    pub(crate) fn get(&self) -> Result<Secret, StoreError> {
        read::read(&self.directory, &key())
    }

    pub(crate) fn delete(&self) -> Result<(), StoreError> {
        delete::delete(&self.directory, &key())
    }

    pub(crate) fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

pub(crate) fn key() -> KeyName {
    KeyName::parse("my-key").unwrap()
}

/// The error and its causes, as the log shows them.
pub(crate) fn chain(error: &dyn Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

#[track_caller]
pub(crate) fn assert_refused<T: std::fmt::Debug>(
    result: Result<T, StoreError>,
    bench: &Bench,
    why: &str,
) {
    match result {
        Err(error @ StoreError::Refused(_)) => assert_explained(&error, bench, why),
        other => panic!("not refused: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn assert_unreachable<T: std::fmt::Debug>(
    result: Result<T, StoreError>,
    bench: &Bench,
    why: &str,
) {
    match result {
        Err(error @ StoreError::Unreachable(_)) => assert_explained(&error, bench, why),
        other => panic!("not unreachable: {other:?}"),
    }
}

#[track_caller]
fn assert_explained(error: &StoreError, bench: &Bench, why: &str) {
    let chain = chain(error);
    assert!(chain.contains(bench.folder.path().to_str().unwrap()), "no path in: {chain}");
    assert!(chain.contains(why), "no cause in: {chain}");
}

#[test]
fn a_key_is_synced_before_it_is_linked_and_its_name_before_it_is_confirmed() {
    let bench = Bench::new();
    bench.create("value").unwrap();
    assert_eq!(
        bench.disk.take_calls(),
        [Call::Write, Call::SyncFile, Call::Link, Call::SyncDirectory, Call::Unlink]
    );
    assert_eq!(bench.get().unwrap().expose(), b"value");
    assert_eq!(bench.disk.take_calls(), [], "a confirmed key costs a read no sync");
    bench.delete().unwrap();
    assert_eq!(bench.disk.take_calls(), [Call::Unlink, Call::SyncDirectory]);
}

#[test]
fn an_error_before_the_link_leaves_nothing() {
    for (call, errno, why) in [
        (Call::Write, Errno::NOSPC, "No space left on device"),
        (Call::Write, Errno::DQUOT, "quota exceeded"),
        (Call::SyncFile, Errno::IO, "Input/output error"),
        (Call::SyncFile, Errno::NOSPC, "No space left on device"),
        (Call::Link, Errno::ACCESS, "Permission denied"),
        (Call::Link, Errno::PERM, "hard-link"),
        (Call::Link, Errno::ROFS, "Read-only file system"),
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
        for call in [Call::Write, Call::SyncFile, Call::Link, Call::SyncDirectory] {
            let bench = Bench::new();
            bench.disk.breaks(call, Fault::Fails(errno));
            assert_unreachable(bench.create("value"), &bench, "");
        }
    }
}

#[test]
fn a_link_that_was_made_in_spite_of_its_error_counts() {
    // A repeated NFS request finds the name taken, by the first one.
    for errno in [Errno::EXIST, Errno::TIMEDOUT, Errno::IO] {
        let bench = Bench::new();
        bench.disk.breaks(Call::Link, Fault::FailsAfterwards(errno));
        bench.create("value").unwrap();
        assert_eq!(bench.files(), ["my-key"]);
        assert_eq!(bench.get().unwrap().expose(), b"value");
        assert!(bench.disk.take_calls().contains(&Call::SyncDirectory));
    }
}

#[test]
fn a_name_that_somebody_else_took_is_left_to_them() {
    // Their link comes between the first look and ours.
    let bench = Bench::new();
    let theirs = bench.folder.path().join("my-key");
    let mut ours = staging::Staging::write(&bench.directory, &key(), b"ours").unwrap();
    fs::write(&theirs, "theirs").unwrap();
    assert_eq!(ours.link(&key()).unwrap(), staging::Link::Taken);
    drop(ours);
    assert_eq!(bench.files(), ["my-key"]);

    assert!(matches!(bench.create("ours"), Err(StoreError::Exists(_))));
    bench.disk.breaks(Call::Link, Fault::Fails(Errno::IO));
    assert!(matches!(bench.create("ours"), Err(StoreError::Exists(_))));
    assert_eq!(fs::read(&theirs).unwrap(), b"theirs");
}

#[test]
fn an_unconfirmed_key_stays_and_is_confirmed_before_it_is_read() {
    let bench = Bench::new();
    bench.disk.breaks(Call::SyncDirectory, Fault::Fails(Errno::IO));
    assert_unreachable(bench.create("value"), &bench, "Input/output error");
    assert_eq!(fs::read(bench.folder.path().join("my-key")).unwrap(), b"value");
    assert_refused(bench.get(), &bench, "Input/output error");

    bench.disk.heals();
    bench.disk.take_calls();
    assert_eq!(bench.get().unwrap().expose(), b"value");
    assert_eq!(bench.disk.take_calls(), [Call::SyncDirectory]);
    assert!(matches!(bench.create("other"), Err(StoreError::Exists(_))));
}

#[test]
fn a_leftover_goes_only_when_its_key_is_durable() {
    let bench = Bench::new();
    bench.disk.breaks(Call::SyncDirectory, Fault::Fails(Errno::IO));
    bench.create("value").unwrap_err();
    let later = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::MAX >> 8);

    let warnings = staging::sweep(&bench.directory, later);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(chain(&warnings[0]).contains("Input/output error"));
    assert_eq!(bench.files().len(), 2);

    bench.disk.breaks(Call::Unlink, Fault::Fails(Errno::ROFS));
    let warnings = staging::sweep(&bench.directory, later);
    assert!(chain(&warnings[0]).contains("Read-only file system"), "{warnings:?}");
    assert!(chain(&warnings[0]).contains(".kes-"), "{warnings:?}");

    bench.disk.heals();
    bench.disk.take_calls();
    assert!(staging::sweep(&bench.directory, later).is_empty());
    assert_eq!(bench.disk.take_calls(), [Call::Rename, Call::SyncDirectory, Call::Unlink]);
    assert_eq!(bench.files(), ["my-key"]);
    assert_eq!(bench.get().unwrap().expose(), b"value");
}

#[test]
fn a_durable_key_whose_leftover_cannot_be_removed_is_confirmed() {
    let bench = Bench::new();
    bench.disk.breaks(Call::Unlink, Fault::Fails(Errno::IO));
    bench.create("value").unwrap();
    bench.disk.heals();
    assert_eq!(bench.get().unwrap().expose(), b"value");
    assert_eq!(bench.files().len(), 2);

    // A deletion takes the leftover along: it holds the value.
    bench.delete().unwrap();
    assert_eq!(bench.files(), [""; 0]);
}

#[test]
fn a_deletion_that_is_not_durable_is_not_confirmed() {
    let bench = Bench::new();
    bench.create("value").unwrap();
    bench.disk.breaks(Call::Unlink, Fault::Fails(Errno::ROFS));
    assert_refused(bench.delete(), &bench, "Read-only file system");
    assert_eq!(bench.get().unwrap().expose(), b"value");

    bench.disk.breaks(Call::SyncDirectory, Fault::Fails(Errno::IO));
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

/// A store whose first write waits, the news that it does, and the word that lets it go on.
fn gated(path: &Path) -> (FsStore, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (reached, is_reached) = mpsc::channel();
    let (opener, open) = mpsc::channel();
    let disk = Disk::default();
    disk.interrupts(Call::Write, move || {
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
    // Waits for the work under way.
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
