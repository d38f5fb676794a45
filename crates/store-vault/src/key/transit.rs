//! Encrypts values with the transit engine of Vault, as a second layer.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kes_config::VaultTransit;
use kes_store::Deadline;
use kes_types::Secret;
use serde::Deserialize;
use vaultrs::api::transit::requests::{DecryptDataRequest, EncryptDataRequest};
use zeroize::Zeroizing;

use crate::auth::session::VaultSession;
use crate::error::VaultError;
use crate::http::request::VaultRequest;

/// The prefix of ciphertexts of transit; the version of the transit key follows.
const HEAD: &str = "vault:v";

/// Encrypts and decrypts values with a transit key.
#[derive(Debug)]
pub(crate) struct Transit {
    session: Arc<VaultSession>,
    engine: String,
    key: String,
}

#[derive(Deserialize)]
struct Encrypted {
    ciphertext: String,
}

#[derive(Deserialize)]
struct Decrypted {
    plaintext: String,
}

impl Transit {
    pub(crate) fn new(session: Arc<VaultSession>, settings: &VaultTransit) -> Self {
        Self { session, engine: settings.engine.clone(), key: settings.key.clone() }
    }

    /// Encrypts a value, and checks that it can be decrypted: otherwise a policy without the
    /// permission to decrypt would make the key unusable.
    pub(crate) async fn seal(
        &self,
        value: &Secret,
        deadline: Deadline,
    ) -> Result<String, VaultError> {
        let request = EncryptDataRequest {
            mount: self.engine.clone(),
            name: self.key.clone(),
            plaintext: STANDARD.encode(value.expose()),
            ..EncryptDataRequest::default()
        };
        let call = VaultRequest::of(&request)?.needing("update").repeatable();
        let answer = self.session.ask(&call, deadline).await.map_err(|error| match error {
            VaultError::Denied { path, role, .. } => {
                VaultError::EncryptDenied { path, role, key: self.key.clone() }
            }
            other => other,
        })?;
        if !answer.is_success() {
            return Err(answer.into_error());
        }
        let Encrypted { ciphertext } = answer.data()?;
        if !is_sealed(&ciphertext) {
            return Err(answer.not_understood());
        }
        if self.open(&ciphertext, deadline).await? == *value {
            Ok(ciphertext)
        } else {
            Err(VaultError::TransitUnsound(self.key.clone()))
        }
    }

    /// Decrypts a value that was encrypted by any version of the transit key.
    pub(crate) async fn open(
        &self,
        ciphertext: &str,
        deadline: Deadline,
    ) -> Result<Secret, VaultError> {
        let request = DecryptDataRequest {
            mount: self.engine.clone(),
            name: self.key.clone(),
            ciphertext: ciphertext.to_owned(),
            ..DecryptDataRequest::default()
        };
        let call = VaultRequest::of(&request)?.needing("update").repeatable();
        let answer = self.session.ask(&call, deadline).await?;
        if !answer.is_success() {
            return Err(answer.into_error());
        }
        let plaintext = Zeroizing::new(answer.data::<Decrypted>()?.plaintext);
        let value = STANDARD.decode(plaintext.as_bytes());
        value.map(Secret::from).map_err(|_| answer.not_understood())
    }
}

/// Returns whether a value was encrypted by transit, with any version of its key.
pub(crate) fn is_sealed(value: &str) -> bool {
    value.starts_with(HEAD)
}
