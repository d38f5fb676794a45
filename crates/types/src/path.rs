//! API paths, shared by the route table, the client and the policy tests.
//!
//! After a path that ends in `/` comes a name, an identity or a listing pattern.

/// Reports the server's version; needs no policy.
pub const VERSION: &str = "/version";
/// Reports whether the server and its key store are ready.
pub const READY: &str = "/v1/ready";
/// Reports the server's status.
pub const STATUS: &str = "/v1/status";
/// Returns metrics in the Prometheus text format 0.0.4.
pub const METRICS: &str = "/v1/metrics";
/// Lists the routes.
pub const API: &str = "/v1/api";
/// Creates a key.
pub const KEY_CREATE: &str = "/v1/key/create/";
/// Imports a key.
pub const KEY_IMPORT: &str = "/v1/key/import/";
/// Describes a key.
pub const KEY_DESCRIBE: &str = "/v1/key/describe/";
/// Lists keys; also without its last slash.
pub const KEY_LIST: &str = "/v1/key/list/";
/// Deletes a key.
pub const KEY_DELETE: &str = "/v1/key/delete/";
/// Generates a data key.
pub const KEY_GENERATE: &str = "/v1/key/generate/";
/// Encrypts a plaintext.
pub const KEY_ENCRYPT: &str = "/v1/key/encrypt/";
/// Decrypts a ciphertext.
pub const KEY_DECRYPT: &str = "/v1/key/decrypt/";
/// Computes an HMAC.
pub const KEY_HMAC: &str = "/v1/key/hmac/";
/// Describes a policy.
pub const POLICY_DESCRIBE: &str = "/v1/policy/describe/";
/// Reads a policy.
pub const POLICY_READ: &str = "/v1/policy/read/";
/// Lists policies; also without its last slash.
pub const POLICY_LIST: &str = "/v1/policy/list/";
/// Describes an identity.
pub const IDENTITY_DESCRIBE: &str = "/v1/identity/describe/";
/// Lists identities; also without its last slash.
pub const IDENTITY_LIST: &str = "/v1/identity/list/";
/// Describes the caller.
pub const IDENTITY_SELF: &str = "/v1/identity/self/describe";
/// Streams the error log.
pub const LOG_ERROR: &str = "/v1/log/error";
/// Streams the audit log.
pub const LOG_AUDIT: &str = "/v1/log/audit";

/// All paths, to check the paths of a configuration against.
pub const ALL: [&str; 22] = [
    VERSION,
    READY,
    STATUS,
    METRICS,
    API,
    KEY_CREATE,
    KEY_IMPORT,
    KEY_DESCRIBE,
    KEY_LIST,
    KEY_DELETE,
    KEY_GENERATE,
    KEY_ENCRYPT,
    KEY_DECRYPT,
    KEY_HMAC,
    POLICY_DESCRIBE,
    POLICY_READ,
    POLICY_LIST,
    IDENTITY_DESCRIBE,
    IDENTITY_LIST,
    IDENTITY_SELF,
    LOG_ERROR,
    LOG_AUDIT,
];
