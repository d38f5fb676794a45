//! Checks heads of HTTP/1.1: ambiguous and too long ones are refused. Responses that hyper makes by itself get a body
//! like every other error.

use axum::http::{HeaderMap, Request, StatusCode, Version, header};
use kes_types::wire::ErrorBody;

use crate::http::error::ApiError;

/// The longest head, in bytes. hyper reads ahead, and looks at its own limit only where it has no whole
/// head.
pub(crate) const HEAD_LEN_MAX: usize = 64 << 10;

const TOO_LARGE: &str = "request header is too large";

/// Checks the headers that decide where a request goes and where it ends; HTTP/2 has neither of them.
pub(crate) fn check(request: &Request<impl Sized>) -> Result<(), ApiError> {
    let (version, headers) = (request.version(), request.headers());
    if version > Version::HTTP_11 {
        return Ok(());
    }
    if length(request.uri().path(), headers) > HEAD_LEN_MAX {
        return Err(ApiError::head(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, TOO_LARGE));
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if is_one_host(host.as_bytes()) => {}
        (None, _) if version < Version::HTTP_11 => {}
        (None, _) => {
            return Err(ApiError::head(StatusCode::BAD_REQUEST, "missing required Host header"));
        }
        (Some(_), None) => {
            return Err(ApiError::head(StatusCode::BAD_REQUEST, "malformed Host header"));
        }
        (Some(_), Some(_)) => {
            return Err(ApiError::head(StatusCode::BAD_REQUEST, "too many Host headers"));
        }
    }
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let is_chunked = match (codings.next(), codings.next()) {
        (None, _) => return Ok(()),
        (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    };
    // hyper drops a `Content-Length` in the same head, as RFC 9112 (6.3) demands.
    if is_chunked {
        Ok(())
    } else {
        Err(ApiError::head(StatusCode::BAD_REQUEST, "unsupported transfer encoding"))
    }
}

/// The length of a head as it was sent, but for blanks that mean nothing.
fn length(path: &str, headers: &HeaderMap) -> usize {
    let fields = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    path.len() + fields.sum::<usize>()
}

/// Whether it can be a host with a port, or nothing: no list, no blank, no user.
fn is_one_host(host: &[u8]) -> bool {
    host.iter().all(|byte| byte.is_ascii_alphanumeric() || b".-_~:[]%!$&'()*+;=".contains(byte))
}

/// The beginning of every answer that may be hyper's own.
const REFUSAL: &[u8] = b"HTTP/1.1 4";

/// What it has instead of a body.
const NO_BODY: &[u8] = b"content-length: 0\r\n";

/// If `written` is the answer that hyper gives by itself to a head that it does not read, the same with
/// a body; ours always have one.
pub(crate) fn with_body(written: &[u8]) -> Option<Vec<u8>> {
    if !written.starts_with(REFUSAL) || !written.ends_with(b"\r\n\r\n") {
        return None;
    }
    // `HTTP/1.1 431 …`
    let code = written.split(|byte| *byte == b' ').nth(1)?;
    let length = written.windows(NO_BODY.len()).position(|part| part == NO_BODY)?;
    let status = StatusCode::from_bytes(code).ok()?;
    let message = match status {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => TOO_LARGE,
        StatusCode::URI_TOO_LONG => "request path is too long",
        _ => "malformed HTTP request",
    };
    let body = serde_json::to_vec(&ErrorBody { message: message.to_owned() }).ok()?;
    let (before, after) = (written.get(..length)?, written.get(length + NO_BODY.len()..)?);
    let fields = format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
    Some([before, fields.as_bytes(), after, &body].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_taken(version: Version, fields: &[(&str, &str)]) -> bool {
        let mut request = Request::builder().version(version);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        check(&request.body(()).unwrap()).is_ok()
    }

    #[test]
    fn one_host_and_one_coding_are_taken_and_nothing_else() {
        let (host, chunked) = (("host", "[::1]:7373"), ("transfer-encoding", "Chunked"));
        assert!(is_taken(Version::HTTP_11, &[host]));
        assert!(is_taken(Version::HTTP_11, &[host, chunked]));
        assert!(is_taken(Version::HTTP_11, &[("host", "")]));
        assert!(is_taken(Version::HTTP_10, &[]));
        assert!(is_taken(Version::HTTP_2, &[]));
        for fields in [
            &[][..],
            &[host, host],
            &[("host", "a, b")],
            &[("host", "user@a")],
            &[host, chunked, chunked],
            &[host, ("transfer-encoding", "chunked, chunked")],
            &[host, ("transfer-encoding", "identity, chunked")],
            &[host, ("x-long", &"l".repeat(HEAD_LEN_MAX))],
        ] {
            assert!(!is_taken(Version::HTTP_11, fields), "{fields:?}");
        }
        assert!(!is_taken(Version::HTTP_10, &[host, host]));
    }

    #[test]
    fn what_hyper_refuses_gets_a_body_and_our_answers_stay() {
        let own = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n\
                    content-length: 0\r\ndate: x\r\n\r\n";
        let answer = String::from_utf8(with_body(own).unwrap()).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{answer}");
        assert!(head.contains("content-type: application/json") && head.contains("close"));
        assert_eq!(body, r#"{"message":"request header is too large"}"#);
        for ours in [
            &b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 23\r\n\r\n",
            b"HTTP/1.1 4",
            b"",
        ] {
            assert_eq!(with_body(ours), None);
        }
    }
}
