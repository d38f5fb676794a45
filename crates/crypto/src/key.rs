//! A key, ready for use.

use std::fmt;

use kes_types::{Algorithm, Random, RandomFailed, Secret, Timestamp};
use ring::hmac;
use zeroize::{Zeroize as _, Zeroizing};

use crate::cipher::{Cipher, IV_LEN, NONCE_LEN};
use crate::ciphertext::{self, OVERHEAD};
use crate::material::{MATERIAL_LEN, Material};
use crate::stack::wiped_after;

/// A key that seals, opens and, unless it is of the oldest generation, signs. Mute in `Debug`.
///
/// It has one version today; callers see none, so that there can be several.
pub struct Key {
    cipher: Cipher,
    hmac: Option<HmacKey>,
    created_at: Timestamp,
    created_by: Option<String>,
}

/// The key that messages are signed with; independent of the cipher's.
pub(crate) struct HmacKey {
    material: Material,
    /// Boxed for the allocator that wipes: ring does not.
    prepared: Box<hmac::Key>,
}

/// A data key: for the caller's data, and sealed for keeping beside them.
#[derive(Debug)]
pub struct DataKey {
    /// 32 random bytes.
    pub plaintext: Secret,
    /// The same, sealed.
    pub ciphertext: Vec<u8>,
}

impl Key {
    /// Makes a new key. An empty `created_by` is nobody.
    pub fn generate(
        algorithm: Algorithm,
        created_at: Timestamp,
        created_by: &str,
        random: &dyn Random,
    ) -> Result<Self, RandomFailed> {
        let cipher = Cipher::new(algorithm, Material::random(random)?);
        let hmac = Some(HmacKey::new(Material::random(random)?));
        Ok(Self::from_parts(cipher, hmac, created_at, created_by))
    }

    /// Makes a key of given material, 32 bytes, and a fresh HMAC key. An empty `created_by` is
    /// nobody.
    pub fn import(
        material: &Secret,
        algorithm: Algorithm,
        created_at: Timestamp,
        created_by: &str,
        random: &dyn Random,
    ) -> Result<Self, ImportError> {
        let material = Material::copy_of(material.expose()).ok_or(ImportError::Size)?;
        let hmac = Some(HmacKey::new(Material::random(random)?));
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

    /// The cipher that it seals with.
    pub fn algorithm(&self) -> Algorithm {
        self.cipher.algorithm()
    }

    /// When it was made; [`Timestamp::ZERO`] if its record does not say.
    pub fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// Who made it, if its record says so: an identity, as text that nobody has checked.
    pub fn created_by(&self) -> Option<&str> {
        self.created_by.as_deref()
    }

    /// Seals a plaintext. The ciphertext is 44 bytes longer and opens only with the same context,
    /// which it does not contain.
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

    /// Opens a ciphertext of any known form. What comes out was sealed with this key and context.
    pub fn open(&self, ciphertext: &[u8], context: &[u8]) -> Result<Secret, NotAuthentic> {
        let parts = ciphertext::split(ciphertext).ok_or(NotAuthentic)?;
        let mut buffer = Zeroizing::new(parts.sealed.into_owned());
        let opened = self.cipher.open(&mut buffer, context, &parts.iv, parts.nonce);
        opened.map_err(|_| NotAuthentic)?;
        Ok(Secret::new(std::mem::take(&mut buffer)))
    }

    /// Makes a data key of 32 bytes. All its randomness is taken at once: one system call, not
    /// three.
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

    /// The HMAC-SHA-256 of a message under the key's HMAC key, 32 bytes.
    pub fn hmac(&self, message: &[u8]) -> Result<Secret, NoHmacKey> {
        let key = self.hmac.as_ref().ok_or(NoHmacKey)?;
        let sign = || Secret::new(hmac::sign(&key.prepared, message).as_ref().to_vec());
        Ok(wiped_after(sign))
    }

    /// Whether the other key opens and signs what this one does; in constant time.
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
    pub(crate) fn material(&self) -> &Material {
        self.cipher.material()
    }

    /// The raw HMAC key, for the record.
    pub(crate) fn hmac_material(&self) -> Option<&Material> {
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
    pub(crate) fn new(material: Material) -> Self {
        let prepare = || Box::new(hmac::Key::new(hmac::HMAC_SHA256, material.expose()));
        let prepared = wiped_after(prepare);
        Self { material, prepared }
    }
}

/// Why there is no ciphertext.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// No randomness.
    #[error("cannot make an IV and a nonce")]
    Random(#[from] RandomFailed),
    /// The plaintext is longer than the cipher takes: tens of GiB.
    #[error("the plaintext is too long for the cipher")]
    TooLong,
}

/// The ciphertext was changed or cut, or belongs to another key or context; which one of these,
/// nobody can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ciphertext is not authentic")]
pub struct NotAuthentic;

/// The key is of the oldest generation, which has no HMAC key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key does not support HMAC")]
pub struct NoHmacKey;

/// Why key material was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// The material is not 32 bytes long.
    #[error("key material must be 32 bytes long")]
    Size,
    /// No randomness for the HMAC key.
    #[error("cannot make an HMAC key")]
    Random(#[from] RandomFailed),
}
