use serde::{Deserialize, Serialize};

/// The body of every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What went wrong, in the wire's words.
    pub message: String,
}

/// Messages that clients compare byte for byte, together with the status.
pub mod message {
    /// 403: the caller's policy does not allow the path, or it has no policy.
    pub const NOT_ALLOWED: &str = "not authorized: insufficient permissions";
    /// 404: the key store said that there is no such key.
    pub const KEY_NOT_FOUND: &str = "key does not exist";
    /// 400: the name is taken.
    pub const KEY_EXISTS: &str = "key already exists";
    /// 400: wrong key, wrong context or damaged ciphertext.
    pub const NOT_AUTHENTIC: &str = "decryption failed: ciphertext is not authentic";
    /// 409: the stored key has no HMAC key.
    pub const NO_HMAC: &str = "key does not support HMAC";
    /// 404: no policy of that name.
    pub const POLICY_NOT_FOUND: &str = "policy does not exist";
    /// 404: neither the admin nor in any policy.
    pub const IDENTITY_NOT_FOUND: &str = "identity does not exist";
    /// 400: no certificate, or a CA's where the caller's should stand.
    pub const CERTIFICATE_REQUIRED: &str = "tls: client certificate is required";
    /// 400: a second certificate that is not a CA's.
    pub const CERTIFICATE_AMBIGUOUS: &str = "tls: received more than one client certificate";
    /// 502: the key store failed while creating.
    pub const CREATE_FAILED: &str = "failed to create key";
    /// 502: the key store failed while reading.
    pub const READ_FAILED: &str = "failed to read key";
    /// 502: the key store failed while deleting.
    pub const DELETE_FAILED: &str = "failed to delete key";
    /// 502: the key store failed while listing.
    pub const LIST_FAILED: &str = "failed to list keys";
    /// 504: the key store does not answer.
    pub const STORE_UNREACHABLE: &str = "key store is not reachable";
    /// 502: the key store answers, but refuses to work.
    pub const STORE_UNAVAILABLE: &str = "key store is unavailable";
    /// 400: a body was required.
    pub const BODY_EMPTY: &str = "request body is empty";
    /// 400: the body is not the JSON asked for.
    pub const BODY_INVALID: &str = "invalid request body";
    /// 400: the same for import.
    pub const IMPORT_INVALID: &str = "invalid import key request body";
    /// 413: the body is longer than the route's limit.
    pub const BODY_TOO_LARGE: &str = "request body is too large";
    /// 408: the body comes more slowly than the lowest rate that is accepted.
    pub const BODY_TOO_SLOW: &str = "request body is too slow";
    /// 429: this client has to wait until fewer of its requests are in flight.
    pub const TOO_MANY_REQUESTS: &str = "too many requests in flight";
    /// 500: a fault of the server itself.
    pub const INTERNAL: &str = "internal server error";
}
