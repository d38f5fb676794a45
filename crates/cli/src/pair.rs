//! Writes two files that belong together: both or none.

use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;
use tempfile::{NamedTempFile, TempPath};

/// A file to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewFile<'a> {
    /// The path.
    pub(crate) path: &'a Path,
    /// The contents.
    pub(crate) contents: &'a [u8],
    /// The permissions, before the umask.
    pub(crate) mode: u32,
}

/// The reasons why the files were not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PairError {
    /// Both files have the same name.
    #[error("'{}' cannot be both files", .0.display())]
    Same(PathBuf),
    /// A file exists and must not be replaced.
    #[error("'{}' already exists", .0.display())]
    Exists(PathBuf),
    /// The path is not a regular file.
    #[error("'{}' is not a file", .0.display())]
    NotAFile(PathBuf),
    /// The path is a symbolic link to a file that does not exist.
    #[error("'{}' is a symbolic link to a file that does not exist", .0.display())]
    Dangling(PathBuf),
    /// The path is a symbolic link of another user, which may lead anywhere.
    #[error("'{}' is a symbolic link of another user", .0.display())]
    Foreign(PathBuf),
    /// Writing failed.
    #[error("cannot write '{}'", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
}

/// Returns the paths to write to: the targets of symbolic links, which stay.
///
/// Fails if existing files prevent writing.
pub(crate) fn check(paths: [&Path; 2], overwrite: bool) -> Result<[PathBuf; 2], PairError> {
    let [first, second] = paths;
    if is_same(first, second) {
        return Err(PairError::Same(first.to_owned()));
    }
    let targets = [target(first, overwrite)?, target(second, overwrite)?];
    // Two links may lead to one file.
    if is_same(&targets[0], &targets[1]) {
        return Err(PairError::Same(first.to_owned()));
    }
    Ok(targets)
}

/// Returns the file that a path leads to, or the path itself if it does not exist.
///
/// Only a regular file may be replaced, and only links of this user or of root are followed: in a folder
/// that other users write to, a link would let them choose the file that is replaced.
fn target(path: &Path, overwrite: bool) -> Result<PathBuf, PairError> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(path.to_owned()),
        Err(error) => return Err(failed(path)(error)),
    };
    let owner = found.uid();
    let found = found.file_type();
    if !found.is_file() && !found.is_symlink() {
        return Err(PairError::NotAFile(path.to_owned()));
    }
    if !overwrite {
        return Err(PairError::Exists(path.to_owned()));
    }
    if found.is_file() {
        return Ok(path.to_owned());
    }
    if owner != 0 && owner != geteuid().as_raw() {
        return Err(PairError::Foreign(path.to_owned()));
    }
    match fs::metadata(path) {
        Ok(found) if found.is_file() => path.canonicalize().map_err(failed(path)),
        Ok(_) => Err(PairError::NotAFile(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(PairError::Dangling(path.to_owned()))
        }
        Err(error) => Err(failed(path)(error)),
    }
}

