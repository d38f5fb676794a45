//! Tests the store when another process changes the directory between two of its steps.

use std::fs::{self, File};
use std::num::NonZeroUsize;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use kes_crypto::SystemRandom;
use kes_store::{ListQuery, StoreError};
use kes_types::{KeyName, Secret};
use rustix::io::Errno;
use tempfile::TempDir;

use crate::directory::Directory;
use crate::fake::{Bench, Fault, Syscall, assert_refused, key};
use crate::syscalls::Kernel;
use crate::{create, delete, list, read, staging};

pub(crate) const INSIDE: &str = "value inside of the key directory";
pub(crate) const OUTSIDE: &str = "value outside of the key directory";

/// The errors of `openat2` on kernels and seccomp filters that lack it; none where it works.
pub(crate) const KERNELS: [Option<Errno>; 3] = [None, Some(Errno::NOSYS), Some(Errno::PERM)];

pub(crate) fn bench_on(kernel: Option<Errno>) -> Bench {
    let bench = Bench::new();
    if let Some(errno) = kernel {
        bench.disk.breaks(Syscall::OpenBeneath, Fault::Fails(errno));
    }
    bench
}

pub(crate) fn read(directory: &Directory, name: &str) -> Result<String, StoreError> {
    let value = read::read(directory, &KeyName::parse(name).unwrap())?;
    Ok(String::from_utf8(value.expose().to_vec()).unwrap())
}

pub(crate) fn create(directory: &Directory, name: &str, value: &str) -> Result<(), StoreError> {
    let value = Secret::new(value.as_bytes().to_vec());
    create::create(directory, &KeyName::parse(name).unwrap(), &value)
}

pub(crate) fn delete(directory: &Directory, name: &str) -> Result<(), StoreError> {
    delete::delete(directory, &KeyName::parse(name).unwrap())
}

pub(crate) fn names(directory: &Directory) -> Result<Vec<String>, StoreError> {
    let limit = NonZeroUsize::new(1000).unwrap();
    let query = ListQuery { prefix: String::new(), from: None, limit };
    Ok(list::list(directory, &query)?.names.iter().map(ToString::to_string).collect())
}

pub(crate) fn another_server(path: &Path) -> Directory {
    Directory::open(path, Box::new(Kernel), Arc::new(SystemRandom::new())).unwrap()
}

/// Returns a time at which every file counts as old.
pub(crate) fn much_later() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::MAX >> 8)
}

