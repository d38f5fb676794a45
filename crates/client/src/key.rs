//! Calls on keys.

use http::Method;
use kes_types::wire::{
    Base64, DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse, GenerateRequest,
    GenerateResponse, HmacRequest, HmacResponse, ImportRequest, KeyInfo, KeyPage,
};
use kes_types::{Algorithm, KeyName, ListPattern, Secret, path};

use crate::client::Client;
use crate::error::ClientError;

impl Client {
    /// Creates a key.
    pub async fn create_key(&self, name: &KeyName) -> Result<(), ClientError> {
        self.order(Method::PUT, &to(path::KEY_CREATE, name)).await
    }

    /// Imports a raw key of 32 bytes.
    pub async fn import_key(
        &self,
        name: &KeyName,
        key: Secret,
        algorithm: Algorithm,
    ) -> Result<(), ClientError> {
        let body = ImportRequest { key, cipher: algorithm.as_str().to_owned() };
        self.submit(&to(path::KEY_IMPORT, name), &body).await
    }

    /// Describes a key.
    pub async fn describe_key(&self, name: &KeyName) -> Result<KeyInfo, ClientError> {
        self.fetch(Method::GET, &to(path::KEY_DESCRIBE, name)).await
    }

    /// Deletes a key, and with it everything that it sealed.
    pub async fn delete_key(&self, name: &KeyName) -> Result<(), ClientError> {
        self.order(Method::DELETE, &to(path::KEY_DELETE, name)).await
    }

    /// Makes a data key of 32 bytes, in plaintext and sealed together with `context`.
    pub async fn generate_key(
        &self,
        name: &KeyName,
        context: Vec<u8>,
    ) -> Result<GenerateResponse, ClientError> {
        let body = GenerateRequest { context: Base64(context) };
        self.put(&to(path::KEY_GENERATE, name), &body).await
    }

    /// Seals a plaintext together with `context`.
    pub async fn encrypt(
        &self,
        name: &KeyName,
        plaintext: Secret,
        context: Vec<u8>,
    ) -> Result<EncryptResponse, ClientError> {
        let body = EncryptRequest { plaintext, context: Base64(context) };
        self.put(&to(path::KEY_ENCRYPT, name), &body).await
    }

    /// Opens a ciphertext that was sealed together with `context`.
    pub async fn decrypt(
        &self,
        name: &KeyName,
        ciphertext: Vec<u8>,
        context: Vec<u8>,
    ) -> Result<DecryptResponse, ClientError> {
        let body = DecryptRequest { ciphertext: Base64(ciphertext), context: Base64(context) };
        self.put(&to(path::KEY_DECRYPT, name), &body).await
    }

    /// Computes the HMAC-SHA-256 of a message, 32 bytes.
    pub async fn hmac(&self, name: &KeyName, message: Secret) -> Result<HmacResponse, ClientError> {
        self.put(&to(path::KEY_HMAC, name), &HmacRequest { message }).await
    }

    /// Lists the first page of the names that `pattern` matches.
    pub async fn list_keys(&self, pattern: &ListPattern) -> Result<KeyPage, ClientError> {
        self.fetch(Method::GET, &format!("{}{}", path::KEY_LIST, pattern.prefix())).await
    }
}

/// The path of a route for a key; no character of a name needs escaping.
fn to(route: &str, name: &KeyName) -> String {
    format!("{route}{name}")
}
