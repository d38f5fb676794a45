//! API calls about keys.

use http::Method;
use kes_types::wire::{
    Base64, DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse, GenerateRequest,
    GenerateResponse, HmacRequest, HmacResponse, ImportRequest, KeyInfo, KeyPage,
};
use kes_types::{Algorithm, KeyName, ListPattern, Secret, path};

use crate::call::encode;
use crate::client::Client;
use crate::error::ClientError;

impl Client {
    /// Creates a key.
    pub async fn create_key(&self, name: &KeyName) -> Result<(), ClientError> {
        self.call(Method::PUT, &to(path::KEY_CREATE, name), None).await.map(drop)
    }

    /// Imports a raw key of 32 bytes.
    pub async fn import_key(
        &self,
        name: &KeyName,
        key: Secret,
        algorithm: Algorithm,
    ) -> Result<(), ClientError> {
        let body = ImportRequest { key, cipher: algorithm.as_str().to_owned() };
        self.call(Method::PUT, &to(path::KEY_IMPORT, name), Some(encode(&body)?)).await.map(drop)
    }

    /// Describes a key.
    pub async fn describe_key(&self, name: &KeyName) -> Result<KeyInfo, ClientError> {
        self.get(&to(path::KEY_DESCRIBE, name)).await
    }

    /// Deletes a key; its ciphertexts cannot be decrypted any more.
    pub async fn delete_key(&self, name: &KeyName) -> Result<(), ClientError> {
        self.call(Method::DELETE, &to(path::KEY_DELETE, name), None).await.map(drop)
    }

    /// Generates a data key of 32 bytes: its plaintext, and its ciphertext, which is bound to
    /// `context`.
    pub async fn generate_key(
        &self,
        name: &KeyName,
        context: Vec<u8>,
    ) -> Result<GenerateResponse, ClientError> {
        let body = GenerateRequest { context: Base64(context) };
        self.put(&to(path::KEY_GENERATE, name), &body).await
    }

    /// Encrypts a plaintext; `context` is authenticated and not encrypted.
    pub async fn encrypt(
        &self,
        name: &KeyName,
        plaintext: Secret,
        context: Vec<u8>,
    ) -> Result<EncryptResponse, ClientError> {
        let body = EncryptRequest { plaintext, context: Base64(context) };
        self.put(&to(path::KEY_ENCRYPT, name), &body).await
    }

    /// Decrypts a ciphertext that was made with the same `context`.
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
        self.get(&format!("{}{}", path::KEY_LIST, pattern.prefix())).await
    }
}

/// The path of a route with a key's name, which has no characters that need escaping.
fn to(route: &str, name: &KeyName) -> String {
    format!("{route}{name}")
}
