//! Warns about certificates of the server that have expired, expire soon, or are not valid yet.

use std::time::Duration;

use kes_types::{Clock, Timestamp};
use tokio_util::sync::CancellationToken;

/// How often certificates are checked.
const INTERVAL: Duration = Duration::from_hours(24);

/// How long before its expiry a warning is logged, in seconds.
const SOON_SECONDS: i64 = 30 * DAY_SECONDS;
const DAY_SECONDS: i64 = 24 * 60 * 60;

/// A certificate that the server sends in handshakes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerCertificate {
    /// Whether it is the server's own certificate, not that of a CA.
    is_own: bool,
    /// Its subject and its subject alternative names.
    name: String,
    not_before: Timestamp,
    not_after: Timestamp,
}

/// A problem with the validity period of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Problem {
    Expired { days_ago: i64 },
    ExpiresSoon { days_left: i64 },
    NotValidYet,
}

/// Reads the validity periods of a DER certificate chain; certificates that cannot be parsed are skipped.
pub(crate) fn server_certificates(chain: &[Vec<u8>]) -> Vec<ServerCertificate> {
    let read = |(index, der): (usize, &Vec<u8>)| {
        let facts = kes_crypto::certificate_facts(der).ok()?;
        let names = facts.names.join(", ");
        let name = match (facts.subject.is_empty(), names.is_empty()) {
            (true, _) => names,
            (false, true) => facts.subject,
            (false, false) => format!("{} ({names})", facts.subject),
        };
        let (not_before, not_after) = (facts.not_before, facts.not_after);
        Some(ServerCertificate { is_own: index == 0, name, not_before, not_after })
    };
    chain.iter().enumerate().filter_map(read).collect()
}

/// Warns about the current certificates, at once and then once a day until `stop`.
pub(crate) async fn warn_daily(
    clock: &dyn Clock,
    stop: &CancellationToken,
    current: impl Fn() -> Vec<ServerCertificate> + Send + Sync,
) {
    check_daily(clock, stop, |now| current().iter().for_each(|it| it.warn(now))).await;
}

async fn check_daily(
    clock: &dyn Clock,
    stop: &CancellationToken,
    mut check: impl FnMut(Timestamp),
) {
    loop {
        check(Timestamp::from(clock.now()));
        if stop.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_none() {
            return;
        }
    }
}

impl ServerCertificate {
    fn problem(&self, now: Timestamp) -> Option<Problem> {
        let (now, end) = (now.unix_seconds(), self.not_after.unix_seconds());
        if now < self.not_before.unix_seconds() {
            return Some(Problem::NotValidYet);
        }
        if now > end {
            return Some(Problem::Expired { days_ago: (now - end) / DAY_SECONDS });
        }
        let is_soon = end - now <= SOON_SECONDS;
        is_soon.then(|| Problem::ExpiresSoon { days_left: (end - now) / DAY_SECONDS })
    }

    fn warn(&self, now: Timestamp) {
        let Some(problem) = self.problem(now) else { return };
        let what =
            if self.is_own { "the server certificate" } else { "a CA certificate of tls.cert" };
        let (name, not_before, not_after) = (self.name.as_str(), self.not_before, self.not_after);
        let cure = match problem {
            Problem::NotValidYet => "see whether the server's clock is right",
            _ => "put a renewed certificate into tls.cert and restart the server",
        };
        match problem {
            Problem::Expired { days_ago } => tracing::warn!(
                certificate = name, %not_after, days_ago, cure,
                "{what} has expired: clients refuse it"
            ),
            Problem::ExpiresSoon { days_left } => {
                tracing::warn!(certificate = name, %not_after, days_left, cure, "{what} expires soon");
            }
            Problem::NotValidYet => tracing::warn!(
                certificate = name, %not_before, cure,
                "{what} is not valid yet: clients refuse it"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Instant, SystemTime};

    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn certificate(not_before: i64, not_after: i64) -> ServerCertificate {
        let day = |day: i64| Timestamp::from_unix(day * DAY_SECONDS, 0).unwrap();
        let (not_before, not_after) = (day(not_before), day(not_after));
        ServerCertificate { is_own: true, name: "CN=a".to_owned(), not_before, not_after }
    }

    #[test]
    fn a_certificate_has_a_problem_from_30_days_before_its_expiry() {
        let certificate = certificate(100, 200);
        let at = |seconds: i64| certificate.problem(Timestamp::from_unix(seconds, 0).unwrap());
        assert_eq!(at(100 * DAY_SECONDS - 1), Some(Problem::NotValidYet));
        assert_eq!(at(100 * DAY_SECONDS), None);
        assert_eq!(at(170 * DAY_SECONDS - 1), None);
        assert_eq!(at(170 * DAY_SECONDS), Some(Problem::ExpiresSoon { days_left: 30 }));
        assert_eq!(at(200 * DAY_SECONDS - 1), Some(Problem::ExpiresSoon { days_left: 0 }));
        assert_eq!(at(200 * DAY_SECONDS), Some(Problem::ExpiresSoon { days_left: 0 }));
        assert_eq!(at(200 * DAY_SECONDS + 1), Some(Problem::Expired { days_ago: 0 }));
        assert_eq!(at(203 * DAY_SECONDS), Some(Problem::Expired { days_ago: 3 }));
    }

    /// The paused clock of the runtime.
    #[derive(Debug)]
    struct RuntimeClock(tokio::time::Instant);

    impl Clock for RuntimeClock {
        fn now(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH + 150 * DAY + self.0.elapsed()
        }

        fn monotonic(&self) -> Instant {
            tokio::time::Instant::now().into_std()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_certificate_that_expires_while_the_server_runs_is_reported_once_a_day() {
        let certificate = certificate(100, 200);
        let clock = RuntimeClock(tokio::time::Instant::now());
        let mut problems = Vec::new();
        let stop = CancellationToken::new();
        let check = check_daily(&clock, &stop, |now| problems.extend(certificate.problem(now)));
        // From day 150 to day 202.
        let end = async {
            tokio::time::sleep(52 * DAY + DAY / 2).await;
            stop.cancel();
        };
        tokio::join!(check, end);
        let mut expected: Vec<_> =
            (0..=30).rev().map(|days_left| Problem::ExpiresSoon { days_left }).collect();
        expected.extend([1, 2].map(|days_ago| Problem::Expired { days_ago }));
        assert_eq!(problems, expected);
    }
}
