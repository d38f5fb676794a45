//! Settings of the process: locked memory, no core dumps, and the limit of open files.

use std::fmt;
use std::io;

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};
use rustix::thread::{CapabilitySet, capabilities};

/// Whether the process's memory is kept out of swap.
#[derive(Debug)]
pub(crate) enum Locking {
    /// All memory is locked when it is first used.
    Locked,
    /// Memory is not locked.
    NotLocked(NotLocked),
}

/// The reasons why memory is not locked.
#[derive(Debug)]
pub(crate) enum NotLocked {
    /// The limit is finite, so later allocations and threads would fail, because it counts address space.
    NotPermitted,
    /// The kernel refused.
    Refused(io::Error),
}

impl fmt::Display for NotLocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPermitted => f.write_str(
                "memory is not locked, keys may reach swap: grant the capability IPC_LOCK or set \
                 RLIMIT_MEMLOCK to unlimited (systemd: LimitMEMLOCK=infinity)",
            ),
            Self::Refused(error) => {
                write!(f, "memory is not locked, keys may reach swap: the kernel refused: {error}")
            }
        }
    }
}

/// Locks the current and future memory of the process, page by page when it is first used, if the system
/// permits to lock all of it.
pub(crate) fn lock() -> Locking {
    let is_unlimited = getrlimit(Resource::Memlock).current.is_none();
    let is_capable =
        capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK));
    if !is_unlimited && !is_capable {
        return Locking::NotLocked(NotLocked::NotPermitted);
    }
    match mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT) {
        Ok(()) => Locking::Locked,
        Err(error) => Locking::NotLocked(NotLocked::Refused(error.into())),
    }
}

/// Raises the limit of open files to the maximum and returns it; `None` means no limit.
pub(crate) fn raise_open_files() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // An error leaves the limit unchanged.
    let _ = setrlimit(Resource::Nofile, raised);
    getrlimit(Resource::Nofile).current
}

/// Forbids core dumps, and with `is_dumpable` false debuggers and `/proc/<pid>/mem` as well.
pub(crate) fn forbid_core_dumps(is_dumpable: bool) -> io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    if !is_dumpable {
        set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    }
    Ok(())
}
