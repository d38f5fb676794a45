//! Keys that encrypt, decrypt and compute HMACs.

use std::fmt;

use kes_types::{Algorithm, Random, RandomFailed, Secret, Timestamp};
use ring::hmac;
use zeroize::{Zeroize as _, Zeroizing};

use crate::cipher::{Cipher, IV_LEN, NONCE_LEN, hmac_key};
use crate::ciphertext::{self, OVERHEAD};
use crate::key_material::{KeyMaterial, MATERIAL_LEN};
use crate::stack::wiped_after;

/// A key that encrypts, decrypts and, except for keys of the oldest format, computes HMACs.
///
/// `Debug` hides it. A key has one version today; callers see no versions, so that there can be several.
pub struct Key {
    cipher: Cipher,
    hmac: Option<HmacKey>,
    created_at: Timestamp,
    created_by: Option<String>,
}

/// The key of HMACs, which is independent of the key of the cipher.
pub(crate) struct HmacKey {
    material: KeyMaterial,
    /// The prepared form of the material.
    prepared: Box<hmac::Key>,
}

/// A data key in plaintext and encrypted; the caller stores the encrypted form with its data.
#[derive(Debug)]
pub struct DataKey {
    /// 32 random bytes.
    pub plaintext: Secret,
    /// The data key, encrypted.
    pub ciphertext: Vec<u8>,
}

impl Key {
    /// Generates a new key; an empty `created_by` means unknown.
    pub fn generate(
        algorithm: Algorithm,
        created_at: Timestamp,
        created_by: &str,
        random: &dyn Random,
    ) -> Result<Self, RandomFailed> {
        let cipher = Cipher::new(algorithm, KeyMaterial::random(random)?);
        let hmac = Some(HmacKey::new(KeyMaterial::random(random)?));
        Ok(Self::from_parts(cipher, hmac, created_at, created_by))
    }

    /// Makes a key of given material, 32 bytes, with a new HMAC key; an empty `created_by` means unknown.
    pub fn import(
        material: &Secret,
        algorithm: Algorithm,
        created_at: Timestamp,
        created_by: &str,
        random: &dyn Random,
    ) -> Result<Self, ImportError> {
        let material = KeyMaterial::copy_of(material.expose()).ok_or(ImportError::Size)?;
        let hmac = Some(HmacKey::new(KeyMaterial::random(random)?));
        Ok(Self::from_parts(Cipher::new(algorithm, material), hmac, created_at, created_by))
    }

    pub(crate) fn from_parts(
        cipher: Cipher,
        hmac: Option<HmacKey>,
        created_at: Timestamp,
        created_by: &str,
    ) -> Self {
        let created_by = (!created_by.is_empty()).then(|| created_by.to_owned());
        Self { cipher, hmac, created_at, created_by }
    }

    /// The algorithm that it encrypts with.
    pub fn algorithm(&self) -> Algorithm {
        self.cipher.algorithm()
    }

    /// When it was created; [`Timestamp::ZERO`] if its record has no time.
    pub fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// The identity that created it, if its record has one; the text is not checked.
    pub fn created_by(&self) -> Option<&str> {
        self.created_by.as_deref()
    }

    /// Encrypts a plaintext.
    ///
    /// The ciphertext is 44 bytes longer and can be decrypted only with the same context, which it does
    /// not contain.
    pub fn seal(
        &self,
        plaintext: &[u8],
        context: &[u8],
        random: &dyn Random,
    ) -> Result<Vec<u8>, SealError> {
        let mut bytes = [0; IV_LEN + NONCE_LEN];
        random.fill(&mut bytes)?;
        let iv = std::array::from_fn(|i| bytes[i]);
        let nonce = std::array::from_fn(|i| bytes[IV_LEN + i]);
        self.seal_with(plaintext, context, &iv, nonce)
    }

    /// Decrypts a ciphertext of any known format, if it was encrypted with this key and context.
    pub fn open(&self, ciphertext: &[u8], context: &[u8]) -> Result<Secret, NotAuthentic> {
        let parts = ciphertext::split(ciphertext).ok_or(NotAuthentic)?;
        let mut buffer = Zeroizing::new(parts.sealed.into_owned());
        let opened = self.cipher.open(&mut buffer, context, &parts.iv, parts.nonce);
        opened.map_err(|_| NotAuthentic)?;
        Ok(Secret::new(std::mem::take(&mut buffer)))
    }

