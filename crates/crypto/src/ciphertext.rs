//! The forms that ciphertexts have had.
//!
//! - Today: `AEAD output ‖ 16-byte IV ‖ 12-byte nonce`; the AEAD output is the plaintext's length
//!   and 16 bytes of tag.
//! - JSON: `{"aead":"…","id":"…","iv":base64,"nonce":base64,"bytes":base64}`, `id` being optional.
//! - `MessagePack`: see [`crate::message_pack`].
//!
//! A ciphertext of today's form can begin with the first byte of an older one by chance, so what
//! does not parse as an older one is one of today's. The cipher is the stored key's, whichever the
//! ciphertext names.

use std::borrow::Cow;

use serde::Deserialize;

use crate::cipher::{IV_LEN, NONCE_LEN, TAG_LEN};
use crate::message_pack;
use crate::record::decode_base64;

/// How much longer than its plaintext a ciphertext is, in bytes.
pub(crate) const OVERHEAD: usize = TAG_LEN + IV_LEN + NONCE_LEN;

/// The form of a ciphertext, for an operator who wonders where it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CiphertextForm {
    /// What is written today, or anything that is in no known form.
    Current,
    /// The JSON object of older releases.
    Json,
    /// The `MessagePack` array of older releases.
    MessagePack,
}

/// Tells the form of a ciphertext. It says nothing about which key it is for.
pub fn ciphertext_form(ciphertext: &[u8]) -> CiphertextForm {
    legacy(ciphertext).map_or(CiphertextForm::Current, |(form, _)| form)
}

/// A ciphertext taken apart.
pub(crate) struct Parts<'a> {
    /// What the AEAD gave: ciphertext and tag.
    pub(crate) sealed: Cow<'a, [u8]>,
    pub(crate) iv: [u8; IV_LEN],
    pub(crate) nonce: [u8; NONCE_LEN],
}

/// Takes a ciphertext of any form apart; none if it is too short to hold anything.
pub(crate) fn split(ciphertext: &[u8]) -> Option<Parts<'_>> {
    let parts = match legacy(ciphertext) {
        Some((_, parts)) => parts,
        None => current(ciphertext)?,
    };
    (!parts.sealed.is_empty()).then_some(parts)
}

fn current(ciphertext: &[u8]) -> Option<Parts<'_>> {
    let (rest, nonce) = ciphertext.split_last_chunk::<NONCE_LEN>()?;
    let (sealed, iv) = rest.split_last_chunk::<IV_LEN>()?;
    Some(Parts { sealed: Cow::Borrowed(sealed), iv: *iv, nonce: *nonce })
}

fn legacy(ciphertext: &[u8]) -> Option<(CiphertextForm, Parts<'_>)> {
    match ciphertext.first()? {
        b'{' => json(ciphertext).map(|parts| (CiphertextForm::Json, parts)),
        &message_pack::FIRST_BYTE => {
            message_pack::parse(ciphertext).map(|parts| (CiphertextForm::MessagePack, parts))
        }
        _ => None,
    }
}

fn json(ciphertext: &[u8]) -> Option<Parts<'_>> {
    #[derive(Deserialize)]
    struct Sealed<'a> {
        #[serde(borrow)]
        aead: Cow<'a, str>,
        #[serde(borrow)]
        iv: Cow<'a, str>,
        #[serde(borrow)]
        nonce: Cow<'a, str>,
        #[serde(borrow)]
        bytes: Cow<'a, str>,
    }

    let sealed: Sealed<'_> = serde_json::from_slice(ciphertext).ok()?;
    if !matches!(&*sealed.aead, "AES-256-GCM-HMAC-SHA-256" | "ChaCha20Poly1305") {
        return None;
    }
    Some(Parts {
        sealed: Cow::Owned(std::mem::take(&mut *decode_base64(sealed.bytes.as_bytes())?)),
        iv: decode_base64(sealed.iv.as_bytes())?.as_slice().try_into().ok()?,
        nonce: decode_base64(sealed.nonce.as_bytes())?.as_slice().try_into().ok()?,
    })
}
