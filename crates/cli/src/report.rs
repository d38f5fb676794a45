//! What is known of one server, in the forms in which it is shown.

use std::time::{Duration, SystemTime};

use kes_crypto::certificate_facts;
use kes_types::Timestamp;
use kes_types::wire::{ApiRoute, Status};
use serde::Serialize;

use crate::output::printable;

const DAY: i64 = 24 * 60 * 60;
/// A certificate that is valid for less than these days is warned about.
const DAYS_LEFT_MIN: i64 = 30;

/// What is known of one server.
pub(crate) struct Report {
    pub(crate) endpoint: String,
    pub(crate) status: Option<Status>,
    /// How long the answer took, or its failure.
    pub(crate) latency: Duration,
    /// Not known of a connection through a proxy.
    pub(crate) certificate: Option<Expiry>,
    /// The routes, if they were asked for.
    pub(crate) api: Option<Vec<ApiRoute>>,
    /// Why the status or the routes are missing.
    pub(crate) error: Option<String>,
}

/// A report in JSON.
#[derive(Serialize)]
pub(crate) struct ReportJson<'a> {
    endpoint: &'a str,
    #[serde(flatten)]
    status: Option<&'a Status>,
    /// Nanoseconds, as those of the key store.
    #[serde(skip_serializing_if = "Option::is_none")]
    latency: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_not_after: Option<Timestamp>,
    /// Whole days; negative when it has expired.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_days_left: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api: Option<&'a [ApiRoute]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

impl Report {
    /// A server of which nothing is known yet.
    pub(crate) fn new(endpoint: String) -> Self {
        let (status, certificate, api, error) = (None, None, None, None);
        Self { endpoint, status, latency: Duration::ZERO, certificate, api, error }
    }

    /// All of it, a label and a text each.
    pub(crate) fn facts(&self) -> Vec<(&'static str, String)> {
        let mut facts = vec![("Server", self.endpoint.clone())];
        if let Some(status) = &self.status {
            facts.push(("Version", printable(&status.version)));
            facts.push(("Uptime", uptime(status.uptime)));
            facts.push(("Latency", milliseconds(self.latency)));
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

    /// One line: the server, and whether it can do its work.
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

    /// What is wrong with the server, if anything.
    pub(crate) fn problem(&self) -> Option<String> {
        let endpoint = &self.endpoint;
        if let Some(error) = &self.error {
            return Some(format!("{endpoint}: {error}"));
        }
        let problem = keystore_problem(self.status.as_ref()?)?;
        Some(format!("the key store of {endpoint} is {problem}"))
    }

    pub(crate) fn to_json(&self) -> ReportJson<'_> {
        let status = self.status.as_ref();
        let latency = status.and_then(|_| u64::try_from(self.latency.as_nanos()).ok());
        ReportJson {
            endpoint: &self.endpoint,
            status,
            latency,
            certificate_not_after: self.certificate.map(|certificate| certificate.not_after),
            certificate_days_left: self.certificate.map(Expiry::days_left),
            api: self.api.as_deref(),
            error: self.error.as_deref(),
        }
    }
}

/// When a certificate is valid, as seen from now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expiry {
    not_before: Timestamp,
    not_after: Timestamp,
    now: Timestamp,
}

impl Expiry {
    /// Reads a certificate in DER; none if that is not possible.
    pub(crate) fn of(der: &[u8], now: SystemTime) -> Option<Self> {
        let facts = certificate_facts(der).ok()?;
        let (not_before, not_after) = (facts.not_before, facts.not_after);
        Some(Self { not_before, not_after, now: now.into() })
    }

    /// Whole days until it expires; negative when it has.
    fn days_left(self) -> i64 {
        (self.not_after.unix_seconds() - self.now.unix_seconds()).div_euclid(DAY)
    }

    /// What is wrong with the certificate, or will be soon.
    pub(crate) fn warning(self) -> Option<String> {
        let (not_before, not_after) = (self.not_before, self.not_after);
        match self.days_left() {
            _ if self.now < not_before => Some(format!("not valid before {not_before}")),
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
            None => format!("valid until {}, {} left", self.not_after, days(self.days_left())),
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
        (None, Some(nanos)) => format!("online, {}", milliseconds(Duration::from_nanos(nanos))),
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

fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}

/// Days, hours, minutes and seconds, from the first that is not zero.
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
    fn uptime_is_told_in_the_units_that_matter() {
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
        let json = serde_json::to_string(&report.to_json()).unwrap();
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
            let json = serde_json::to_value(report.to_json()).unwrap();
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
