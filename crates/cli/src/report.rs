//! The report of `kes status` about one server, as text and as JSON.

use std::time::{Duration, SystemTime};

use kes_crypto::certificate_facts;
use kes_types::Timestamp;
use kes_types::wire::{ApiRoute, Status};
use serde::Serialize;

use crate::output::printable;

const DAY: i64 = 24 * 60 * 60;
/// A certificate that expires in less than this number of days causes a warning.
const DAYS_LEFT_MIN: i64 = 30;

/// The status of one server, or the reason why it is missing.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) endpoint: String,
    #[serde(flatten)]
    pub(crate) status: Option<Status>,
    /// The response time in nanoseconds, if there is a status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) latency: Option<u64>,
    /// The server's certificate; not known through a proxy.
    #[serde(flatten)]
    pub(crate) certificate: Option<Expiry>,
    /// The routes, if they were requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) api: Option<Vec<ApiRoute>>,
    /// The reason why the status or the routes are missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

impl Report {
    /// Makes an empty report.
    pub(crate) fn new(endpoint: String) -> Self {
        Self { endpoint, status: None, latency: None, certificate: None, api: None, error: None }
    }

    /// The lines of the report, each a label and a text.
    pub(crate) fn facts(&self) -> Vec<(&'static str, String)> {
        let mut facts = vec![("Server", self.endpoint.clone())];
        if let Some(status) = &self.status {
            facts.push(("Version", printable(&status.version)));
            facts.push(("Uptime", uptime(status.uptime)));
            facts.push(("Latency", milliseconds(self.latency.unwrap_or_default())));
            facts.push(("Key store", keystore(status)));
        }
        if let Some(certificate) = self.certificate {
            facts.push(("Certificate", certificate.text()));
        } else if self.status.is_some() {
            facts.push(("Certificate", "not known: it is behind a proxy".to_owned()));
        }
        for (index, route) in self.api.iter().flatten().enumerate() {
            facts.push((if index == 0 { "API" } else { "" }, route_text(route)));
        }
        if let Some(error) = &self.error {
            facts.push(("Error", printable(error)));
        }
        facts
    }

    /// The server and its state on one line.
    pub(crate) fn summary(&self) -> String {
        let endpoint = &self.endpoint;
        match (&self.status, &self.error) {
            (Some(status), None) => match keystore_problem(status) {
                None => format!("{endpoint} online"),
                Some(problem) => format!("{endpoint} key store {problem}"),
            },
            (_, Some(error)) => format!("{endpoint} error: {}", printable(error)),
            (None, None) => format!("{endpoint} error: no answer"),
        }
    }

    /// The problem of the server, if there is one.
    pub(crate) fn problem(&self) -> Option<String> {
        let endpoint = &self.endpoint;
        if let Some(error) = &self.error {
            return Some(format!("{endpoint}: {error}"));
        }
        let problem = keystore_problem(self.status.as_ref()?)?;
        Some(format!("the key store of {endpoint} is {problem}"))
    }
}

/// The validity of a certificate at the current time.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Expiry {
    #[serde(skip)]
    is_valid_yet: bool,
    #[serde(skip)]
    not_before: Timestamp,
    #[serde(rename = "certificate_not_after")]
    not_after: Timestamp,
    /// Whole days until it expires; negative if it has expired.
    #[serde(rename = "certificate_days_left")]
    days_left: i64,
}

impl Expiry {
    /// Reads a certificate in DER; `None` if that is not possible.
    pub(crate) fn of(der: &[u8], now: SystemTime) -> Option<Self> {
        let facts = certificate_facts(der).ok()?;
        let (not_before, not_after, now) = (facts.not_before, facts.not_after, now.into());
        let seconds_left = not_after.unix_seconds() - Timestamp::unix_seconds(now);
        let days_left = seconds_left.div_euclid(DAY);
        Some(Self { is_valid_yet: now >= not_before, not_before, not_after, days_left })
    }

    /// The warning about a certificate that is not valid or will expire soon.
    pub(crate) fn warning(self) -> Option<String> {
        let (not_before, not_after) = (self.not_before, self.not_after);
        match self.days_left {
            _ if !self.is_valid_yet => Some(format!("not valid before {not_before}")),
            ..0 => Some(format!("expired since {not_after}: renew it")),
            left @ 0..DAYS_LEFT_MIN => {
                Some(format!("valid until {not_after}, {} left: renew it", days(left)))
            }
            _ => None,
        }
    }

    fn text(self) -> String {
        match self.warning() {
            Some(warning) => format!("WARN: {warning}"),
            None => format!("valid until {}, {} left", self.not_after, days(self.days_left)),
        }
    }
}

fn days(count: i64) -> String {
    match count {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        _ => format!("{count} days"),
    }
}

fn keystore(status: &Status) -> String {
    match (keystore_problem(status), status.keystore_latency) {
        (Some(problem), _) => problem.to_owned(),
        (None, Some(nanos)) => format!("online, {}", milliseconds(nanos)),
        (None, None) => "online".to_owned(),
    }
}

fn keystore_problem(status: &Status) -> Option<&'static str> {
    match status {
        _ if status.keystore_unreachable => Some("unreachable"),
        _ if status.keystore_unavailable => Some("unavailable"),
        _ => None,
    }
}

fn route_text(route: &ApiRoute) -> String {
    let body = match route.max_body {
        0 => "no body".to_owned(),
        bytes if bytes.is_multiple_of(1024 * 1024) => format!("{} MiB", bytes / (1024 * 1024)),
        bytes => format!("{bytes} B"),
    };
    let timeout = match route.timeout {
        0 => "no limit".to_owned(),
        seconds => format!("{seconds} s"),
    };
    let (method, path) = (printable(&route.method), printable(&route.path));
    format!("{method:<6} {path:<26} {body:<8} {timeout}")
}

