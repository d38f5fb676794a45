use serde::{Deserialize, Serialize};

/// The answer to `GET /version`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The server's version.
    pub version: String,
    /// The commit it was built from.
    #[serde(default)]
    pub commit: String,
}

/// The answer to `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The server's version.
    pub version: String,
    /// Operating system, in Go's words.
    pub os: String,
    /// Processor architecture, in Go's words.
    pub arch: String,
    /// Seconds since the start.
    pub uptime: f64,
    /// Processors of the machine.
    pub num_cpu: usize,
    /// Processors that the server may use.
    pub num_cpu_used: usize,
    /// Heap in use, in bytes.
    pub mem_heap_used: u64,
    /// Stack in use, in bytes.
    pub mem_stack_used: u64,
    /// Round trip to the key store in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keystore_latency: Option<u64>,
    /// The key store did not answer; always together with `keystore_unavailable`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keystore_unreachable: bool,
    /// The key store cannot be used.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keystore_unavailable: bool,
}

/// One route of `GET /v1/api`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiRoute {
    /// The HTTP method.
    pub method: String,
    /// The path, or the prefix before a name.
    pub path: String,
    /// The longest request body, in bytes.
    pub max_body: u64,
    /// The longest time to an answer, in seconds; 0 is no limit.
    pub timeout: u64,
}