/// Writes both files, or changes nothing.
///
/// Each file appears at once with all its contents; existing files are replaced only with `overwrite`.
pub(crate) fn write(files: [NewFile<'_>; 2], overwrite: bool) -> Result<(), PairError> {
    let [first, second] = files;
    let [first_target, second_target] = check([first.path, second.path], overwrite)?;
    let files =
        [NewFile { path: &first_target, ..first }, NewFile { path: &second_target, ..second }];
    rename_both(files, overwrite)
}

/// Writes both files or none, also if the paths have changed since they were checked.
fn rename_both(files: [NewFile<'_>; 2], overwrite: bool) -> Result<(), PairError> {
    let [first, second] = files;
    let (staged_first, staged_second) = (stage(&first)?, stage(&second)?);
    let old_first = if overwrite { set_aside(first.path)? } else { None };
    let installed = install(staged_first, first.path).and_then(|()| {
        replace(staged_second, second.path, overwrite).inspect_err(|_| {
            // This file is new: `install` does not replace files.
            let _ = fs::remove_file(first.path);
        })
    });
    match (installed, old_first) {
        (Err(error), Some(old)) => {
            old.persist(first.path).map_err(|lost| {
                // It keeps its temporary name, because it may be the only copy of a key.
                let kept = lost.path.keep();
                failed(kept.as_deref().unwrap_or(first.path))(lost.error)
            })?;
            Err(error)
        }
        (installed, _) => installed,
    }
}

/// Writes a file with a temporary name in the same folder.
fn stage(file: &NewFile<'_>) -> Result<NamedTempFile, PairError> {
    let write = || {
        let permissions = Permissions::from_mode(file.mode);
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix(".kes-").permissions(permissions);
        let mut staged = builder.tempfile_in(folder(file.path))?;
        staged.write_all(file.contents)?;
        staged.as_file().sync_all()?;
        Ok(staged)
    };
    write().map_err(failed(file.path))
}

/// Renames an existing file to a temporary name; it is removed when the returned path is dropped.
fn set_aside(path: &Path) -> Result<Option<TempPath>, PairError> {
    let aside = NamedTempFile::with_prefix_in(".kes-", folder(path)).map_err(failed(path))?;
    match fs::rename(path, aside.path()) {
        Ok(()) => Ok(Some(aside.into_temp_path())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(path)(error)),
    }
}

/// Renames a staged file to its name, if the name is free.
fn install(staged: NamedTempFile, path: &Path) -> Result<(), PairError> {
    match staged.persist_noclobber(path) {
        Ok(_) => Ok(()),
        Err(lost) if lost.error.kind() == io::ErrorKind::AlreadyExists => {
            Err(PairError::Exists(path.to_owned()))
        }
        Err(lost) => Err(failed(path)(lost.error)),
    }
}

fn replace(staged: NamedTempFile, path: &Path, overwrite: bool) -> Result<(), PairError> {
    if overwrite {
        staged.persist(path).map(drop).map_err(|lost| failed(path)(lost.error))
    } else {
        install(staged, path)
    }
}

/// Whether two paths name one file, however they are written.
fn is_same(first: &Path, second: &Path) -> bool {
    let resolved =
        |path: &Path| Some((folder(path).canonicalize().ok()?, path.file_name()?.to_owned()));
    first == second
        || matches!((resolved(first), resolved(second)), (Some(first), Some(second)) if first == second)
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> PairError {
    let path = path.to_owned();
    move |source| PairError::Write { path, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{lchown, symlink};
    use std::os::unix::net::UnixListener;

    use super::*;

    fn files<'a>(key: &'a Path, cert: &'a Path) -> [NewFile<'a>; 2] {
        [
            NewFile { path: key, contents: b"new key", mode: 0o600 },
            NewFile { path: cert, contents: b"new cert", mode: 0o644 },
        ]
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn one_file_under_two_names_is_refused_before_anything_is_changed() {
        let folder = tempfile::tempdir().unwrap();
        let (plain, dotted) = (folder.path().join("key"), folder.path().join("./key"));
        fs::write(&plain, "old").unwrap();
        assert!(matches!(write(files(&plain, &dotted), true), Err(PairError::Same(_))));
        assert_eq!(fs::read(&plain).unwrap(), b"old");
    }

    #[test]
    fn both_files_are_written_and_the_key_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let (key, cert) = (folder.path().join("key"), folder.path().join("cert"));
        write(files(&key, &cert), false).unwrap();
        assert_eq!(fs::read(&key).unwrap(), b"new key");
        assert_eq!(fs::read(&cert).unwrap(), b"new cert");
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(names(folder.path()), ["cert", "key"]);
    }

    #[test]
    fn nothing_is_written_when_one_of_the_files_is_there() {
        for taken in ["key", "cert"] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(taken), "old").unwrap();
            let (key, cert) = (folder.path().join("key"), folder.path().join("cert"));
            let error = write(files(&key, &cert), false).unwrap_err();
            assert!(matches!(error, PairError::Exists(path) if path.ends_with(taken)));
            assert_eq!(names(folder.path()), [taken]);
            assert_eq!(fs::read(folder.path().join(taken)).unwrap(), b"old");
        }
    }

    #[test]
    fn with_overwrite_both_are_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (key, cert) = (folder.path().join("key"), folder.path().join("cert"));
        fs::write(&key, "old").unwrap();
        write(files(&key, &cert), true).unwrap();
        write(files(&key, &cert), true).unwrap();
        assert_eq!(fs::read(&key).unwrap(), b"new key");
        assert_eq!(names(folder.path()), ["cert", "key"]);
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn when_the_second_cannot_be_written_the_first_is_as_before() {
        for overwrite in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let (key, cert) = (folder.path().join("key"), folder.path().join("cert"));
            fs::create_dir(&cert).unwrap();
            rename_both(files(&key, &cert), overwrite).unwrap_err();
            assert_eq!(names(folder.path()), ["cert"]);
            assert!(matches!(write(files(&key, &cert), true), Err(PairError::NotAFile(_))));

            fs::write(&key, "old").unwrap();
            rename_both(files(&key, &cert), overwrite).unwrap_err();
            assert_eq!(fs::read(&key).unwrap(), b"old");
            assert_eq!(names(folder.path()), ["cert", "key"]);
        }
    }

    #[test]
    fn other_kinds_of_files_are_refused_and_stay() {
        let folder = tempfile::tempdir().unwrap();
        let (plain, socket) = (folder.path().join("plain"), folder.path().join("socket"));
        let _listener = UnixListener::bind(&socket).unwrap();
        let link = folder.path().join("link");
        symlink(&socket, &link).unwrap();
        for special in [&socket, &link, Path::new("/proc/self/fd")] {
            let before = fs::symlink_metadata(special).unwrap().file_type();
            for files in [files(special, &plain), files(&plain, special)] {
                let error = write(files, true).unwrap_err();
                assert!(matches!(error, PairError::NotAFile(path) if path == special));
                assert!(!plain.exists());
            }
            assert_eq!(fs::symlink_metadata(special).unwrap().file_type(), before);
        }
        // Never with `true`: a fault would replace the machine's device.
        for special in [&socket, Path::new("/dev/null")] {
            let error = write(files(&plain, special), false).unwrap_err();
            assert!(matches!(error, PairError::NotAFile(path) if path == special));
        }
        let error = write(files(&link, &plain), false).unwrap_err();
        assert!(matches!(error, PairError::Exists(path) if path == link));
    }

    #[test]
    fn the_target_of_a_link_is_replaced_and_the_link_stays() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (key, cert) = (folder.path().join("key"), folder.path().join("cert"));
        let (target, middle) = (elsewhere.path().join("target"), folder.path().join("middle"));
        fs::write(&target, "old").unwrap();
        symlink(&target, &middle).unwrap();
        symlink("middle", &key).unwrap();
        assert!(matches!(write(files(&key, &cert), false), Err(PairError::Exists(_))));
        for both in [[&key, &middle], [&target, &key]] {
            assert!(matches!(write(files(both[0], both[1]), true), Err(PairError::Same(_))));
        }
        assert_eq!(fs::read(&target).unwrap(), b"old");
        write(files(&key, &cert), true).unwrap();
        assert_eq!(fs::read_link(&key).unwrap(), Path::new("middle"));
        assert!(fs::symlink_metadata(&target).unwrap().is_file());
        assert_eq!(fs::read(&target).unwrap(), b"new key");
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read(&cert).unwrap(), b"new cert");
        assert_eq!(names(folder.path()), ["cert", "key", "middle"]);
        assert_eq!(names(elsewhere.path()), ["target"]);
    }

    #[test]
    fn a_link_of_another_user_is_not_followed() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (key, cert) = (folder.path().join("key"), folder.path().join("cert"));
        let target = elsewhere.path().join("target");
        fs::write(&target, "old").unwrap();
        symlink(&target, &key).unwrap();
        // Only root can give a link away.
        if lchown(&key, Some(65534), None).is_err() {
            return;
        }
        for files in [files(&key, &cert), files(&cert, &key)] {
            let error = write(files, true).unwrap_err();
            assert!(matches!(error, PairError::Foreign(path) if path == key));
        }
        assert_eq!(fs::read(&target).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["key"]);
    }

    #[test]
    fn a_link_to_nothing_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (key, cert) = (folder.path().join("key"), folder.path().join("cert"));
        symlink("nothing", &cert).unwrap();
        let error = write(files(&key, &cert), true).unwrap_err();
        assert!(matches!(error, PairError::Dangling(path) if path == cert));
        assert!(matches!(write(files(&key, &cert), false), Err(PairError::Exists(_))));
        assert_eq!(names(folder.path()), ["cert"]);
    }

    #[test]
    fn one_name_cannot_be_both_files() {
        let path = Path::new("one");
        assert!(matches!(write(files(path, path), true), Err(PairError::Same(_))));
    }
}
