//! The two algorithms: derivation of a sub-key for every message, then an AEAD.
//!
//! - AES256: sub-key = HMAC-SHA-256(key, IV), then AES-256-GCM.
//! - `ChaCha20`: sub-key = `HChaCha20`(key, IV) (draft-irtf-cfrg-xchacha section 2.2), then
//!   ChaCha20-Poly1305 (RFC 8439).
//!
//! A random sub-key per message makes random 96-bit nonces safe for any number of messages.

use chacha20::{R20, hchacha};
use kes_types::Algorithm;
use ring::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::error::Unspecified;
use ring::hmac;
use zeroize::Zeroizing;

use crate::key_material::KeyMaterial;
use crate::stack::wiped_after;

/// Length of the IV that the sub-key is derived from, in bytes.
pub(crate) const IV_LEN: usize = 16;
/// Length of the AEAD's nonce, in bytes.
pub(crate) const NONCE_LEN: usize = 12;
/// Length of the AEAD's tag, in bytes.
pub(crate) const TAG_LEN: usize = 16;

/// Key material with its algorithm, prepared for encryption and decryption.
#[derive(Debug)]
pub(crate) struct Cipher {
    material: KeyMaterial,
    derivation: Derivation,
}

/// Prepares a key for HMAC-SHA-256.
///
/// Boxed, because ring does not wipe it when it is dropped: on the heap the allocator wipes it.
pub(crate) fn hmac_key(material: &KeyMaterial) -> Box<hmac::Key> {
    wiped_after(|| Box::new(hmac::Key::new(hmac::HMAC_SHA256, material.expose())))
}

/// The derivation of sub-keys.
#[derive(Debug)]
enum Derivation {
    /// The HMAC key with both pads already hashed.
    Hmac(Box<hmac::Key>),
    HChaCha20,
}

impl Cipher {
    pub(crate) fn new(algorithm: Algorithm, material: KeyMaterial) -> Self {
        let derivation = match algorithm {
            Algorithm::Aes256 => Derivation::Hmac(hmac_key(&material)),
            Algorithm::ChaCha20 => Derivation::HChaCha20,
        };
        Self { material, derivation }
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        match self.derivation {
            Derivation::Hmac(_) => Algorithm::Aes256,
            Derivation::HChaCha20 => Algorithm::ChaCha20,
        }
    }

    pub(crate) fn material(&self) -> &KeyMaterial {
        &self.material
    }

    /// Encrypts `buffer` in place and appends the tag.
    pub(crate) fn seal(
        &self,
        buffer: &mut Vec<u8>,
        context: &[u8],
        iv: &[u8; IV_LEN],
        nonce: [u8; NONCE_LEN],
    ) -> Result<(), Unspecified> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        wiped_after(|| {
            self.sub_key(iv)?.seal_in_place_append_tag(nonce, Aad::from(context), buffer)
        })
    }

    /// Decrypts `buffer`, a ciphertext with its tag, in place and truncates it to the plaintext.
    pub(crate) fn open(
        &self,
        buffer: &mut Vec<u8>,
        context: &[u8],
        iv: &[u8; IV_LEN],
        nonce: [u8; NONCE_LEN],
    ) -> Result<(), Unspecified> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let opened = wiped_after(|| {
            let plaintext = self.sub_key(iv)?.open_in_place(nonce, Aad::from(context), buffer);
            plaintext.map(|plaintext| plaintext.len())
        });
        buffer.truncate(opened?);
        Ok(())
    }

    /// Derives the sub-key of a message.
    ///
    /// Boxed for the same reason as [`hmac_key`]: the key schedule must be wiped. Callers wipe
    /// the stack, which held the sub-key.
    fn sub_key(&self, iv: &[u8; IV_LEN]) -> Result<Box<LessSafeKey>, Unspecified> {
        let unbound = match &self.derivation {
            Derivation::Hmac(key) => UnboundKey::new(&AES_256_GCM, hmac::sign(key, iv).as_ref())?,
            Derivation::HChaCha20 => {
                let sub_key =
                    Zeroizing::new(hchacha::<R20>(self.material.expose().into(), iv.into()));
                UnboundKey::new(&CHACHA20_POLY1305, &sub_key)?
            }
        };
        Ok(Box::new(LessSafeKey::new(unbound)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// draft-irtf-cfrg-xchacha section 2.2.1.
    #[test]
    fn hchacha20_gives_the_sub_key_of_the_draft() {
        let key = hex::decode("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
        let iv: [u8; IV_LEN] =
            hex::decode("000000090000004a0000000031415927").unwrap().try_into().unwrap();
        let expected =
            hex::decode("82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc");
        let cipher = Cipher::new(Algorithm::ChaCha20, KeyMaterial::copy_of(&key.unwrap()).unwrap());

        let derived = hchacha::<R20>(cipher.material.expose().into(), (&iv).into());
        assert_eq!(derived.as_slice(), expected.as_deref().unwrap());

        // What the cipher seals, the AEAD opens with the draft's sub-key.
        let mut buffer = b"plaintext".to_vec();
        cipher.seal(&mut buffer, b"context", &iv, [7; NONCE_LEN]).unwrap();
        let key = UnboundKey::new(&CHACHA20_POLY1305, expected.as_deref().unwrap()).unwrap();
        let nonce = Nonce::assume_unique_for_key([7; NONCE_LEN]);
        let opened = LessSafeKey::new(key).open_in_place(nonce, Aad::from(b"context"), &mut buffer);
        assert_eq!(opened.unwrap(), b"plaintext");
    }
}
