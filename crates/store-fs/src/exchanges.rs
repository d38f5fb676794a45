//! Tests the store while other threads exchange paths repeatedly.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use kes_crypto::SystemRandom;
use kes_store::StoreError;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use tempfile::TempDir;

use crate::directory::Directory;
use crate::fake::Disk;
use crate::interleavings::{
    INSIDE, KERNELS, OUTSIDE, bench_on, contents, create, delete, names, read,
};

/// Exchanges two paths while `work` runs, and then until they are at their original places.
fn while_exchanging<T>(one: &Path, other: &Path, work: impl FnOnce() -> T) -> T {
    struct DoneOnDrop<'a>(&'a AtomicBool);

    impl Drop for DoneOnDrop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    let exchange = || renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                exchange();
                thread::yield_now();
                exchange();
                thread::yield_now();
            }
        });
        let _done = DoneOnDrop(&is_done);
        work()
    })
}

#[test]
fn a_folder_that_is_exchanged_for_a_link_never_leads_outside() {
    const ROUNDS: usize = 20_000;
    for kernel in KERNELS {
        let outside = TempDir::new().unwrap();
        fs::write(outside.path().join("my-key"), OUTSIDE).unwrap();
        let bench = bench_on(kernel);
        let path = bench.folder.path();
        let (data, link) = (path.join("..data"), path.join("..link"));
        fs::create_dir(&data).unwrap();
        fs::write(data.join("my-key"), INSIDE).unwrap();
        symlink(outside.path(), &link).unwrap();
        symlink("..data/my-key", path.join("my-key")).unwrap();
        symlink(data.join("my-key"), path.join("absolute")).unwrap();
        symlink("..data/../..data/my-key", path.join("roundabout")).unwrap();

        let directory = &bench.directory;
        let (mut inside, mut refused) = (0, 0);
        while_exchanging(&data, &link, || {
            for round in 0..ROUNDS {
                let name = ["my-key", "absolute", "roundabout"][round % 3];
                match read(directory, name) {
                    Ok(value) => {
                        assert_eq!(value, INSIDE, "{kernel:?}: {name} in round {round}");
                        inside += 1;
                    }
                    Err(StoreError::Refused(_)) => refused += 1,
                    Err(error) => panic!("{error:?}"),
                }
                if round % 100 == 0 {
                    let created = create(directory, name, "other");
                    assert!(matches!(created, Err(StoreError::Exists(_))), "{created:?}");
                    create(directory, "other", "other").unwrap();
                    names(directory).unwrap();
                    delete(directory, "other").unwrap();
                }
            }
        });
        assert!(inside > 0 && refused > 0, "{inside} read, {refused} refused: no exchange");
        delete(directory, "my-key").unwrap();
        assert_eq!(contents(outside.path()), [("my-key".to_owned(), OUTSIDE.to_owned())]);
        assert_eq!(contents(&data), [("my-key".to_owned(), INSIDE.to_owned())]);
    }
}

#[test]
fn a_key_directory_that_is_exchanged_for_another_leaves_that_one_as_it_is() {
    const ROUNDS: usize = 300;
    let folder = TempDir::new().unwrap();
    let (keys, other) = (folder.path().join("keys"), folder.path().join("other"));
    for path in [&keys, &other] {
        fs::create_dir(path).unwrap();
    }
    fs::write(other.join("theirs"), OUTSIDE).unwrap();
    let directory =
        Directory::open(&keys, Box::new(Disk::default()), Arc::new(SystemRandom::new())).unwrap();

    let passes = |error: &StoreError| matches!(error, StoreError::Unreachable(_));
    while_exchanging(&keys, &other, || {
        for round in 0..ROUNDS {
            let name = format!("ours-{}", round % 3);
            match create(&directory, &name, INSIDE) {
                Ok(()) | Err(StoreError::Exists(_)) => {}
                Err(error) => assert!(passes(&error), "{error:?}"),
            }
            match read(&directory, &name) {
                Ok(value) => assert_eq!(value, INSIDE),
                Err(StoreError::NotFound(_)) => {}
                Err(error) => assert!(passes(&error), "{error:?}"),
            }
            match delete(&directory, &name) {
                Ok(()) | Err(StoreError::NotFound(_)) => {}
                Err(error) => assert!(passes(&error), "{error:?}"),
            }
            match read(&directory, "theirs") {
                Ok(value) => panic!("read from another directory: {value}"),
                Err(StoreError::NotFound(_)) => {}
                Err(error) => assert!(passes(&error), "{error:?}"),
            }
            assert!(!names(&directory).is_ok_and(|names| names.contains(&"theirs".to_owned())));
        }
    });
    assert_eq!(contents(&other), [("theirs".to_owned(), OUTSIDE.to_owned())]);
}
