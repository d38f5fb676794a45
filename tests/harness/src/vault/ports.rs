//! Finds the port that a process listens on.

use std::collections::BTreeSet;
use std::fs;

/// The one port on loopback that the process listens on, except those that are `known`.
///
/// # Panics
/// If there is not exactly one.
pub(super) fn listening(pid: u32, known: &[u16]) -> u16 {
    let sockets = sockets(pid);
    let table = fs::read_to_string("/proc/net/tcp").expect("Linux has this file");
    // The table changes while it is read: rows may come twice.
    let mut ports: BTreeSet<u16> = table
        .lines()
        .skip(1)
        .filter_map(|line| {
            // proc_pid_net(5): sl, local address, remote address, state, …, inode in the tenth field.
            let fields: Vec<&str> = line.split_whitespace().collect();
            let is_listening = *fields.get(3)? == "0A";
            let is_ours = sockets.contains(*fields.get(9)?);
            let port = fields.get(1)?.rsplit_once(':')?.1;
            (is_listening && is_ours).then(|| u16::from_str_radix(port, 16).ok()).flatten()
        })
        .collect();
    ports.retain(|port| !known.contains(port));
    assert_eq!(ports.len(), 1, "process {pid} listens on {ports:?}");
    ports.into_iter().next().unwrap_or_default()
}

/// The inodes of the sockets that a process has open.
fn sockets(pid: u32) -> BTreeSet<String> {
    let folder = fs::read_dir(format!("/proc/{pid}/fd")).expect("the process runs");
    folder
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| {
            let link = link.to_string_lossy().into_owned();
            Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
        })
        .collect()
}
