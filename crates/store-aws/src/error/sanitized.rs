//! Sanitizes error texts of the SDK and of AWS for the log.

use std::error::Error;
use std::fmt;

/// The maximum length of the text of an error, in bytes.
const TEXT_LEN_MAX: usize = 2048;

/// A sanitized error of the SDK with all its causes, as one line of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SanitizedError(String);

impl SanitizedError {
    pub(crate) fn new(text: &str) -> Self {
        Self(on_a_line(text))
    }

    pub(crate) fn of(error: &(dyn Error + 'static)) -> Self {
        let mut texts: Vec<String> = Vec::new();
        let mut next = Some(error);
        while let Some(error) = next {
            let text = without_requests(error.to_string());
            // Some errors repeat their cause.
            if !texts.last().is_some_and(|last| last.contains(&text)) {
                texts.push(text);
            }
            next = error.source();
        }
        Self::new(&texts.join(": "))
    }
}

impl fmt::Display for SanitizedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for SanitizedError {}

/// Removes whole requests, which some errors of the SDK contain, with the secrets in them.
fn without_requests(text: String) -> String {
    let marks = ["Request {", "Response {", "SdkBody", "SecretString", "SecretBinary"];
    match marks.iter().filter_map(|mark| text.find(mark)).min() {
        Some(at) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text,
    }
}

/// Joins lines with semicolons, removes control characters, and truncates the text.
pub(crate) fn on_a_line(text: &str) -> String {
    let mut joined = String::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if !joined.is_empty() {
            joined.push_str(if joined.ends_with([':', ';', ',']) { " " } else { "; " });
        }
        joined.push_str(line);
    }
    kes_store::on_a_line(joined.split_whitespace(), TEXT_LEN_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_lines_become_one_that_is_not_too_long() {
        let text = "no credentials. Attempted:\n  Environment: not set\n\n  Profile:\tnone\u{1b}\n";
        let want = "no credentials. Attempted: Environment: not set; Profile: none";
        assert_eq!(on_a_line(text), want);
        assert_eq!(on_a_line(&format!("1 error {}", "x".repeat(TEXT_LEN_MAX))), "1 error …");
        assert_eq!(on_a_line(""), "");
    }

    #[test]
    fn requests_are_left_out() {
        let text = "failed to apply endpoint `e` to request `Request { body: SdkBody { inner: \
                    Once(Some(b\"{\\\"SecretString\\\":\\\"hunter2";
        let text = SanitizedError::of(&std::io::Error::other(text)).to_string();
        assert_eq!(text, "failed to apply endpoint `e` to request `…");
    }

    #[test]
    fn an_error_is_shown_with_its_causes_once_each() {
        #[derive(Debug, thiserror::Error)]
        #[error("{0}")]
        struct Layer(&'static str, #[source] Option<Box<Self>>);
        let layer = |text, below| Layer(text, below);
        let error = layer(
            "io error: reset",
            Some(layer("reset", Some(layer("by peer", None).into())).into()),
        );
        assert_eq!(SanitizedError::of(&error).to_string(), "io error: reset: by peer");
    }
}
