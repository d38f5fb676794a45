//! Private keys that are encrypted by their PEM section's headers: RFC 1421 with the key derivation
//! of OpenSSL's `EVP_BytesToKey` (MD5, one round), as `openssl rsa -aes256` and `-des3` wrote them
//! for decades.

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockCipherDecrypt, BlockModeDecrypt as _, KeyInit, KeyIvInit as _};
use aes::{Aes128, Aes192, Aes256};
use des::TdesEde3;
use kes_types::Secret;
use md5::{Digest as _, Md5};
use pkcs8::SecretDocument;
use zeroize::Zeroizing;

use super::PemError;

/// Length of the longest IV, in bytes; an IV begins with the salt.
const IV_LEN_MAX: usize = 16;
/// Length of the salt, in bytes.
const SALT_LEN: usize = 8;
/// Length of an MD5 hash, in bytes.
const MD5_LEN: usize = 16;

/// Decrypts a section's contents; `scheme` is its `DEK-Info`: a cipher, a comma, the IV in hex.
pub(super) fn decrypt(
    scheme: &str,
    contents: &Secret,
    password: &Secret,
) -> Result<Secret, PemError> {
    let (cipher, iv) = scheme.split_once(',').ok_or(PemError::Parameters)?;
    let decrypt = match cipher.trim() {
        "AES-128-CBC" => decrypt_with::<Aes128>,
        "AES-192-CBC" => decrypt_with::<Aes192>,
        "AES-256-CBC" => decrypt_with::<Aes256>,
        "DES-EDE3-CBC" => decrypt_with::<TdesEde3>,
        other => return Err(PemError::Unsupported(other.to_owned())),
    };
    let iv = hex::decode(iv.trim()).map_err(|_| PemError::Parameters)?;
    if iv.len() > IV_LEN_MAX {
        return Err(PemError::Parameters);
    }
    let key = decrypt(contents.expose(), password.expose(), &iv)?;
    // A wrong password leaves well-formed padding once in 256 times, but no whole DER value.
    SecretDocument::try_from(key.expose()).map_err(|_| PemError::WrongPassword)?;
    Ok(key)
}

fn decrypt_with<C: BlockCipherDecrypt + KeyInit>(
    contents: &[u8],
    password: &[u8],
    iv: &[u8],
) -> Result<Secret, PemError> {
    let salt = iv.get(..SALT_LEN).ok_or(PemError::Parameters)?;
    let key = derive(password, salt, C::key_size());
    let decryptor =
        cbc::Decryptor::<C>::new_from_slices(&key, iv).map_err(|_| PemError::Parameters)?;
    let mut buffer = Zeroizing::new(contents.to_vec());
    let plaintext =
        decryptor.decrypt_padded::<Pkcs7>(&mut buffer).map_err(|_| PemError::WrongPassword)?;
    Ok(Secret::new(plaintext.to_vec()))
}

/// `EVP_BytesToKey` with MD5 and one round: hash upon hash of the last one, password and salt.
fn derive(password: &[u8], salt: &[u8], len: usize) -> Zeroizing<Vec<u8>> {
    let mut key = Zeroizing::new(Vec::with_capacity(len + MD5_LEN));
    let mut last = Zeroizing::new([0; MD5_LEN]);
    let mut hash = Md5::new();
    while key.len() < len {
        hash.update(password);
        hash.update(salt);
        last.copy_from_slice(&hash.finalize_reset());
        key.extend_from_slice(last.as_slice());
        hash.update(last.as_slice());
    }
    key.truncate(len);
    key
}
