//! Tests the files in a key directory, and how the store treats files of other programs.

#![expect(clippy::unwrap_used, reason = "what helps a test may fail it")]

use std::error::Error as _;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use kes_crypto::SystemRandom;
use kes_store::{KeyStore as _, ListQuery, Page, StoreError, VALUE_LEN_MAX};
use kes_store_fs::{FsStore, OpenError, OpenWarning};
use kes_types::{Clock, KeyName, Secret, SystemClock};
use rustix::fs::{CWD, Mode, mkfifoat};
use tempfile::TempDir;

/// A wall clock that is stopped.
#[derive(Debug)]
struct FixedClock(SystemTime);

impl Clock for FixedClock {
    fn now(&self) -> SystemTime {
        self.0
    }

    fn monotonic(&self) -> Instant {
        SystemClock.monotonic()
    }
}

fn open(path: &Path) -> FsStore {
    FsStore::open(path, Arc::new(SystemClock), Arc::new(SystemRandom::new())).unwrap().0
}

fn folder() -> TempDir {
    TempDir::new().unwrap()
}

fn key(name: &str) -> KeyName {
    KeyName::parse(name).unwrap()
}

fn secret(value: &str) -> Secret {
    Secret::new(value.as_bytes().to_vec())
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

async fn names(store: &FsStore) -> Vec<String> {
    let limit = std::num::NonZeroUsize::new(100).unwrap();
    let query = ListQuery { prefix: String::new(), from: None, limit };
    let Page { names, next } = store.list(&query).await.unwrap();
    assert_eq!(next, None);
    names.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn assert_refused(result: Result<Secret, StoreError>, why: &str) {
    match result {
        Err(error @ StoreError::Refused(_)) => {
            let cause = error.source().unwrap();
            let chain = match cause.source() {
                Some(source) => format!("{cause}: {source}"),
                None => cause.to_string(),
            };
            assert!(chain.contains(why), "no `{why}` in `{chain}`");
        }
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_key_is_one_private_file_with_the_value_and_nothing_else() {
    let folder = folder();
    let path = folder.path().join("new/keys");
    let (store, warnings) =
        FsStore::open(&path, Arc::new(SystemClock), Arc::new(SystemRandom::new())).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(&folder.path().join("new")), 0o700);

    store.create(&key("my-key"), secret("{\"v\":1}")).await.unwrap();
    let file = path.join("my-key");
    assert_eq!(fs::read(&file).unwrap(), b"{\"v\":1}");
    assert_eq!(mode(&file), 0o600);
    assert_eq!(fs::metadata(&file).unwrap().nlink(), 1);
    assert_eq!(fs::read_dir(&path).unwrap().count(), 1, "a staging file is left");
    store.status().await.unwrap();
}

#[tokio::test]
async fn keys_outlive_the_store_that_made_them() {
    let folder = folder();
    open(folder.path()).create(&key("my-key"), secret("value")).await.unwrap();
    assert_eq!(open(folder.path()).get(&key("my-key")).await.unwrap().expose(), b"value");
}

#[tokio::test]
async fn leftovers_are_invisible_and_swept_after_an_hour() {
    let folder = folder();
    let leftover = folder.path().join(".kes-0123456789abcdef.tmp");
    let foreign = [".kes-notes.tmp", ".kes-0123.tmp", ".kes-0123456789abcdef.tmp~"];
    let foreign = foreign.map(|name| folder.path().join(name));
    let written = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    for path in foreign.iter().chain([&leftover]) {
        fs::write(path, "half a ke").unwrap();
        fs::File::options().write(true).open(path).unwrap().set_modified(written).unwrap();
    }
    let open_at = |seconds| {
        let clock = FixedClock(written + Duration::from_secs(seconds));
        FsStore::open(folder.path(), Arc::new(clock), Arc::new(SystemRandom::new())).unwrap().0
    };
    for age in [0, 3600] {
        let store = open_at(age);
        assert!(leftover.exists(), "swept after {age} s");
        assert_eq!(names(&store).await, [""; 0]);
    }
    // With a clock that is behind, no file counts as old.
    let clock = FixedClock(SystemTime::UNIX_EPOCH);
    FsStore::open(folder.path(), Arc::new(clock), Arc::new(SystemRandom::new())).unwrap();
    assert!(leftover.exists());

    open_at(3601);
    assert!(!leftover.exists(), "not swept");
    assert!(foreign.iter().all(|path| path.exists()), "swept what is not ours");
}

#[tokio::test]
async fn what_is_no_key_is_passed_over() {
    let folder = folder();
    let store = open(folder.path());
    store.create(&key("my-key"), secret("value")).await.unwrap();
    for name in ["a.b", ".hidden", "-dash", "dash-", "_", "spa ce", "schlüssel", &"a".repeat(81)] {
        fs::write(folder.path().join(name), "no key").unwrap();
    }
    fs::create_dir(folder.path().join("directory")).unwrap();
    mkfifoat(CWD, folder.path().join("pipe"), Mode::RUSR | Mode::WUSR).unwrap();
    let _socket = UnixListener::bind(folder.path().join("socket")).unwrap();
    symlink("/dev/zero", folder.path().join("zeros")).unwrap();
    assert_eq!(names(&store).await, ["my-key"]);

    // None of these blocks a read, or counts as a key or as a free name.
    assert_refused(store.get(&key("pipe")).await, "is not a regular file");
    assert_refused(store.get(&key("directory")).await, "is not a regular file");
    assert_refused(store.get(&key("socket")).await, "socket`");
    assert_refused(store.get(&key("zeros")).await, "leads out of the key directory");
    for name in ["pipe", "directory", "socket"] {
        assert!(matches!(store.delete(&key(name)).await, Err(StoreError::Refused(_))), "{name}");
        let created = store.create(&key(name), secret("value")).await;
        assert!(matches!(created, Err(StoreError::Exists(_))), "{name}: {created:?}");
        assert!(folder.path().join(name).symlink_metadata().is_ok());
    }
}

#[tokio::test]
async fn a_mounted_kubernetes_secret_is_read_and_listed() {
    let folder = folder();
    let data = folder.path().join("..2026_11_24_06_00_00.1");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("my-key"), "value").unwrap();
    symlink("..2026_11_24_06_00_00.1", folder.path().join("..data")).unwrap();
    symlink("..data/my-key", folder.path().join("my-key")).unwrap();
    symlink("my-key", folder.path().join("alias")).unwrap();
    symlink(data.join("my-key"), folder.path().join("absolute")).unwrap();

    let store = open(folder.path());
    assert_eq!(names(&store).await, ["absolute", "alias", "my-key"]);
    for name in ["my-key", "alias", "absolute"] {
        assert_eq!(store.get(&key(name)).await.unwrap().expose(), b"value", "{name}");
    }
    let created = store.create(&key("my-key"), secret("other")).await;
    assert!(matches!(created, Err(StoreError::Exists(_))));
    assert_eq!(fs::read(data.join("my-key")).unwrap(), b"value");
}

#[tokio::test]
async fn links_that_lead_outside_nowhere_or_in_circles_are_errors_and_not_listed() {
    let outside = folder();
    fs::write(outside.path().join("file"), "not ours").unwrap();
    let folder = folder();
    fs::create_dir(folder.path().join("directory")).unwrap();
    let link = |target: &Path, name: &str| symlink(target, folder.path().join(name)).unwrap();
    link(&outside.path().join("file"), "outside");
    link(outside.path(), "..data");
    link(Path::new("..data/file"), "roundabout");
    link(Path::new("gone"), "dangling");
    link(Path::new("circle"), "circle");
    link(Path::new("directory"), "to-directory");
    link(Path::new("."), "to-itself");

    // A directory whose name starts with the name of the key directory is outside, too.
    let neighbour = format!("{}-2", folder.path().display());
    fs::create_dir(&neighbour).unwrap();
    fs::write(Path::new(&neighbour).join("file"), "not ours").unwrap();
    link(&Path::new(&neighbour).join("file"), "neighbour");

    let store = open(folder.path());
    assert_eq!(names(&store).await, [""; 0]);
    for (name, why) in [
        ("outside", "leads out of the key directory"),
        ("roundabout", "leads out of the key directory"),
        ("neighbour", "leads out of the key directory"),
        ("to-itself", "leads out of the key directory"),
        ("dangling", "No such file"),
        ("circle", "symbolic links"),
        ("to-directory", "is not a regular file"),
    ] {
        assert_refused(store.get(&key(name)).await, why);
    }
    fs::remove_dir_all(neighbour).unwrap();
}

#[tokio::test]
async fn the_key_directory_may_itself_be_a_link() {
    let folder = folder();
    fs::create_dir(folder.path().join("real")).unwrap();
    symlink("real", folder.path().join("link")).unwrap();
    let store = open(&folder.path().join("link"));
    store.create(&key("my-key"), secret("value")).await.unwrap();
    symlink("my-key", folder.path().join("real/alias")).unwrap();
    assert_eq!(store.get(&key("alias")).await.unwrap().expose(), b"value");
    assert_eq!(names(&store).await, ["alias", "my-key"]);
}

#[tokio::test]
async fn an_oversized_file_is_an_error_and_an_empty_one_is_empty() {
    let folder = folder();
    let store = open(folder.path());
    fs::write(folder.path().join("largest"), vec![b'x'; VALUE_LEN_MAX]).unwrap();
    fs::write(folder.path().join("too-large"), vec![b'x'; VALUE_LEN_MAX + 1]).unwrap();
    fs::write(folder.path().join("empty"), "").unwrap();
    let largest = store.get(&key("largest")).await.unwrap();
    assert_eq!(largest.expose().len(), VALUE_LEN_MAX);
    assert_refused(store.get(&key("too-large")).await, "too-large` is longer than 1048576 bytes");
    assert_eq!(store.get(&key("empty")).await.unwrap().expose(), b"");
}

#[test]
fn a_directory_open_to_others_is_warned_about() {
    let folder = folder();
    for (bits, warned) in [(0o700, false), (0o750, true), (0o701, true), (0o705, true)] {
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(bits)).unwrap();
        let (_, warnings) =
            FsStore::open(folder.path(), Arc::new(SystemClock), Arc::new(SystemRandom::new()))
                .unwrap();
        match warnings.as_slice() {
            [] => assert!(!warned, "{bits:o}"),
            [warning @ OpenWarning::OpenToOthers { mode, .. }] => {
                assert!(warned && *mode == bits);
                assert!(warning.to_string().contains(&format!("{bits:04o}")), "{warning}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_path_that_cannot_be_a_directory_says_why() {
    let folder = folder();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let open = |path: &Path| {
        FsStore::open(path, Arc::new(SystemClock), Arc::new(SystemRandom::new())).unwrap_err()
    };
    assert!(matches!(open(&file), OpenError::Open { path, .. } if path == file));
    let error = open(&file.join("keys"));
    assert!(error.to_string().contains("file/keys"), "{error}");
    assert!(error.source().unwrap().to_string().contains("Not a directory"));
    let error = open(Path::new("/proc/no-such-place/keys"));
    assert!(matches!(&error, OpenError::Make { .. }), "{error:?}");
    assert!(error.to_string().contains("/proc/no-such-place"), "{error}");
}
