//! Foreign clients against the real binary: Go's TLS and HTTP, curl's (OpenSSL and nghttp2).

mod curl;
mod go;
