//! What a server process uses, and where it runs.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tokio::process::Command;

use crate::figure::real;

/// Linux tells times to programs in hundredths of a second.
const NANOS_PER_TICK: u64 = 10_000_000;

/// Processor time that the threads of a process have had: nanoseconds by thread, because threads
/// that end take theirs with them.
#[derive(Debug)]
pub(crate) struct Cpu(BTreeMap<String, u64>);

impl Cpu {
    /// To the nanosecond (`/proc/<pid>/task/*/schedstat`), or to the tick where the kernel does not
    /// keep that (`/proc/<pid>/stat`).
    pub(crate) fn of(pid: u32) -> Self {
        let mut threads = BTreeMap::new();
        let folder = fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs");
        for thread in folder.flatten() {
            // A thread may end while we look.
            let Ok(text) = fs::read_to_string(thread.path().join("schedstat")) else { continue };
            let time = text.split_whitespace().next().and_then(|time| time.parse().ok());
            threads.insert(thread.file_name().to_string_lossy().into_owned(), time.unwrap_or(0));
        }
        if threads.is_empty() {
            threads.insert("all".to_owned(), ticks(&pid.to_string(), 2) * NANOS_PER_TICK);
        }
        Self(threads)
    }

    /// What was used after `before`.
    pub(crate) fn since(&self, before: &Self) -> Duration {
        let used = self.0.iter().map(|(thread, time)| {
            time.saturating_sub(before.0.get(thread).copied().unwrap_or_default())
        });
        Duration::from_nanos(used.sum())
    }
}

/// The first so many of utime, stime, cutime and cstime of `/proc/<process>/stat`, together.
pub(crate) fn ticks(process: &str, times: usize) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("the process runs");
    // The name, in parentheses, may hold anything.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let times = fields.split_whitespace().skip(11).take(times);
    times.map(|ticks| ticks.parse::<u64>().expect("times are ticks")).sum()
}

/// A figure of `/proc/<pid>/status` that is in KiB, in megabytes of 10^6 bytes.
pub(crate) fn megabytes(pid: u32, name: &str) -> f64 {
    real(kes_harness::status(pid, name)) * 1024.0 / 1e6
}

/// Sets the peak of a process's memory back to what it has now; says whether we may.
pub(crate) fn reset_peak(pid: u32) -> bool {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").is_ok()
}

/// Lets this process have as many open files as the system permits.
pub(crate) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    // Where it cannot be raised it stays as it is.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// The processors of servers and of clients: the first two that we may use, or none where there
/// is one alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places(Option<Taken>);

#[derive(Clone, Copy, Debug)]
struct Taken {
    all: CpuSet,
    server: usize,
    client: usize,
}

impl Places {
    /// Chooses them and moves this thread to the clients'.
    pub(crate) fn take() -> Self {
        let places = Self(Taken::choose());
        places.gather();
        places
    }

    /// Moves this thread to the clients' processor.
    pub(crate) fn gather(self) {
        if let Some(taken) = self.0 {
            let mut set = CpuSet::new();
            set.set(taken.client);
            sched_setaffinity(None, &set).expect("it is one of ours");
        }
    }

    /// Lets this thread, and what it starts, run on any processor.
    pub(crate) fn spread(self) {
        if let Some(taken) = self.0 {
            sched_setaffinity(None, &taken.all).expect("they are ours");
        }
    }

    /// The same command on the servers' processor.
    pub(crate) fn pin(self, command: Command) -> Command {
        match self.0 {
            None => command,
            Some(taken) => under(&["taskset", "--cpu-list", &taken.server.to_string()], &command),
        }
    }
}

impl Taken {
    fn choose() -> Option<Self> {
        let all = sched_getaffinity(None).ok()?;
        let mut allowed = (0..CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu));
        Some(Self { all, server: allowed.next()?, client: allowed.next()? })
    }
}

/// A command without the capability by which root locks memory beyond its limit, so that the
/// server runs as it does for an ordinary user.
pub(crate) fn without_locking(command: &Command) -> Command {
    under(&["setpriv", "--inh-caps=-ipc_lock", "--bounding-set=-ipc_lock"], command)
}

/// A command that is started by another, which becomes it.
fn under(starter: &[&str], command: &Command) -> Command {
    let inner = command.as_std();
    let mut outer = Command::new(starter[0]);
    outer.args(&starter[1..]).arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    outer
}
