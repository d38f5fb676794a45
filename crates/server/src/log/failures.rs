//! Logs failed requests and lost audit events, folded by message, status and innermost cause.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::time::Duration;

use crate::http::error::ApiError;
use crate::log::fold::{Count, Kind};
use crate::log::folded::{FoldedLog, Reported};

/// How many bytes of a cause are compared and logged.
const CAUSE_LEN_MAX: usize = 256;

/// Logs failed requests and lost audit events.
pub(crate) type Failures = FoldedLog<Failure>;

/// A kind of failure. Failures of one kind whose chains of causes differ, for example by the key name, count
/// as different sources, up to [`Kind::SOURCES_PER_KIND`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Failure {
    /// A request that failed because of the server or the key store.
    Request {
        message: Cow<'static, str>,
        status: u16,
        /// The innermost cause; the outer ones have the name of the key.
        cause: String,
    },
    /// An audit event that was not written to standard output.
    AuditLost { cause: String },
    /// Failures of different kinds, counted together.
    Various,
}

impl Failures {
    /// Counts audit events that were not written to standard output, and logs them once a second.
    pub(crate) fn audit_lost(&self, events: u64, cause: impl fmt::Display) {
        let failure = Failure::AuditLost { cause: beginning(cause) };
        if let Some(more) = self.take(&String::new(), &failure, events) {
            failure.log(None, more + 1);
        }
    }

    /// Counts a failed request. If it has to be logged at once, returns how many further failures the line
    /// includes.
    pub(crate) fn request_failed(&self, error: &ApiError) -> Option<u64> {
        let (failure, causes) = Failure::of(error);
        self.take(&causes, &failure, 1)
    }
}

impl Failure {
    /// Returns the kind of an error, and its chain of causes.
    fn of(error: &ApiError) -> (Self, String) {
        let causes = error.causes();
        let cause = causes.innermost().map_or_else(|| "-".to_owned(), beginning);
        let message = Cow::Owned(error.message().to_owned());
        (Self::Request { message, status: error.status().as_u16(), cause }, beginning(causes))
    }

    /// Logs `events` failures; `causes` is their chain of causes, if they have the same one.
    fn log(&self, causes: Option<&str>, events: u64) {
        match self {
            Self::Request { message, status, cause } => {
                let cause = causes.unwrap_or(cause);
                tracing::error!(status, %cause, repeated = events, "{message}");
            }
            Self::AuditLost { cause } => {
                tracing::error!(lost = events, %cause, "audit events were lost");
            }
            Self::Various => tracing::error!(repeated = events, "various failures"),
        }
    }
}

impl Kind for Failure {
    type Source = String;

    const WINDOW_MAX: Duration = Duration::from_secs(1);
    const COUNTS_MAX: usize = 1;
    const SOURCES_PER_KIND: usize = 10;
    const BURST_MAX: u64 = 100;

    fn lines_max(&self) -> u32 {
        match self {
            Self::Request { .. } | Self::Various => 5,
            Self::AuditLost { .. } => 1,
        }
    }

    fn various() -> Self {
        Self::Various
    }
}

impl Reported for Failure {
    fn report(count: &Count<Self>) {
        count.kind.log(count.source.as_deref(), count.repeated);
    }
}

/// Returns the beginning of a text, up to [`CAUSE_LEN_MAX`] bytes.
fn beginning(text: impl fmt::Display) -> String {
    struct Beginning(String);
    impl fmt::Write for Beginning {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let end = text.floor_char_boundary(CAUSE_LEN_MAX - self.0.len());
            self.0.push_str(&text[..end]);
            if end < text.len() { Err(fmt::Error) } else { Ok(()) }
        }
    }
    let mut text_start = Beginning(String::new());
    // Formatting stops with an error at the limit.
    let _ = write!(text_start, "{text}");
    text_start.0
}

#[cfg(test)]
mod tests {
    use kes_store::StoreError;
    use kes_types::{Clock as _, KeyName, SystemClock};

