//! Searches the memory of a process.

use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use rustix::param::page_size;

/// What there is to be seen of a page in `/proc/<pid>/pagemap`: present, or swapped out.
const KEPT: u64 = 0b11 << 62;

/// Counts how often `needle` is found in the memory that a process can write to: heap, stacks, statics.
///
/// Read as `proc_pid_maps(5)`, `proc_pid_pagemap(5)` and `proc_pid_mem(5)` have it; the process must
/// be dumpable, or the caller root.
///
/// # Panics
/// If it cannot be read.
pub fn occurrences(pid: u32, needle: &[u8]) -> usize {
    found(pid, needle).len()
}

/// Finds `needle` in that memory: the name of each mapping, or its addresses if it has none.
///
/// # Panics
/// As [`occurrences`].
pub fn found(pid: u32, needle: &[u8]) -> Vec<String> {
    let memory = File::open(format!("/proc/{pid}/mem")).expect("its memory can be read");
    let pages = File::open(format!("/proc/{pid}/pagemap")).expect("its pages are known");
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("the process runs");
    let mut places = Vec::new();
    for line in maps.lines() {
        let runs = writable(line).map(|range| kept(&pages, range)).unwrap_or_default();
        for run in runs {
            let mut bytes = vec![0; run.len()];
            // What was unmapped meanwhile, as the stack of a thread that ended, holds nothing.
            if memory.read_exact_at(&mut bytes, run.start as u64).is_err() {
                continue;
            }
            let hits = bytes.windows(needle.len()).enumerate();
            let hits = hits.filter(|(_, window)| *window == needle);
            places.extend(hits.map(|(at, _)| format!("{:#x} in {line}", run.start + at)));
        }
    }
    places
}

/// Waits until no thread of a process runs or is about to, as `proc_pid_stat(5)` has it.
///
/// # Panics
/// If there is no such process.
pub async fn until_at_rest(pid: u32) {
    let is_busy = || {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs");
        let stats = threads.flatten().flat_map(|thread| fs::read(thread.path().join("stat")));
        // The state follows the name of the program, which is in parentheses.
        stats.into_iter().any(|stat| stat.windows(3).any(|text| text == b") R"))
    };
    while is_busy() {
        tokio::task::yield_now().await;
    }
}

/// The addresses of a line of `maps`, if the process may write there.
fn writable(line: &str) -> Option<Range<usize>> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).expect("an address");
    words.next()?.contains('w').then(|| address(start)..address(end))
}

/// The runs of pages in `range` that hold something: most of what an allocator reserved is not there.
fn kept(pages: &File, range: Range<usize>) -> Vec<Range<usize>> {
    let size = page_size();
    let mut entries = vec![0; range.len() / size * size_of::<u64>()];
    let at = range.start / size * size_of::<u64>();
    if pages.read_exact_at(&mut entries, at as u64).is_err() {
        return Vec::new();
    }
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (entry, page) in entries.chunks_exact(size_of::<u64>()).zip(range.step_by(size)) {
        let entry = u64::from_ne_bytes(entry.try_into().expect("eight bytes"));
        match runs.last_mut() {
            _ if entry & KEPT == 0 => {}
            Some(run) if run.end == page => run.end += size,
            _ => runs.push(page..page + size),
        }
    }
    runs
}
