//! Replaces API keys in messages.

use std::borrow::Cow;

/// The replacement of an API key.
const MASK: &str = "<API key>";

/// The prefix of an API key, before the number of its version.
const PREFIX: &str = "kes:v";

/// The length of an API key without its prefix, and its first character: base64 of a zero byte and 32 other
/// bytes.
const BARE_LEN: usize = 44;
const BARE_FIRST: u8 = b'A';

/// Replaces everything that looks like an API key, with its prefix or without.
pub(crate) fn api_keys(text: &str) -> Cow<'_, str> {
    let mut masked = String::new();
    let mut rest = text;
    while let Some((start, end)) = first(rest) {
        masked.push_str(rest.get(..start).unwrap_or_default());
        masked.push_str(MASK);
        rest = rest.get(end..).unwrap_or_default();
    }
    if masked.is_empty() {
        return text.into();
    }
    masked.push_str(rest);
    masked.into()
}

/// Whether the text contains something that looks like an API key.
pub(crate) fn holds_api_key(text: &str) -> bool {
    first(text).is_some()
}

/// Finds the begin and the end of the first API key.
fn first(text: &str) -> Option<(usize, usize)> {
    match (with_prefix(text), bare(text)) {
        (Some(with_prefix), Some(bare)) => Some(with_prefix.min(bare)),
        (with_prefix, bare) => with_prefix.or(bare),
    }
}

/// Finds a prefix with text after it: a part of an API key is secret too.
fn with_prefix(text: &str) -> Option<(usize, usize)> {
    // The offsets are the same as in the text.
    let lowercase = text.to_ascii_lowercase();
    lowercase.match_indices(PREFIX).find_map(|(start, _)| {
        let (version, key) = lowercase.get(start + PREFIX.len()..)?.split_once(':')?;
        let is_version = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
        let is_end = |c: char| !c.is_ascii_alphanumeric() && !"+/-_=:".contains(c);
        let key = key.split(is_end).next().unwrap_or_default().trim_end_matches(':');
        let end = start + PREFIX.len() + version.len() + 1 + key.len();
        (is_version && !key.is_empty()).then_some((start, end))
    })
}

/// Finds a word of base64 that has the length and the first character of an API key.
fn bare(text: &str) -> Option<(usize, usize)> {
    let mut next = 0;
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    text.as_bytes().split(|byte| !is_base64(*byte)).find_map(|word| {
        let start = next;
        next = start + word.len() + 1;
        (word.len() == BARE_LEN && word.first() == Some(&BARE_FIRST))
            .then_some((start, start + word.len()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: &str = "AD9E7FSYWrMD+VjhI6q545cYT9YOyFxZb7UnjEepYDRc";

    #[test]
    fn api_keys_are_masked_everywhere() {
        for (before, after) in [("", ""), ("'", "'"), ("--api-key: '", "' is ä"), ("ä ", "\n")] {
            for key in [BARE, "kes:v1:c2VjcmV0", "KES:V1:c2VjcmV0", "kes:v12:x", "kes:v1:-_="] {
                let masked = format!("{before}{MASK}{after}");
                assert_eq!(api_keys(&format!("{before}{key}{after}")), masked);
            }
            let whole = format!("{before}kes:v1:{BARE}{after} kes:v1:{BARE}");
            assert_eq!(api_keys(&whole), format!("{before}{MASK}{after} {MASK}"));
        }
        assert_eq!(api_keys("xkes:v1:kes:v1:AAAA: no"), "x<API key>: no");
        assert_eq!(api_keys(&format!("--api-key={BARE}")), "--api-key=<API key>");
    }

    #[test]
    fn other_words_are_not_api_keys() {
        let identity = "3ecfcdf38fcbe141ae26a1030f81e96b753365a46760ae6b578698a97c59fd22";
        let longer = format!("{BARE}x");
        for text in ["", "kes:v1:", "'kes:v1:' and base64", "kes:vx:a", "kes:v", identity, &longer]
        {
            assert_eq!(api_keys(text), text);
            assert!(!holds_api_key(text));
        }
    }
}
