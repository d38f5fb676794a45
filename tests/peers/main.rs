//! Foreign clients against the real binary: Go's TLS and HTTP, curl's (OpenSSL and
//! nghttp2); OpenSSL on key files.

mod curl;
mod go;
mod openssl;
