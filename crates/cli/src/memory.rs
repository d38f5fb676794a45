//! What the process asks of the system: keys stay in memory, not in swap and not in core dumps;
//! and as many open files as it may have.

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
    /// All of it, as it is touched.
    Locked,
    /// Not at all.
    NotLocked(NotLocked),
}

/// Why memory is not locked.
#[derive(Debug)]
pub(crate) enum NotLocked {
    /// Locking under a finite limit would make later allocations and threads fail: the limit
    /// counts address space.
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

/// Locks the process's memory, now and later, page by page as it is touched, where the system lets
/// it have all it asks for.
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

/// Raises the limit of open files as far as the system lets us; returns it, if there is one.
pub(crate) fn raise_open_files() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // Where it cannot be raised it stays as it is.
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
