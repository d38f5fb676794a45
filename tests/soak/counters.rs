//! Counters of the answers during a soak.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The longest that an answer may take.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(15);

/// Counts of answers, and everything that should not have been.
#[derive(Debug, Default)]
pub(crate) struct Counters(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    answers: BTreeMap<(&'static str, u16), usize>,
    wrong: Vec<String>,
    slow: Vec<String>,
    longest: Duration,
}

impl Counters {
    /// Takes note of an answer.
    pub(crate) fn answered(&self, operation: &'static str, status: u16, took: Duration) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.answers.entry((operation, status)).or_default() += 1;
        counts.longest = counts.longest.max(took);
        if took > ANSWER_MAX {
            counts.slow.push(format!("{operation}: {status} after {took:?}"));
        }
    }

    /// Takes note of an answer that is wrong.
    pub(crate) fn wrong(&self, what: String) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.wrong.push(what);
    }

    /// How many answers were wrong, and how many late.
    pub(crate) fn faults(&self) -> (usize, usize) {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (counts.wrong.len(), counts.slow.len())
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let total: usize = counts.answers.values().sum();
        writeln!(f, "answers                {total}")?;
        for ((operation, status), count) in &counts.answers {
            writeln!(f, "  {operation:<12} {status}     {count}")?;
        }
        writeln!(f, "longest                {:.1} s", counts.longest.as_secs_f64())?;
        writeln!(f, "answers over {} s      {}", ANSWER_MAX.as_secs(), counts.slow.len())?;
        write!(f, "wrong answers          {}", counts.wrong.len())?;
        for what in counts.wrong.iter().chain(&counts.slow).take(20) {
            write!(f, "\n  {what}")?;
        }
        Ok(())
    }
}
