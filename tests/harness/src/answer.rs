//! Answers of the server: whole ones, and streams of lines.

use bytes::{Bytes, BytesMut};
use http::response::Parts;
use http::{HeaderMap, Response, Version};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::Value;

/// An answer with its whole body.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The protocol that it came by.
    pub version: Version,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, as sent.
    pub body: Bytes,
}

impl Answer {
    /// Reads an answer to its end.
    pub async fn read(response: Response<Incoming>) -> Result<Self, hyper::Error> {
        let (Parts { status, version, headers, .. }, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Self { status: status.as_u16(), version, headers, body })
    }

    /// A header's text, empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap_or("(not text)"))
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is not.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }

    /// A text field of the JSON body.
    ///
    /// # Panics
    /// If there is no such field.
    pub fn text(&self, field: &str) -> String {
        let json = self.json();
        json[field].as_str().unwrap_or_else(|| panic!("no '{field}': {self:?}")).to_owned()
    }

    /// The names of the fields of the JSON object, sorted.
    ///
    /// # Panics
    /// If the body is not an object.
    pub fn fields(&self) -> Vec<String> {
        let json = self.json();
        let object = json.as_object().unwrap_or_else(|| panic!("not an object: {self:?}"));
        let mut fields: Vec<String> = object.keys().cloned().collect();
        fields.sort();
        fields
    }

    /// Asserts status 200, and returns the answer.
    ///
    /// # Panics
    /// If it is another.
    #[expect(clippy::return_self_not_must_use, reason = "often the demand is all there is to it")]
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.status, 200, "{self:?}");
        self
    }

    /// Asserts status 200, an empty body and `Content-Length: 0`.
    ///
    /// # Panics
    /// If one of them is not so.
    pub fn ok_empty(&self) {
        assert_eq!(self.status, 200, "{self:?}");
        assert_eq!(self.header("content-length"), "0", "{self:?}");
        assert!(self.body.is_empty(), "{self:?}");
    }

    /// Asserts an error with exactly this status and message, in the shape of every error.
    ///
    /// # Panics
    /// If it is another.
    #[track_caller]
    pub fn refused(&self, status: u16, message: &str) {
        assert_eq!((self.status, self.error().as_str()), (status, message), "{self:?}");
    }

    /// The message of an error, whose shape is checked: a JSON object with a `message`.
    ///
    /// # Panics
    /// If it is not an error, or not of that shape.
    #[track_caller]
    pub fn error(&self) -> String {
        assert!(self.status >= 400, "not an error: {self:?}");
        assert_eq!(self.header("content-type"), "application/json", "{self:?}");
        let message = self.text("message");
        assert!(!message.is_empty(), "{self:?}");
        message
    }
}

/// A streamed answer, read line by line.
#[derive(Debug)]
pub struct Stream {
    body: Incoming,
    rest: BytesMut,
}

impl Stream {
    pub(crate) fn new(body: Incoming) -> Self {
        Self { body, rest: BytesMut::new() }
    }

    /// Reads the next line; `None` when the server ended the answer properly.
    ///
    /// # Panics
    /// If the answer breaks off.
    pub async fn line(&mut self) -> Option<Value> {
        let line = self.text().await?;
        Some(serde_json::from_str(&line).expect("each line is a JSON object"))
    }

    /// Reads the next line as it was sent.
    ///
    /// # Panics
    /// If the answer breaks off.
    pub async fn text(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line = self.rest.split_to(end + 1);
                let line = String::from_utf8(line.to_vec()).expect("each line is UTF-8");
                return Some(line.trim_end_matches('\n').to_owned());
            }
            match self.body.frame().await {
                None => {
                    assert!(self.rest.is_empty(), "half a line: {:?}", self.rest);
                    return None;
                }
                Some(frame) => {
                    let frame = frame.expect("the answer does not break off");
                    self.rest.extend_from_slice(&frame.into_data().unwrap_or_default());
                }
            }
        }
    }

    /// Reads up to the next line that matches `wanted`.
    ///
    /// # Panics
    /// If the answer ends before one comes.
    pub async fn find(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let line = self.line().await.expect("the answer ended before the line came");
            if wanted(&line) {
                return line;
            }
        }
    }
}
