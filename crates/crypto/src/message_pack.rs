//! Parses the `MessagePack` ciphertexts of older releases.
//!
//! A ciphertext is an array of five elements: the algorithm's name and the key's id as strings, then 16
//! bytes of IV, 12 bytes of nonce and the ciphertext as binary values; nothing after it. The encoding is
//! that of the `MessagePack` specification, formats "array", "str" and "bin".

use std::borrow::Cow;

use kes_types::Algorithm;

use crate::ciphertext::CiphertextParts;

/// The header of an array of five elements, the first byte of a ciphertext.
pub(crate) const FIRST_BYTE: u8 = 0x95;

const FIXSTR_MASK: u8 = 0b1110_0000;
const FIXSTR: u8 = 0b1010_0000;
/// The format "bin 8"; "bin 16" and "bin 32" follow it.
const BIN_8: u8 = 0xc4;
/// The format "str 8"; "str 16" and "str 32" follow it.
const STR_8: u8 = 0xd9;

/// Parses a ciphertext; `None` if the input is not exactly one.
pub(crate) fn parse(input: &[u8]) -> Option<CiphertextParts<'_>> {
    let mut reader = Reader(input.strip_prefix(&[FIRST_BYTE])?);
    Algorithm::parse(reader.string()?).ok()?;
    let _id = reader.string()?;
    let iv = reader.binary()?.try_into().ok()?;
    let nonce = reader.binary()?.try_into().ok()?;
    let sealed = Cow::Borrowed(reader.binary()?);
    reader.0.is_empty().then_some(CiphertextParts { sealed, iv, nonce })
}

/// The rest of the input that is not read yet.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn string(&mut self) -> Option<&'a str> {
        let len = match self.byte()? {
            format if format & FIXSTR_MASK == FIXSTR => usize::from(format & !FIXSTR_MASK),
            format => self.length(format, STR_8)?,
        };
        std::str::from_utf8(self.take(len)?).ok()
    }

    fn binary(&mut self) -> Option<&'a [u8]> {
        let format = self.byte()?;
        let len = self.length(format, BIN_8)?;
        self.take(len)
    }

    /// Reads a big-endian length of 1, 2 or 4 bytes, by the format's distance from `format_8`.
    fn length(&mut self, format: u8, format_8: u8) -> Option<usize> {
        let distance = format.checked_sub(format_8).filter(|distance| *distance <= 2)?;
        self.take(1 << distance)?
            .iter()
            .try_fold(0_usize, |len, byte| len.checked_mul(256)?.checked_add(usize::from(*byte)))
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ciphertext whose strings and binary values have the given heads.
    fn array(algorithm: &[u8], id: &[u8], iv: &[u8], nonce: &[u8], sealed: &[u8]) -> Vec<u8> {
        [&[FIRST_BYTE], algorithm, id, iv, nonce, sealed].concat()
    }

    fn binary(head: &[u8], len: usize) -> Vec<u8> {
        [head.to_vec(), vec![7; len]].concat()
    }

    #[test]
    fn every_length_of_string_and_binary_value_is_read() {
        let (iv, nonce) = (binary(&[0xc4, 16], 16), binary(&[0xc4, 12], 12));
        for algorithm in [
            &b"\xa6AES256"[..],
            b"\xd9\x06AES256",
            b"\xda\x00\x06AES256",
            b"\xdb\x00\x00\x00\x06AES256",
        ] {
            for sealed in [&[0xc4, 20][..], &[0xc5, 0, 20], &[0xc6, 0, 0, 0, 20]] {
                let input = array(algorithm, b"\xa2id", &iv, &nonce, &binary(sealed, 20));
                let parts = parse(&input).unwrap();
                assert_eq!((parts.sealed.len(), parts.iv, parts.nonce), (20, [7; 16], [7; 12]));
            }
        }
    }

    #[test]
    fn anything_but_the_exact_form_is_refused() {
        let (name, id) = (&b"\xa6AES256"[..], &b"\xa0"[..]);
        let (iv, nonce) = (binary(&[0xc4, 16], 16), binary(&[0xc4, 12], 12));
        let sealed = binary(&[0xc4, 20], 20);
        let whole = array(name, id, &iv, &nonce, &sealed);
        assert!(parse(&whole).is_some());
        for end in 0..whole.len() {
            assert!(parse(&whole[..end]).is_none(), "cut at {end}");
        }
        assert!(parse(&[&whole[..], b"x"].concat()).is_none(), "something after it");
        assert!(parse(&array(b"\xa6AES128", id, &iv, &nonce, &sealed)).is_none(), "algorithm");
        assert!(parse(&array(name, b"\xa1\xff", &iv, &nonce, &sealed)).is_none(), "not UTF-8");
        let short = binary(&[0xc4, 15], 15);
        assert!(parse(&array(name, id, &short, &nonce, &sealed)).is_none(), "short IV");
        assert!(parse(&array(name, id, &iv, &iv, &sealed)).is_none(), "long nonce");
        let text = binary(&[0xb0], 16);
        assert!(parse(&array(name, id, &text, &nonce, &sealed)).is_none(), "IV as a string");
        let huge = array(name, id, &iv, &nonce, &[0xc6, 0xff, 0xff, 0xff, 0xff]);
        assert!(parse(&huge).is_none(), "length beyond the end");
    }
}