fn milliseconds(nanos: u64) -> String {
    format!("{:.1} ms", Duration::from_nanos(nanos).as_secs_f64() * 1000.0)
}

/// Formats days, hours, minutes and seconds, from the first that is not zero.
fn uptime(seconds: u64) -> String {
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
    ];
    let shown: Vec<_> = parts
        .iter()
        .skip_while(|(count, unit)| *count == 0 && *unit != "s")
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    shown.join(" ")
}

#[cfg(test)]
mod tests {
    use kes_crypto::{ApiKey, CertificateRequest, SystemRandom};

    use super::*;

    #[test]
    fn uptime_begins_with_the_largest_unit_that_is_not_zero() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (3600, "1h 0m 0s"), (90_061, "1d 1h 1m 1s")]
        {
            assert_eq!(uptime(seconds), text);
        }
    }

    fn report(json: &str) -> Report {
        let rest = r#""version":"1","os":"linux","arch":"amd64","uptime":1,"num_cpu":1,
            "num_cpu_used":1,"mem_heap_used":1,"mem_stack_used":1"#;
        let status = serde_json::from_str(&format!("{{{rest}{json}}}")).unwrap();
        Report { status: Some(status), ..Report::new("https://a:1".to_owned()) }
    }

    #[test]
    fn the_key_store_is_online_only_when_the_server_says_so() {
        for (json, text, summary, problem) in [
            (r#","keystore_latency":1500000"#, "online, 1.5 ms", "https://a:1 online", None),
            (
                r#","keystore_unavailable":true"#,
                "unavailable",
                "https://a:1 key store unavailable",
                Some("the key store of https://a:1 is unavailable"),
            ),
            (
                r#","keystore_unreachable":true,"keystore_unavailable":true"#,
                "unreachable",
                "https://a:1 key store unreachable",
                Some("the key store of https://a:1 is unreachable"),
            ),
        ] {
            let report = report(json);
            assert!(report.facts().contains(&("Key store", text.to_owned())));
            assert_eq!(report.summary(), summary);
            assert_eq!(report.problem().as_deref(), problem);
        }
    }

    #[test]
    fn a_server_that_gives_no_status_is_shown_with_the_reason() {
        let error = Some("no connection within 5 s".to_owned());
        let report = Report { error, ..Report::new("https://a:1".to_owned()) };
        let expected = [("Server", "https://a:1"), ("Error", "no connection within 5 s")];
        let expected = expected.map(|(label, text)| (label, text.to_owned()));
        assert_eq!(report.facts(), expected);
        assert_eq!(report.summary(), "https://a:1 error: no connection within 5 s");
        assert_eq!(report.problem().unwrap(), "https://a:1: no connection within 5 s");
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(json, r#"{"endpoint":"https://a:1","error":"no connection within 5 s"}"#);
    }

    #[test]
    fn a_certificate_is_warned_about_from_30_days_before_it_expires() {
        let random = SystemRandom::new();
        let begin = SystemTime::UNIX_EPOCH + Duration::from_hours(500_000);
        let day = Duration::from_hours(24);
        let certificate = ApiKey::generate(&random).unwrap().certificate(
            &CertificateRequest {
                subject: "kes".to_owned(),
                dns_names: vec!["localhost".to_owned()],
                ip_addresses: Vec::new(),
                not_before: begin,
                validity: 100 * day,
            },
            &random,
        );
        let der = certificate.unwrap().certificate_der().to_vec();
        let second = Duration::from_secs(1);
        for (now, text, days_left) in [
            (begin, "valid until 2027-04-25T08:00:00Z, 100 days left", 100),
            (begin + 70 * day, "valid until 2027-04-25T08:00:00Z, 30 days left", 30),
            (
                begin + 70 * day + second,
                "WARN: valid until 2027-04-25T08:00:00Z, 29 days left: renew it",
                29,
            ),
            (
                begin + 98 * day + second,
                "WARN: valid until 2027-04-25T08:00:00Z, 1 day left: renew it",
                1,
            ),
            (
                begin + 99 * day + second,
                "WARN: valid until 2027-04-25T08:00:00Z, less than a day left: renew it",
                0,
            ),
            (begin + 100 * day + second, "WARN: expired since 2027-04-25T08:00:00Z: renew it", -1),
            (begin - second, "WARN: not valid before 2027-01-15T08:00:00Z", 100),
        ] {
            let mut report = report("");
            report.certificate = Expiry::of(&der, now);
            assert!(report.facts().contains(&("Certificate", text.to_owned())), "{text}");
            let json = serde_json::to_value(&report).unwrap();
            assert_eq!(json["certificate_not_after"], "2027-04-25T08:00:00Z");
            assert_eq!(json["certificate_days_left"], days_left, "{text}");
        }
        assert!(Expiry::of(b"no certificate", begin).is_none());
    }

    #[test]
    fn routes_are_shown_with_their_limits() {
        let route = |max_body, timeout| ApiRoute {
            method: "PUT".to_owned(),
            path: "/v1/key/encrypt/\u{1b}".to_owned(),
            max_body,
            timeout,
        };
        let mut report = report("");
        report.api = Some(vec![route(1024 * 1024, 15), route(0, 0)]);
        let facts = report.facts();
        let expected = [
            ("API", "PUT    /v1/key/encrypt/\u{fffd}          1 MiB    15 s"),
            ("", "PUT    /v1/key/encrypt/\u{fffd}          no body  no limit"),
        ];
        let expected = expected.map(|(label, text)| (label, text.to_owned()));
        assert_eq!(facts[facts.len() - 2..], expected);
    }
}