pub(crate) fn contents(folder: &Path) -> Vec<(String, String)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read_to_string(entry.path()).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// Returns whether the file system reuses the inode number of a file that was just removed.
fn numbers_are_reused(folder: &Path) -> bool {
    let path = folder.join("..probe");
    let number = || File::create(&path).unwrap().metadata().unwrap().ino();
    let first = number();
    fs::remove_file(&path).unwrap();
    let second = number();
    fs::remove_file(&path).unwrap();
    first == second
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that did not run must say so")]
fn a_deletion_never_takes_a_new_file_for_the_one_that_had_its_number() {
    let bench = Bench::new();
    let path = bench.folder.path().to_owned();
    if !numbers_are_reused(&path) {
        eprintln!("SKIPPED: this file system does not reuse inode numbers");
        return;
    }
    bench.disk.breaks(Syscall::Unlink, Fault::Fails(Errno::IO));
    bench.create("value").unwrap();
    bench.disk.heals();
    assert_eq!(bench.files().len(), 2, "the key is not marked");

    // While this server searches for the marks of the key, another server deletes it, writes new
    // keys, and creates this one again.
    let others: Vec<_> = (0..32).map(|number| format!(".kes-{number:016x}.tmp")).collect();
    let (new, names) = (path.clone(), others.clone());
    bench.disk.interrupts(Syscall::ReadDirectory, move || {
        for entry in fs::read_dir(&new).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        for name in names {
            fs::write(new.join(name), "new").unwrap();
        }
        fs::write(new.join("my-key"), "new").unwrap();
    });
    bench.delete().unwrap();
    assert_eq!(bench.files(), others, "the file of another key was removed");
}

#[test]
fn a_deletion_that_cannot_find_what_else_holds_the_value_changes_nothing() {
    let bench = Bench::new();
    bench.disk.breaks(Syscall::Unlink, Fault::Fails(Errno::IO));
    bench.create("value").unwrap();
    let before = bench.files();
    bench.disk.breaks(Syscall::ReadDirectory, Fault::Fails(Errno::IO));
    assert_refused(bench.delete(), &bench, "Input/output error");
    assert_eq!(bench.files(), before);
    assert_refused(names(&bench.directory), &bench, "Input/output error");
    bench.disk.heals();
    bench.delete().unwrap();
    assert_eq!(bench.files(), [""; 0]);
}

/// Covers a server that was suspended for more than an hour, and a starting server whose clock is
/// ahead.
#[test]
fn a_creation_succeeds_although_another_server_sweeps_its_file_away() {
    for call in
        [Syscall::Write, Syscall::SyncFile, Syscall::Link, Syscall::SyncDirectory, Syscall::Unlink]
    {
        let bench = Bench::new();
        let other = another_server(bench.folder.path());
        bench.disk.interrupts(call, move || {
            assert!(staging::sweep(&other, much_later()).is_empty());
        });
        bench.create("value").unwrap_or_else(|error| panic!("before {call:?}: {error:?}"));
        assert_eq!(contents(bench.folder.path()), [("my-key".to_owned(), "value".to_owned())]);
    }
}

#[test]
fn a_creation_whose_files_are_always_swept_away_fails_as_unreachable() {
    let bench = Bench::new();
    for _ in 0..10 {
        let other = another_server(bench.folder.path());
        bench.disk.interrupts(Syscall::Link, move || {
            staging::sweep(&other, much_later());
        });
    }
    crate::fake::assert_unreachable(bench.create("value"), &bench, "was removed before");
    assert_eq!(bench.files(), [""; 0]);
}

#[test]
fn a_file_that_is_being_swept_cannot_become_a_key_without_a_mark() {
    for call in [Syscall::SyncDirectory, Syscall::Unlink] {
        let bench = Bench::new();
        let path = bench.folder.path().to_owned();
        let other = another_server(&path);
        let name = key();
        let mut late = staging::Staging::write(&other, &name, b"value").unwrap();
        thread::scope(|scope| {
            let (swept, is_swept) = std::sync::mpsc::channel();
            let (linked, is_linked) = std::sync::mpsc::channel();
            bench.disk.interrupts(call, move || {
                swept.send(()).unwrap();
                is_linked.recv().unwrap();
            });
            let sweep = scope.spawn(|| staging::sweep(&bench.directory, much_later()));
            is_swept.recv().unwrap();
            let link = late.link(&name);
            linked.send(()).unwrap();
            assert_eq!(link.unwrap(), staging::Link::Swept, "{call:?}");
            assert!(sweep.join().unwrap().is_empty());
        });
        assert_eq!(bench.files(), [""; 0]);
    }
}

#[test]
fn a_key_that_comes_and_goes_while_it_is_read_does_not_exist() {
    let bench = Bench::new();
    let file = bench.folder.path().join("my-key");
    fs::write(&file, "value").unwrap();
    // The file does not exist yet at the first attempt, and no longer exists at the second.
    bench.disk.breaks(Syscall::OpenBeneath, Fault::Fails(Errno::NOENT));
    bench.disk.interrupts(Syscall::OpenBeneath, || {});
    bench.disk.interrupts(Syscall::OpenBeneath, move || fs::remove_file(file).unwrap());
    assert!(matches!(bench.get(), Err(StoreError::NotFound(_))));
}

#[test]
fn a_link_whose_target_is_in_doubt_fails_the_listing() {
    let bench = Bench::new();
    bench.create("value").unwrap();
    symlink("my-key", bench.folder.path().join("alias")).unwrap();
    assert_eq!(names(&bench.directory).unwrap(), ["alias", "my-key"]);
    bench.disk.breaks(Syscall::OpenBeneath, Fault::Fails(Errno::IO));
    assert_refused(names(&bench.directory), &bench, "Input/output error");
    bench.disk.breaks(Syscall::OpenBeneath, Fault::Fails(Errno::MFILE));
    crate::fake::assert_unreachable(names(&bench.directory), &bench, "Too many open files");
}

#[test]
fn links_lead_to_the_same_with_openat2_and_without() {
    let outside = TempDir::new().unwrap();
    fs::create_dir(outside.path().join("folder")).unwrap();
    for file in ["my-key", "folder/my-key"] {
        fs::write(outside.path().join(file), OUTSIDE).unwrap();
    }
    for kernel in KERNELS {
        let bench = bench_on(kernel);
        let path = bench.folder.path();
        symlink(path, outside.path().join("to-keys")).unwrap();
        fs::create_dir_all(path.join("..data/deep")).unwrap();
        fs::write(path.join("..data/my-key"), INSIDE).unwrap();
        fs::write(path.join("..data/deep/my-key"), INSIDE).unwrap();
        symlink(path.join("..data/deep"), path.join("..absolute")).unwrap();
        symlink(path.join("..data/my-key"), path.join("..data/deep/absolute")).unwrap();
        symlink(outside.path().join("folder"), path.join("..outside")).unwrap();
        let own = path.file_name().unwrap().to_str().unwrap();
        let (absolute, elsewhere) = (path.to_str().unwrap(), outside.path().to_str().unwrap());

        let inside = [
            "..data/my-key".to_owned(),
            "./..data/./deep/../my-key".to_owned(),
            "..data/deep/../../..data//my-key".to_owned(),
            "..absolute/my-key".to_owned(),
            "..data/deep/absolute".to_owned(),
            "..absolute/../my-key".to_owned(),
            format!("{absolute}/..data/my-key"),
            format!("{absolute}/..absolute/../deep/my-key"),
            format!("{absolute}/../{own}/..data/my-key"),
            format!("{elsewhere}/to-keys/..data/my-key"),
            format!("../{own}/..data/my-key"),
            "inside-0".to_owned(),
        ];
        let refused = [
            (format!("{elsewhere}/my-key"), "leads out of"),
            ("..outside/my-key".to_owned(), "leads out of"),
            ("..outside/../my-key".to_owned(), "leads out of"),
            (format!("{absolute}/..outside/my-key"), "leads out of"),
            (format!("{absolute}/../my-key"), "leads out of"),
            ("..data/../../my-key".to_owned(), "leads out of"),
            ("..data/../../../../../../../../../etc/passwd".to_owned(), "leads out of"),
            ("/proc/self/environ".to_owned(), "leads out of"),
            ("/".to_owned(), "leads out of"),
            ("..data/..".to_owned(), "leads out of"),
            (absolute.to_owned(), "leads out of"),
            ("..data/deep".to_owned(), "is not a regular file"),
            ("..data/deep/..".to_owned(), "is not a regular file"),
            ("..data/nothing".to_owned(), "No such file"),
            ("..data/my-key/my-key".to_owned(), "Not a directory"),
            ("refused-15".to_owned(), "symbolic links"),
            (format!("{absolute}/refused-16"), "symbolic links"),
        ];
        let all = |head: &str, number: usize| format!("{head}-{number}");
        for (number, target) in inside.iter().enumerate() {
            symlink(target, path.join(all("inside", number))).unwrap();
        }
        for (number, (target, _)) in refused.iter().enumerate() {
            symlink(target, path.join(all("refused", number))).unwrap();
        }
        for (number, target) in inside.iter().enumerate() {
            let value = read(&bench.directory, &all("inside", number));
            assert_eq!(value.unwrap(), INSIDE, "{kernel:?} {target}");
        }
        for (number, (_, why)) in refused.iter().enumerate() {
            assert_refused(read(&bench.directory, &all("refused", number)), &bench, why);
        }
        let mut keys: Vec<_> = (0..inside.len()).map(|number| all("inside", number)).collect();
        keys.sort();
        assert_eq!(names(&bench.directory).unwrap(), keys, "{kernel:?}");
        fs::remove_file(outside.path().join("to-keys")).unwrap();
    }
}

#[test]
fn a_path_without_end_is_refused_without_openat2() {
    let bench = bench_on(Some(Errno::NOSYS));
    let deep: Vec<_> = std::iter::repeat_n("d", 300).collect();
    fs::create_dir_all(bench.folder.path().join(deep.join("/"))).unwrap();
    symlink(format!("{}/my-key", deep.join("/")), bench.folder.path().join("my-key")).unwrap();
    symlink("./".repeat(100) + "other", bench.folder.path().join("many-dots")).unwrap();
    fs::write(bench.folder.path().join("other"), INSIDE).unwrap();
    assert_refused(bench.get(), &bench, "symbolic links");
    assert_eq!(read(&bench.directory, "many-dots").unwrap(), INSIDE);
}