    use super::*;
    use crate::http::error::StoreOperation;
    use crate::log::fold::Fold;

    fn failed(cause: &str) -> ApiError {
        ApiError::call(StoreOperation::Read, StoreError::Unreachable(cause.into()).into())
    }

    fn unread(key: &str) -> ApiError {
        let name = KeyName::parse(key).unwrap();
        let error = StoreError::Unreachable("a".into());
        ApiError::key(kes_keyring::GetError::Store(name, error).into())
    }

    #[test]
    fn requests_are_folded_by_message_status_and_innermost_cause() {
        assert_eq!(Failure::of(&failed("a")), Failure::of(&failed("a")));
        assert_ne!(Failure::of(&failed("a")), Failure::of(&failed("b")));
        assert_ne!(Failure::of(&ApiError::timed_out("a")), Failure::of(&ApiError::timed_out("b")));
        let (x, y) = (Failure::of(&unread("x")), Failure::of(&unread("y")));
        assert_eq!(x.0, y.0);
        assert_ne!(x.1, y.1);
    }

    #[test]
    fn a_few_keys_have_lines_of_their_own() {
        let now = SystemClock.monotonic();
        let mut fold = Fold::new(now);
        let mut lines = 0;
        for number in 0..1000 {
            let (failure, causes) = Failure::of(&unread(&format!("key-{number}")));
            lines += u64::from(fold.note(now, &causes, &failure, 1).is_some());
        }
        assert_eq!(lines, 10);
        let (kind, source) = (Failure::of(&unread("x")).0, None);
        let due = fold.due(now + Duration::from_secs(1));
        assert_eq!(due, [Count { source, kind, repeated: 990 }]);
    }

    #[test]
    fn a_long_cause_is_truncated_between_characters() {
        let long = "ä".repeat(CAUSE_LEN_MAX);
        assert_eq!(beginning(&long), "ä".repeat(CAUSE_LEN_MAX / 2));
        assert_eq!(beginning(format_args!("x{long}")).len(), CAUSE_LEN_MAX - 1);
        assert_eq!(beginning("short"), "short");
    }

    #[test]
    fn a_burst_is_a_few_lines_and_one_count_per_second() {
        let mut now = SystemClock.monotonic();
        let mut fold = Fold::new(now);
        let (mut lines, mut counts, mut total) = (0, 0, 0);
        for second in 0..30 {
            for number in 0..1000 {
                // Each failure has another cause, which must not increase the number of lines.
                let (failure, cause) = Failure::of(&failed(&(number * second).to_string()));
                if let Some(more) = fold.note(now, &cause, &failure, 1) {
                    lines += 1;
                    total += more + 1;
                }
            }
            now += Duration::from_secs(1);
            let due = fold.due(now);
            assert!(due.len() <= 1);
            counts += due.len();
            total += due.iter().map(|count| count.repeated).sum::<u64>();
        }
        total += fold.finish().iter().map(|count| count.repeated).sum::<u64>();
        assert!(lines <= 130 && counts == 30, "{lines} and {counts}");
        assert_eq!(total, 30_000);
    }

    #[test]
    fn lost_audit_events_are_one_line_per_second_with_their_number() {
        let now = SystemClock.monotonic();
        let mut fold = Fold::new(now);
        let (lost, cause) = (Failure::AuditLost { cause: "full".to_owned() }, String::new());
        assert_eq!(fold.note(now, &cause, &lost, 3), Some(2));
        for _ in 0..100 {
            assert_eq!(fold.note(now, &cause, &lost, 1), None);
        }
        for second in 1..5 {
            let due = fold.due(now + Duration::from_secs(second));
            assert_eq!(
                due,
                [Count { source: Some(cause.clone()), kind: lost.clone(), repeated: 100 }]
            );
            assert_eq!(fold.note(now, &cause, &lost, 100), None);
        }
    }
}