    /// Generates a data key of 32 bytes, with one system call for all its random bytes instead of three.
    pub fn generate_data_key(
        &self,
        context: &[u8],
        random: &dyn Random,
    ) -> Result<DataKey, SealError> {
        let mut bytes = Zeroizing::new([0; MATERIAL_LEN + IV_LEN + NONCE_LEN]);
        random.fill(bytes.as_mut_slice())?;
        let plaintext = Secret::new(bytes[..MATERIAL_LEN].to_vec());
        let iv = std::array::from_fn(|i| bytes[MATERIAL_LEN + i]);
        let nonce = std::array::from_fn(|i| bytes[MATERIAL_LEN + IV_LEN + i]);
        let ciphertext = self.seal_with(plaintext.expose(), context, &iv, nonce)?;
        Ok(DataKey { plaintext, ciphertext })
    }

    /// Computes the HMAC-SHA-256 of a message under the key's HMAC key, 32 bytes.
    pub fn hmac(&self, message: &[u8]) -> Result<Secret, NoHmacKey> {
        let key = self.hmac.as_ref().ok_or(NoHmacKey)?;
        let sign = || Secret::new(hmac::sign(&key.prepared, message).as_ref().to_vec());
        Ok(wiped_after(sign))
    }

    /// Whether both keys have the same material and algorithm; compared in constant time.
    pub fn same_material(&self, other: &Self) -> bool {
        let is_same_cipher = self.algorithm() == other.algorithm();
        let is_same_key = self.cipher.material() == other.cipher.material();
        let is_same_hmac = match (&self.hmac, &other.hmac) {
            (Some(ours), Some(theirs)) => ours.material == theirs.material,
            (None, None) => true,
            _ => false,
        };
        is_same_cipher & is_same_key & is_same_hmac
    }

    /// The cipher's raw key, for the record.
    pub(crate) fn material(&self) -> &KeyMaterial {
        self.cipher.material()
    }

    /// The raw HMAC key, for the record.
    pub(crate) fn hmac_material(&self) -> Option<&KeyMaterial> {
        self.hmac.as_ref().map(|key| &key.material)
    }

    fn seal_with(
        &self,
        plaintext: &[u8],
        context: &[u8],
        iv: &[u8; IV_LEN],
        nonce: [u8; NONCE_LEN],
    ) -> Result<Vec<u8>, SealError> {
        let mut buffer = Vec::with_capacity(plaintext.len().saturating_add(OVERHEAD));
        buffer.extend_from_slice(plaintext);
        let sealed = self.cipher.seal(&mut buffer, context, iv, nonce);
        if sealed.is_err() {
            // The buffer may still hold the plaintext.
            buffer.zeroize();
            return Err(SealError::TooLong);
        }
        buffer.extend_from_slice(iv);
        buffer.extend_from_slice(&nonce);
        Ok(buffer)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("algorithm", &self.algorithm()).finish_non_exhaustive()
    }
}

impl HmacKey {
    pub(crate) fn new(material: KeyMaterial) -> Self {
        Self { prepared: hmac_key(&material), material }
    }
}

/// The reasons why a plaintext cannot be encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// There are no random bytes.
    #[error("cannot make an IV and a nonce")]
    Random(#[from] RandomFailed),
    /// The plaintext is longer than the algorithm allows: tens of GiB.
    #[error("the plaintext is too long for the cipher")]
    TooLong,
}

/// The error for a ciphertext that was changed or cut, or belongs to another key or context.
///
/// Which of these is the case cannot be distinguished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ciphertext is not authentic")]
pub struct NotAuthentic;

/// The error for a key of the oldest format, which has no HMAC key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key does not support HMAC")]
pub struct NoHmacKey;

/// The reasons why key material cannot be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// The material is not 32 bytes long.
    #[error("key material must be 32 bytes long")]
    Size,
    /// There are no random bytes for the HMAC key.
    #[error("cannot make an HMAC key")]
    Random(#[from] RandomFailed),
}
