//! API keys in messages: they are replaced before anybody reads them.

use std::borrow::Cow;

/// What stands in a message for an API key.
const MASK: &str = "<API key>";

/// What an API key's text begins with, before the number of its version.
const HEAD: &str = "kes:v";

/// The length of an API key without its head, and its first character: base64 of a zero byte and 32
/// others.
const BARE_LEN: usize = 44;
const BARE_FIRST: u8 = b'A';

/// The text with a placeholder for everything that looks like an API key, with its head or without.
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

/// Whether something in the text looks like an API key.
pub(crate) fn holds_api_key(text: &str) -> bool {
    first(text).is_some()
}

/// Where the first API key begins and ends.
fn first(text: &str) -> Option<(usize, usize)> {
    match (with_head(text), bare(text)) {
        (Some(with_head), Some(bare)) => Some(with_head.min(bare)),
        (with_head, bare) => with_head.or(bare),
    }
}

/// A head with something behind it: also a part of an API key is secret.
fn with_head(text: &str) -> Option<(usize, usize)> {
    // As long as the text, byte for byte.
    let lowercase = text.to_ascii_lowercase();
    lowercase.match_indices(HEAD).find_map(|(start, _)| {
        let (version, key) = lowercase.get(start + HEAD.len()..)?.split_once(':')?;
        let is_version = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
        let is_end = |c: char| !c.is_ascii_alphanumeric() && !"+/-_=:".contains(c);
        let key = key.split(is_end).next().unwrap_or_default().trim_end_matches(':');
        let end = start + HEAD.len() + version.len() + 1 + key.len();
        (is_version && !key.is_empty()).then_some((start, end))
    })
}

/// A word of base64 that is as long as an API key and begins as one.
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
    fn api_keys_are_masked_wherever_they_stand() {
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
