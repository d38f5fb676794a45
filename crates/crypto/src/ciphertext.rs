//! The current and the older formats of ciphertexts.
//!
//! - Current: `AEAD output ‖ 16-byte IV ‖ 12-byte nonce`; the AEAD output is as long as the plaintext,
//!   plus 16 bytes of tag.
//! - JSON: `{"aead":"…","id":"…","iv":base64,"nonce":base64,"bytes":base64}`, `id` being optional.
//! - `MessagePack`: see [`crate::message_pack`].
//!
//! A ciphertext of the current format can begin with the first byte of an older one by chance. So
//! everything that does not parse as an older format has the current one. The algorithm is that of the
//! stored key, not the one that the ciphertext names.

use std::borrow::Cow;

use serde::Deserialize;

use crate::cipher::{IV_LEN, NONCE_LEN, TAG_LEN};
use crate::message_pack;
use crate::record::decode_base64;

/// The length of a ciphertext minus the length of its plaintext, in bytes.
pub(crate) const OVERHEAD: usize = TAG_LEN + IV_LEN + NONCE_LEN;

/// The format of a ciphertext, which the log shows to an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CiphertextForm {
    /// The format that is written today, or no known format.
    Current,
    /// The JSON object of older releases.
    Json,
    /// The `MessagePack` array of older releases.
    MessagePack,
}

/// Returns the format of a ciphertext; which key it is for cannot be seen.
pub fn ciphertext_form(ciphertext: &[u8]) -> CiphertextForm {
    legacy(ciphertext).map_or(CiphertextForm::Current, |(form, _)| form)
}

/// The parts of a ciphertext of any format.
pub(crate) struct CiphertextParts<'a> {
    /// The output of the AEAD: ciphertext and tag.
    pub(crate) sealed: Cow<'a, [u8]>,
    pub(crate) iv: [u8; IV_LEN],
    pub(crate) nonce: [u8; NONCE_LEN],
}

/// Splits a ciphertext of any format; `None` if it is too short.
pub(crate) fn split(ciphertext: &[u8]) -> Option<CiphertextParts<'_>> {
    let parts = match legacy(ciphertext) {
        Some((_, parts)) => parts,
        None => current(ciphertext)?,
    };
    (!parts.sealed.is_empty()).then_some(parts)
}

fn current(ciphertext: &[u8]) -> Option<CiphertextParts<'_>> {
    let (rest, nonce) = ciphertext.split_last_chunk::<NONCE_LEN>()?;
    let (sealed, iv) = rest.split_last_chunk::<IV_LEN>()?;
    Some(CiphertextParts { sealed: Cow::Borrowed(sealed), iv: *iv, nonce: *nonce })
}

fn legacy(ciphertext: &[u8]) -> Option<(CiphertextForm, CiphertextParts<'_>)> {
    match ciphertext.first()? {
        b'{' => json(ciphertext).map(|parts| (CiphertextForm::Json, parts)),
        &message_pack::FIRST_BYTE => {
            message_pack::parse(ciphertext).map(|parts| (CiphertextForm::MessagePack, parts))
        }
        _ => None,
    }
}

fn json(ciphertext: &[u8]) -> Option<CiphertextParts<'_>> {
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
    Some(CiphertextParts {
        sealed: Cow::Owned(std::mem::take(&mut *decode_base64(sealed.bytes.as_bytes())?)),
        iv: decode_base64(sealed.iv.as_bytes())?.as_slice().try_into().ok()?,
        nonce: decode_base64(sealed.nonce.as_bytes())?.as_slice().try_into().ok()?,
    })
}
