//! Reads the audit log of an `OpenBao`.

use std::fs;
use std::path::Path;

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The requests of an audit log, in their order.
#[derive(Clone, Debug)]
pub struct Audit(Vec<Asked>);

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// `read`, `create`, `update`, `delete`, `list`.
    pub(super) operation: String,
    /// The path, without `/v1/`.
    pub(super) path: String,
    pub(super) time: OffsetDateTime,
}

impl Audit {
    /// Reads the log as it is now.
    pub(super) fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_default();
        let asked = |line: &str| {
            let entry: Value = serde_json::from_str(line).ok()?;
            let text = |field: &str| entry["request"][field].as_str().map(str::to_owned);
            // Each request is written twice: when it came, and when it was answered.
            let time = OffsetDateTime::parse(entry["time"].as_str()?, &Rfc3339).ok()?;
            (entry["type"] == "request")
                .then(|| Some(Asked { operation: text("operation")?, path: text("path")?, time }))?
        };
        Self(text.lines().filter_map(asked).collect())
    }

    /// How many requests of that operation were for that path.
    pub fn count(&self, operation: &str, path: &str) -> usize {
        self.0.iter().filter(|asked| asked.operation == operation && asked.path == path).count()
    }

    /// How many logins there were.
    pub fn logins(&self) -> usize {
        self.0.iter().filter(|asked| asked.path.ends_with("/login")).count()
    }

    /// How many seconds lay between each login and the next.
    pub fn between_logins(&self) -> Vec<f64> {
        let logins = self.0.iter().filter(|asked| asked.path.ends_with("/login"));
        let times: Vec<OffsetDateTime> = logins.map(|asked| asked.time).collect();
        times.windows(2).map(|pair| (pair[1] - pair[0]).as_seconds_f64()).collect()
    }

    /// How many renewals there were.
    pub fn renewals(&self) -> usize {
        self.count("update", "auth/token/renew-self")
    }
}
