//! Password-based encryption of PKCS#8 private keys: PBES2 (RFC 8018).

use kes_types::{Random, Secret};
use pkcs8::der::asn1::AnyRef;
use pkcs8::der::{Decode as _, ErrorKind};
use pkcs8::pkcs5::pbes2::{Kdf, PBES2_OID, Parameters, ScryptParams};
use pkcs8::pkcs5::{self, EncryptionScheme};
use pkcs8::spki::AlgorithmIdentifierRef;
use pkcs8::{EncryptedPrivateKeyInfoRef, ObjectIdentifier, PrivateKeyInfoRef};

use super::{EncryptError, PemError, PrivateKey, PrivateKeyKind, section};

/// The iterations that OWASP recommends for PBKDF2 with HMAC-SHA-256.
const ITERATIONS: u32 = 600_000;

/// The maximum memory of scrypt, in bytes: 256 MiB, eight times the usual value.
const SCRYPT_MEMORY_MAX: u64 = 256 << 20;

/// Decrypts an `EncryptedPrivateKeyInfo`.
pub(super) fn decrypt(der: &[u8], password: &Secret) -> Result<Secret, PemError> {
    check_des_iv(der)?;
    let info = EncryptedPrivateKeyInfoRef::try_from(der).map_err(|error| unreadable(der, error))?;
    check(&info.encryption_algorithm)?;
    let key = info.decrypt(password.expose()).map_err(|error| match error {
        pkcs8::Error::EncryptedPrivateKey(error) => refusal(error),
        _ => PemError::WrongPassword,
    })?;
    // A wrong password can give well-formed padding by chance.
    PrivateKeyInfoRef::try_from(key.as_bytes()).map_err(|_| PemError::WrongPassword)?;
    Ok(Secret::new(key.as_bytes().to_vec()))
}

/// Encrypts a PKCS#8 private key to PEM with AES-256-CBC and PBKDF2-HMAC-SHA-256.
pub fn encrypt(
    key: &PrivateKey,
    password: &Secret,
    random: &dyn Random,
) -> Result<Secret, EncryptError> {
    if key.kind() != PrivateKeyKind::Pkcs8 {
        return Err(EncryptError::NotPkcs8);
    }
    let info =
        PrivateKeyInfoRef::try_from(key.der().expose()).map_err(|_| EncryptError::NotPkcs8)?;
    let (mut salt, mut iv) = ([0; 16], [0; 16]);
    random.fill(&mut salt)?;
    random.fill(&mut iv)?;
    let parameters = Parameters::generate_pbkdf2_sha256_aes256cbc(ITERATIONS, &salt, iv)
        .map_err(|_| EncryptError::NotPkcs8)?;
    let encrypted = info
        .encrypt_with_params(parameters, password.expose())
        .map_err(|_| EncryptError::NotPkcs8)?;
    Ok(section::write_encrypted_pkcs8(encrypted.as_bytes()))
}

/// Refuses a 3DES IV that is not 8 bytes long: the library would use 8 bytes of any IV.
fn check_des_iv(der: &[u8]) -> Result<(), PemError> {
    /// `des-EDE3-CBC`, 1.2.840.113549.3.7, in DER.
    const DES_EDE3_CBC: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x03, 0x07];
    /// An octet string of eight bytes.
    const EIGHT_BYTES: &[u8] = &[0x04, 0x08];

    let mut rest = der;
    while let Some(at) = rest.windows(DES_EDE3_CBC.len()).position(|part| part == DES_EDE3_CBC) {
        rest = rest.get(at + DES_EDE3_CBC.len()..).unwrap_or_default();
        if !rest.starts_with(EIGHT_BYTES) || rest.len() < EIGHT_BYTES.len() + 8 {
            return Err(PemError::Parameters);
        }
    }
    Ok(())
}

/// Refuses parameters that the library does not support, or that would use too much memory.
fn check(scheme: &EncryptionScheme) -> Result<(), PemError> {
    match scheme.pbes2().map(|parameters| &parameters.kdf) {
        None => Err(PemError::Unsupported(scheme.oid().to_string())),
        Some(Kdf::Scrypt(ScryptParams { cost_parameter, block_size, .. })) => {
            let memory = cost_parameter.saturating_mul(u64::from(*block_size)).saturating_mul(128);
            let is_cost_valid = cost_parameter.is_power_of_two() && *cost_parameter > 1;
            if is_cost_valid && memory <= SCRYPT_MEMORY_MAX {
                Ok(())
            } else {
                Err(PemError::Parameters)
            }
        }
        Some(_) => Ok(()),
    }
}

/// Names the scheme of a well-formed `EncryptedPrivateKeyInfo` that the library does not support.
fn unreadable(der: &[u8], error: pkcs8::Error) -> PemError {
    if let pkcs8::Error::Asn1(error) = error
        && let ErrorKind::OidUnknown { oid } = error.kind()
    {
        return PemError::Unsupported(oid.to_string());
    }
    match scheme(der) {
        Ok(oid) if oid != PBES2_OID => PemError::Unsupported(oid.to_string()),
        _ => PemError::Parameters,
    }
}

fn scheme(der: &[u8]) -> Result<ObjectIdentifier, pkcs8::der::Error> {
    AnyRef::from_der(der)?.sequence(|fields| {
        let scheme = AlgorithmIdentifierRef::decode(fields)?;
        let _encrypted = AnyRef::decode(fields)?;
        Ok(scheme.oid)
    })
}

fn refusal(error: pkcs5::Error) -> PemError {
    match error {
        pkcs5::Error::UnsupportedAlgorithm { oid } => PemError::Unsupported(oid.to_string()),
        pkcs5::Error::AlgorithmParametersInvalid { .. } => PemError::Parameters,
        _ => PemError::WrongPassword,
    }
}

#[cfg(test)]
mod tests {
    use pkcs8::der::Encode as _;
    use pkcs8::der::asn1::OctetStringRef;
    use pkcs8::pkcs5::pbes2::{EncryptionScheme as Cipher, Salt};

    use super::*;

    fn scheme(cost_parameter: u64, block_size: u16) -> EncryptionScheme {
        let kdf = Kdf::Scrypt(ScryptParams {
            salt: Salt::new([7; 16]).unwrap(),
            cost_parameter,
            block_size,
            parallelization: 1,
            key_length: None,
        });
        let encryption = Cipher::Aes256Cbc { iv: [7; 16] };
        EncryptionScheme::Pbes2(Parameters { kdf, encryption })
    }

    #[test]
    fn scrypt_costs_that_are_invalid_or_take_too_much_memory_are_refused() {
        assert_eq!(check(&scheme(1 << 14, 8)), Ok(()));
        assert_eq!(check(&scheme(1 << 18, 8)), Ok(()));
        for (cost, block_size) in [(0, 8), (1, 8), (3, 8), (1 << 19, 8), (u64::MAX, u16::MAX)] {
            assert_eq!(check(&scheme(cost, block_size)), Err(PemError::Parameters), "{cost}");
        }
    }

    #[test]
    fn a_key_file_with_an_invalid_scrypt_cost_is_an_error() {
        let info = EncryptedPrivateKeyInfoRef {
            encryption_algorithm: scheme(0, 8),
            encrypted_data: OctetStringRef::new(&[7; 32]).unwrap(),
        };
        let password = Secret::from("correct horse".to_owned());
        let refused = decrypt(&info.to_der().unwrap(), &password);
        assert_eq!(refused.unwrap_err(), PemError::Parameters);
    }
}
