//! JSON bodies of error responses, and their messages.

use serde::{Deserialize, Serialize};

/// The JSON body of every error response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The error message, one of those in [`message`].
    pub message: String,
}

/// Error messages, which clients compare byte for byte together with the status.
pub mod message {
    /// 403: the caller's policy does not allow the path, or it has no policy.
    pub const NOT_ALLOWED: &str = "not authorized: insufficient permissions";
    /// 404: the key store has no key of that name.
    pub const KEY_NOT_FOUND: &str = "key does not exist";
    /// 400: the name is taken.
    pub const KEY_EXISTS: &str = "key already exists";
    /// 400: wrong key, wrong context or damaged ciphertext.
    pub const NOT_AUTHENTIC: &str = "decryption failed: ciphertext is not authentic";
    /// 409: the stored key has no HMAC key.
    pub const NO_HMAC: &str = "key does not support HMAC";
    /// 404: no policy of that name.
    pub const POLICY_NOT_FOUND: &str = "policy does not exist";
    /// 404: the identity is neither the admin nor in any policy.
    pub const IDENTITY_NOT_FOUND: &str = "identity does not exist";
    /// 400: the client sent no certificate, or a CA's in place of its own.
    pub const CERTIFICATE_REQUIRED: &str = "tls: client certificate is required";
    /// 400: the client sent a second certificate that is not a CA's.
    pub const CERTIFICATE_AMBIGUOUS: &str = "tls: received more than one client certificate";
    /// 502: the key store failed while creating.
    pub const CREATE_FAILED: &str = "failed to create key";
    /// 502: the key store failed while reading.
    pub const READ_FAILED: &str = "failed to read key";
    /// 502: the key store failed while deleting.
    pub const DELETE_FAILED: &str = "failed to delete key";
    /// 502: the key store failed while listing.
    pub const LIST_FAILED: &str = "failed to list keys";
    /// 504: the key store does not respond.
    pub const STORE_UNREACHABLE: &str = "key store is not reachable";
    /// 502: the key store responds, but refuses to work.
    pub const STORE_UNAVAILABLE: &str = "key store is unavailable";
    /// 400: the route needs a body, and there was none.
    pub const BODY_EMPTY: &str = "request body is empty";
    /// 400: the body is not the JSON of this route.
    pub const BODY_INVALID: &str = "invalid request body";
    /// 400: the body of an import is not its JSON.
    pub const IMPORT_INVALID: &str = "invalid import key request body";
    /// 413: the body is longer than the route's limit.
    pub const BODY_TOO_LARGE: &str = "request body is too large";
    /// 408: the body arrives more slowly than the minimum rate.
    pub const BODY_TOO_SLOW: &str = "request body is too slow";
    /// 429: too many requests of this client are in flight.
    pub const TOO_MANY_REQUESTS: &str = "too many requests in flight";
    /// 500: an internal error of the server.
    pub const INTERNAL: &str = "internal server error";
}
