//! Percent-decodes the path of a request, once.
//!
//! All code that compares or logs paths uses the decoded one, so that an escaped path cannot bypass a policy.

use std::borrow::Cow;

use axum::http::Uri;
use axum::http::uri::PathAndQuery;
use percent_encoding::percent_decode_str;

use crate::http::error::ApiError;

/// How many bytes of a path are logged. Valid paths are far shorter; invalid ones can be as long as a
/// request head.
const SHOWN_LEN_MAX: usize = 1024;

/// Holds the percent-decoded path of a request, without its query. Policies, names and the audit log use
/// this path; it is not decoded a second time.
#[derive(Clone, Debug)]
pub(crate) struct DecodedPath(Path);

#[derive(Clone, Debug)]
enum Path {
    /// The path of the request, without escapes; cloning it copies no bytes.
    Plain(PathAndQuery),
    Decoded(Box<str>),
}

impl DecodedPath {
    /// Decodes the path of a request. Malformed escapes are a 400; a path with an empty, `.` or `..` segment
    /// is a 404.
    pub(crate) fn parse(uri: &Uri) -> Result<Self, ApiError> {
        let decoded = Self(match (decode(uri.path())?, uri.path_and_query()) {
            (Cow::Borrowed(_), Some(path)) => Path::Plain(path.clone()),
            (path, _) => Path::Decoded(path.into()),
        });
        let path = decoded.as_str();
        if !path.starts_with('/') || has_odd_segment(path) {
            return Err(ApiError::no_such_route());
        }
        Ok(decoded)
    }

    pub(crate) fn as_str(&self) -> &str {
        match &self.0 {
            Path::Plain(path) => path.path(),
            Path::Decoded(path) => path,
        }
    }

    /// Returns the path for a log, truncated if it is longer than any valid one.
    pub(crate) fn shown(&self) -> &str {
        let path = self.as_str();
        path.get(..path.floor_char_boundary(SHOWN_LEN_MAX)).unwrap_or("")
    }
}

fn decode(path: &str) -> Result<Cow<'_, str>, ApiError> {
    if !path.contains('%') {
        return Ok(Cow::Borrowed(path));
    }
    if !has_whole_escapes(path) {
        return Err(ApiError::malformed_path());
    }
    percent_decode_str(path).decode_utf8().map_err(|_| ApiError::malformed_path())
}

/// Returns whether two hex digits follow each percent sign.
pub(crate) fn has_whole_escapes(text: &str) -> bool {
    text.split('%')
        .skip(1)
        .all(|after| after.len() >= 2 && after.bytes().take(2).all(|byte| byte.is_ascii_hexdigit()))
}

/// Returns whether a segment is empty (the last one may be), `.` or `..`.
fn has_odd_segment(path: &str) -> bool {
    let path = path.as_bytes();
    path.windows(2).any(|pair| pair == b"//")
        || path.split(|byte| *byte == b'/').any(|segment| segment == b"." || segment == b"..")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(path: &str) -> Option<String> {
        DecodedPath::parse(&path.parse().unwrap()).ok().map(|decoded| decoded.as_str().to_owned())
    }

    #[test]
    fn a_path_is_decoded_once_and_without_its_query() {
        assert_eq!(parse("/v1/key/describe/my%2Da?enclave=x").unwrap(), "/v1/key/describe/my-a");
        assert_eq!(parse("/v1/key/describe/a%252Fb").unwrap(), "/v1/key/describe/a%2Fb");
        assert_eq!(parse("/v1/key/list/").unwrap(), "/v1/key/list/");
        assert_eq!(parse("/v1/key/list/%2A").unwrap(), "/v1/key/list/*");
    }

    #[test]
    fn odd_segments_match_no_route_even_if_escaped() {
        for path in [
            "/v1//status",
            "/v1/./status",
            "/v1/x/../status",
            "/v1/x/%2e%2E/status",
            "/v1%2F/status",
        ] {
            assert_eq!(parse(path), None, "{path}");
        }
    }

    #[test]
    fn logs_keep_the_beginning_of_a_long_path() {
        let path = format!("/v1/key/describe/{}", "%C3%A4".repeat(SHOWN_LEN_MAX));
        let decoded = DecodedPath::parse(&path.parse().unwrap()).unwrap();
        assert!(decoded.as_str().starts_with(decoded.shown()));
        assert!((SHOWN_LEN_MAX - 1..=SHOWN_LEN_MAX).contains(&decoded.shown().len()));
    }

    #[test]
    fn malformed_encoding_is_refused() {
        for path in ["/v1/%", "/v1/%2", "/v1/%zz", "/v1/%ff"] {
            let error = DecodedPath::parse(&path.parse().unwrap()).unwrap_err();
            assert_eq!(error.status().as_u16(), 400, "{path}");
        }
    }
}
