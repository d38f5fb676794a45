//! JSON bodies of the version, status and route APIs.

use std::time::Duration;

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};

/// The response of `GET /version`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The server's version.
    pub version: String,
    /// The commit it was built from.
    #[serde(default)]
    pub commit: String,
}

/// The response of `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The server's version.
    pub version: String,
    /// The operating system, as Go names it.
    pub os: String,
    /// The processor architecture, as Go names it.
    pub arch: String,
    /// Whole seconds since the start; fractions, which some servers send, are dropped.
    #[serde(deserialize_with = "whole_seconds")]
    pub uptime: u64,
    /// The number of processors of the machine.
    pub num_cpu: usize,
    /// The number of processors that the server may use.
    pub num_cpu_used: usize,
    /// Heap in use, in bytes.
    pub mem_heap_used: u64,
    /// Stack in use, in bytes.
    pub mem_stack_used: u64,
    /// The round-trip time to the key store, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keystore_latency: Option<u64>,
    /// Whether the key store did not respond; set only together with `keystore_unavailable`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keystore_unreachable: bool,
    /// Whether the key store cannot be used.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keystore_unavailable: bool,
}

fn whole_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let seconds = f64::deserialize(deserializer)?;
    Duration::try_from_secs_f64(seconds).map(|uptime| uptime.as_secs()).map_err(D::Error::custom)
}

/// One route of `GET /v1/api`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiRoute {
    /// The HTTP method.
    pub method: String,
    /// The path; where it ends in `/`, a name follows.
    pub path: String,
    /// The maximum length of a request body, in bytes.
    pub max_body: u64,
    /// The timeout of a request, in seconds; 0 is no limit.
    pub timeout: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptime_is_whole_seconds_and_fractions_of_others_are_dropped() {
        let status = |uptime: &str| {
            serde_json::from_str::<Status>(&format!(
                r#"{{"version":"1","os":"linux","arch":"amd64","uptime":{uptime},"num_cpu":1,
                "num_cpu_used":1,"mem_heap_used":1,"mem_stack_used":1}}"#
            ))
        };
        for (uptime, seconds) in [("0", 0), ("59.9", 59), ("90061", 90_061), ("1e3", 1000)] {
            let status = status(uptime).unwrap();
            assert_eq!(status.uptime, seconds);
            assert!(serde_json::to_string(&status).unwrap().contains(&format!(":{seconds},")));
        }
        assert!(status("-1").is_err());
    }
}
