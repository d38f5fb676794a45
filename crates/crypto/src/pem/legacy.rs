//! Encryption of private keys by PEM headers (RFC 1421).
//!
//! The key is derived by OpenSSL's `EVP_BytesToKey` (MD5, one round), as `openssl rsa -aes256` and `-des3`
//! do.

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{
    BlockCipherDecrypt, BlockModeDecrypt as _, BlockModeEncrypt as _, KeyInit, KeyIvInit as _,
    KeySizeUser as _,
};
use aes::{Aes128, Aes192, Aes256};
use des::TdesEde3;
use kes_types::{Random, Secret};
use md5::{Digest as _, Md5};
use pkcs8::SecretDocument;
use zeroize::Zeroizing;

use super::{EncryptError, PemError, PrivateKey, section};

/// Length of the longest IV, in bytes; the first bytes of an IV are the salt.
const IV_LEN_MAX: usize = 16;
/// Length of an IV of AES, and of a block, in bytes.
const AES_IV_LEN: usize = 16;
/// Length of the salt, in bytes.
const SALT_LEN: usize = 8;
/// Length of an MD5 hash, in bytes.
const MD5_LEN: usize = 16;

/// Encrypts a private key to legacy PEM with AES-256-CBC, as Go's `x509.EncryptPEMBlock` and
/// `openssl rsa -aes256` do.
///
/// One round of MD5 does not protect against guessing, so the password must be random. This format is
/// for programs that read no other one.
pub fn encrypt_legacy(
    key: &PrivateKey,
    password: &Secret,
    random: &dyn Random,
) -> Result<Secret, EncryptError> {
    let mut iv = [0; AES_IV_LEN];
    random.fill(&mut iv)?;
    let cipher_key = derive(password.expose(), &iv[..SALT_LEN], Aes256::key_size());
    let encryptor = cbc::Encryptor::<Aes256>::new_from_slices(&cipher_key, &iv)
        .map_err(|_| EncryptError::Cipher)?;
    let plaintext = key.der().expose();
    let mut buffer = Zeroizing::new(plaintext.to_vec());
    // There is always padding: after whole blocks a whole block of it.
    buffer.resize(plaintext.len() + AES_IV_LEN - plaintext.len() % AES_IV_LEN, 0);
    let contents = encryptor
        .encrypt_padded::<Pkcs7>(&mut buffer, plaintext.len())
        .map_err(|_| EncryptError::Cipher)?;
    let scheme = format!("AES-256-CBC,{}", hex::encode_upper(iv));
    Ok(section::write_encrypted(key.kind(), &scheme, contents))
}

/// Decrypts a section's contents; `scheme` is its `DEK-Info`: an algorithm, a comma, the IV in hex.
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
    // A wrong password gives well-formed padding once in 256 times, but not a whole DER value.
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

/// Computes `EVP_BytesToKey` with MD5 and one round: each hash covers the last one, password and salt.
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
