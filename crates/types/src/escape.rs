//! Escapes characters that change how a log or a terminal shows the text around them.
//!
//! These are control characters (C0, DEL, C1), format characters (bidirectional controls, zero-width
//! characters, the byte order mark), separators other than the space, combining marks, characters
//! without a glyph, and code points that are private or not assigned.

use std::fmt::{self, Write};
use std::io;

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};

/// Whether a character has to be escaped before a log or a terminal shows it.
pub fn is_unprintable(char: char) -> bool {
    match char {
        ' '..='~' => false,
        // Blank, although their Unicode category is letter or symbol.
        '\u{115f}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}' => true,
        // `escape_debug` gives one character where no escape is needed.
        _ => char.escape_debug().len() > 1,
    }
}

/// A writer that escapes text to one line of printable characters.
///
/// Escapes are those of Rust's string literals; the backslash is escaped too, so that different texts
/// stay different.
#[derive(Debug)]
pub struct EscapingWriter<'a, W> {
    to: &'a mut W,
    escapes_quotes: bool,
}

impl<'a, W: Write> EscapingWriter<'a, W> {
    /// Makes a writer to `to` that adds no quotes.
    pub fn new(to: &'a mut W) -> Self {
        Self { to, escapes_quotes: false }
    }
}

impl<W: Write> Write for EscapingWriter<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let is_escaped = |char: char| match char {
            '\\' => true,
            '"' => self.escapes_quotes,
            _ => is_unprintable(char),
        };
        let mut rest = text;
        while let Some((at, char)) = rest.char_indices().find(|(_, char)| is_escaped(*char)) {
            let (plain, from) = rest.split_at(at);
            self.to.write_str(plain)?;
            let escape = char.escape_debug();
            if escape.len() > 1 {
                write!(self.to, "{escape}")?;
            } else {
                write!(self.to, "{}", char.escape_unicode())?;
            }
            rest = &from[char.len_utf8()..];
        }
        self.to.write_str(rest)
    }
}

/// Writes `text` between double quotes, escaped as an [`EscapingWriter`] does, quotes included.
pub fn write_quoted(to: &mut impl Write, text: &str) -> fmt::Result {
    to.write_char('"')?;
    EscapingWriter { to: &mut *to, escapes_quotes: true }.write_str(text)?;
    to.write_char('"')
}

/// Writes a value as JSON on one line of printable characters.
///
/// Escapes are those of JSON, so that a parser reads the same text.
pub fn write_json(to: impl io::Write, value: &(impl Serialize + ?Sized)) -> serde_json::Result<()> {
    value.serialize(&mut Serializer::with_formatter(to, Escaped(CompactFormatter)))
}

/// Returns the JSON of [`write_json`] as bytes.
pub fn json(value: &(impl Serialize + ?Sized)) -> serde_json::Result<Vec<u8>> {
    let mut json = Vec::with_capacity(128);
    write_json(&mut json, value)?;
    Ok(json)
}

/// A formatter of compact JSON with more escapes than JSON needs.
struct Escaped(CompactFormatter);

impl Formatter for Escaped {
    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        to: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        // Control characters below the space are escaped by the serializer itself.
        if fragment.bytes().fold(0, u8::max) < 0x7f {
            return to.write_all(fragment.as_bytes());
        }
        let mut rest = fragment;
        while let Some((at, char)) = rest.char_indices().find(|(_, char)| is_unprintable(*char)) {
            let (plain, from) = rest.split_at(at);
            to.write_all(plain.as_bytes())?;
            for unit in char.encode_utf16(&mut [0; 2]) {
                write!(to, "\\u{unit:04x}")?;
            }
            rest = &from[char.len_utf8()..];
        }
        to.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A character of each kind that is escaped.
    const ESCAPED: &str = "\0\t\n\r\x1b\x7f\u{80}\u{85}\u{9b}\u{9f}\u{a0}\u{ad}\u{300}\u{34f}\
        \u{61c}\u{115f}\u{180e}\u{200b}\u{200c}\u{200d}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\
        \u{202e}\u{202f}\u{2060}\u{2066}\u{2069}\u{206f}\u{2800}\u{3000}\u{3164}\u{d7ff}\u{e000}\
        \u{fe0f}\u{feff}\u{ffa0}\u{fff9}\u{fffe}\u{1bca0}\u{1d173}\u{e0001}\u{e0041}\u{e0100}\
        \u{10ffff}";
    const PRINTABLE: &str = " ~'\"\\/<>&aé§ŁπЖ中あ한\u{fffd}\u{2026}\u{1f511}";

    fn text(of: &str) -> String {
        let mut text = String::new();
        EscapingWriter::new(&mut text).write_str(of).unwrap();
        text
    }

    fn quoted(of: &str) -> String {
        let mut text = String::new();
        write_quoted(&mut text, of).unwrap();
        text
    }

    #[test]
    fn what_cannot_be_seen_is_escaped_and_what_can_be_is_not() {
        for char in ESCAPED.chars() {
            assert!(is_unprintable(char), "{char:?}");
            let escaped = text(&format!("a{char}b"));
            assert!(escaped.starts_with("a\\") && escaped.ends_with('b'), "{escaped}");
            assert!(escaped.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{escaped}");
        }
        for char in PRINTABLE.chars() {
            assert!(!is_unprintable(char), "{char:?}");
        }
    }

    #[test]
    fn different_texts_stay_different() {
        assert_eq!(text("a\nb"), "a\\nb");
        assert_eq!(text("a\\nb"), "a\\\\nb");
        assert_eq!(text("\u{202e}"), "\\u{202e}");
        assert_eq!(text("\\u{202e}"), "\\\\u{202e}");
        assert_eq!(text("\u{3164}\"'ä"), "\\u{3164}\"'ä");
        assert_eq!(quoted("a\"\n\\ 'ä\u{301}"), r#""a\"\n\\ 'ä\u{301}""#);
    }

    #[test]
    fn json_is_printable_and_a_parser_reads_the_same_text() {
        let all = format!("{ESCAPED}{PRINTABLE}");
        let written = String::from_utf8(json(&[&all, "b"]).unwrap()).unwrap();
        assert!(!written.chars().any(is_unprintable), "{written}");
        let [first, second]: [String; 2] = serde_json::from_str(&written).unwrap();
        assert_eq!((first, second.as_str()), (all, "b"));
        assert_eq!(
            json("\x7f\u{202e}\u{e0001}ä").unwrap(),
            r#""\u007f\u202e\udb40\udc01ä""#.as_bytes()
        );
    }

    #[test]
    fn plain_json_is_what_it_is_without_these_escapes() {
        let value = serde_json::json!({ "a": [1, true, null, "x\"\\\n/"], "ä": {} });
        assert_eq!(json(&value).unwrap(), serde_json::to_vec(&value).unwrap());
    }
}
