//! Fakes a kernel whose system calls fail or are interrupted, and a store directory on it.

use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};

use kes_crypto::SystemRandom;
use kes_store::StoreError;
use kes_types::{KeyName, Secret};
use rustix::fs::{Dir, OFlags};
use rustix::io::Errno;
use tempfile::TempDir;

use crate::directory::Directory;
use crate::syscalls::{Kernel, Syscalls};
use crate::{create, delete, read};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syscall {
    Write,
    SyncFile,
    Link,
    Rename,
    Unlink,
    SyncDirectory,
    ReadDirectory,
    OpenBeneath,
}

/// How a system call fails.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// The call does nothing or only a part of its work, and fails.
    Fails(Errno),
    /// The call does all of its work, and fails nevertheless.
    FailsAfterwards(Errno),
}

/// The kernel with injected faults and interruptions; it records the calls that change something.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    calls: Vec<Syscall>,
    fault: Option<(Syscall, Fault)>,
    interruptions: Vec<(Syscall, Box<dyn FnOnce() + Send>)>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("calls", &self.calls).finish_non_exhaustive()
    }
}

impl Disk {
    pub(crate) fn breaks(&self, call: Syscall, fault: Fault) {
        self.0.lock().unwrap().fault = Some((call, fault));
    }

    pub(crate) fn heals(&self) {
        self.0.lock().unwrap().fault = None;
    }

    /// Runs `work` before the next `call` that has no such work yet.
    pub(crate) fn interrupts(&self, call: Syscall, work: impl FnOnce() + Send + 'static) {
        self.0.lock().unwrap().interruptions.push((call, Box::new(work)));
    }

    pub(crate) fn take_calls(&self) -> Vec<Syscall> {
        std::mem::take(&mut self.0.lock().unwrap().calls)
    }

    fn change(&self, call: Syscall, work: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        self.0.lock().unwrap().calls.push(call);
        match self.begin(call) {
            None => work(),
            Some(Fault::Fails(errno)) => Err(errno.into()),
            Some(Fault::FailsAfterwards(errno)) => work().and_then(|()| Err(errno.into())),
        }
    }

    fn find<T>(&self, call: Syscall, work: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
        match self.begin(call) {
            None => work(),
            Some(Fault::Fails(errno) | Fault::FailsAfterwards(errno)) => Err(errno),
        }
    }

    fn begin(&self, call: Syscall) -> Option<Fault> {
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
        self.change(Syscall::Write, || Kernel.write_all(file, bytes)).inspect_err(|_| {
            Kernel.write_all(file, &bytes[..bytes.len() / 2]).unwrap();
        })
    }

    fn sync_file(&self, file: &File) -> io::Result<()> {
        self.change(Syscall::SyncFile, || Kernel.sync_file(file))
    }

    fn link(&self, directory: BorrowedFd<'_>, from: &str, to: &str) -> io::Result<()> {
        self.change(Syscall::Link, || Kernel.link(directory, from, to))
    }

    fn rename(&self, directory: BorrowedFd<'_>, from: &str, to: &str) -> io::Result<()> {
        self.change(Syscall::Rename, || Kernel.rename(directory, from, to))
    }

    fn unlink(&self, directory: BorrowedFd<'_>, name: &str) -> io::Result<()> {
        self.change(Syscall::Unlink, || Kernel.unlink(directory, name))
    }

    fn sync_directory(&self, directory: BorrowedFd<'_>) -> io::Result<()> {
        self.change(Syscall::SyncDirectory, || Kernel.sync_directory(directory))
    }

    fn read_directory(&self, directory: BorrowedFd<'_>) -> Result<Dir, Errno> {
        self.find(Syscall::ReadDirectory, || Kernel.read_directory(directory))
    }

    fn open_beneath(
        &self,
        directory: BorrowedFd<'_>,
        path: &str,
        flags: OFlags,
    ) -> Result<OwnedFd, Errno> {
        self.find(Syscall::OpenBeneath, || Kernel.open_beneath(directory, path, flags))
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

/// Formats the error and its causes as the log shows them.
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
pub(crate) fn assert_explained(error: &StoreError, bench: &Bench, why: &str) {
    let chain = chain(error);
    assert!(chain.contains(bench.folder.path().to_str().unwrap()), "no path in: {chain}");
    assert!(chain.contains(why), "no cause in: {chain}");
}
