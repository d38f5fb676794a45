//! Temporary folders that no other user can read, write to or replace.

use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{Mode, OFlags, open, openat};
use rustix::process::{getegid, geteuid};
use tempfile::TempDir;

/// The permissions of other users for a folder.
const OF_OTHERS: u32 = 0o077;

/// The permissions of the group and of all other users to write to a folder.
///
/// The sticky bit prevents that they remove or rename files of others.
const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// A folder for this user only, which is removed with its files when this is dropped.
pub(crate) struct PrivateFolder {
    folder: TempDir,
    /// The open folder, independent of what is at its path later.
    handle: OwnedFd,
}

impl PrivateFolder {
    /// Makes a folder with a random name in `parent`; fails if another user could replace it.
    pub(crate) fn new_in(parent: &Path, prefix: &str) -> io::Result<Self> {
        let parent = parent.canonicalize().map_err(|error| about(parent, &error))?;
        for folder in parent.ancestors() {
            let found = fs::metadata(folder).map_err(|error| about(folder, &error))?;
            check_above(folder, &found)?;
        }
        let private = Permissions::from_mode(0o700);
        let folder =
            tempfile::Builder::new().prefix(prefix).permissions(private).tempdir_in(&parent)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = File::from(open(folder.path(), flags, Mode::empty())?);
        let found = handle.metadata()?;
        if found.uid() != geteuid().as_raw() || found.mode() & OF_OTHERS != 0 {
            let shown = folder.path().display();
            return Err(refused(format!("'{shown}' is open to other users")));
        }
        Ok(Self { folder, handle: handle.into() })
    }

    /// The path of the folder.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a new file for this user only; fails if the name exists, also as a link.
    pub(crate) fn write(&self, name: &str, contents: &[u8]) -> io::Result<()> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&self.handle, name, flags, Mode::RUSR | Mode::WUSR)?;
        File::from(file).write_all(contents)
    }
}

/// Checks that other users cannot rename entries of a folder.
fn check_above(folder: &Path, found: &Metadata) -> io::Result<()> {
    let shown = folder.display();
    if found.uid() != 0 && found.uid() != geteuid().as_raw() {
        return Err(refused(format!("'{shown}' belongs to another user")));
    }
    // Many systems have a group for each user, which has no other members.
    let is_own_group = found.gid() == getegid().as_raw();
    let others = if is_own_group { OTHERS_WRITE } else { GROUP_WRITES | OTHERS_WRITE };
    if found.mode() & others != 0 && found.mode() & STICKY == 0 {
        return Err(refused(format!("other users can replace what is in '{shown}'")));
    }
    Ok(())
}

fn about(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("'{}': {error}", path.display()))
}

fn refused(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, message)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn the_folder_and_its_files_are_this_users_alone_and_are_removed() {
        let parent = tempfile::tempdir().unwrap();
        let folder = PrivateFolder::new_in(parent.path(), "a-").unwrap();
        folder.write("file", b"contents").unwrap();
        let (path, file) = (folder.path().to_owned(), folder.path().join("file"));
        assert!(path.file_name().unwrap().to_str().unwrap().starts_with("a-"));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o700);
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(fs::read(&file).unwrap(), b"contents");
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn what_has_the_name_of_a_file_is_neither_replaced_nor_followed() {
        let (parent, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folder = PrivateFolder::new_in(parent.path(), "a-").unwrap();
        let (old, new) = (elsewhere.path().join("old"), elsewhere.path().join("new"));
        fs::write(&old, "old").unwrap();
        symlink(&old, folder.path().join("to-old")).unwrap();
        symlink(&new, folder.path().join("to-new")).unwrap();
        fs::write(folder.path().join("plain"), "old").unwrap();
        for name in ["to-old", "to-new", "plain"] {
            let error = folder.write(name, b"secret").unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "{name}");
        }
        assert_eq!(fs::read(&old).unwrap(), b"old");
        assert!(!new.exists());
    }

    #[test]
    fn files_go_into_the_folder_that_was_made_also_if_its_path_changes() {
        let (parent, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folder = PrivateFolder::new_in(parent.path(), "a-").unwrap();
        let moved = parent.path().join("moved");
        fs::rename(folder.path(), &moved).unwrap();
        symlink(elsewhere.path(), folder.path()).unwrap();
        folder.write("file", b"secret").unwrap();
        assert!(moved.join("file").exists());
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_others_could_replace_is_not_made() {
        for (mode, is_made) in
            [(0o700, true), (0o755, true), (0o1777, true), (0o777, false), (0o757, false)]
        {
            let parent = tempfile::tempdir().unwrap();
            let inner = parent.path().join("inner");
            fs::create_dir(&inner).unwrap();
            set_mode(&inner, 0o700);
            let link = parent.path().join("link");
            symlink(&inner, &link).unwrap();
            set_mode(parent.path(), mode);
            for below in [parent.path(), &inner, &link] {
                let made = PrivateFolder::new_in(below, "a-");
                assert_eq!(made.is_ok(), is_made, "{mode:o} {}", below.display());
                drop(made);
                assert_eq!(fs::read_dir(&inner).unwrap().count(), 0);
            }
            assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 2);
        }
    }
}
