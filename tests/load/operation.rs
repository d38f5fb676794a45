//! The requests that servers are measured with.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kes_harness::{Dialer, Proto};
use serde_json::{Value, json};

use crate::wire::{Prepared, Wire};

/// The name of the key of a server that has one key.
pub(crate) const KEY: &str = "my-key";

/// Number of different ciphertexts that a client sends in turn.
pub(crate) const OBJECTS: usize = 100;

/// An API operation that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Generate,
    Encrypt,
    Decrypt,
    Status,
}

impl Operation {
    pub(crate) const ALL: [Self; 4] = [Self::Generate, Self::Encrypt, Self::Decrypt, Self::Status];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Generate => "generate",
            Self::Encrypt => "encrypt",
            Self::Decrypt => "decrypt",
            Self::Status => "status",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.name() == name)
    }

    /// Prepares the requests of this operation with the key [`KEY`].
    pub(crate) async fn requests(self, dialer: &Dialer, proto: Proto) -> Vec<Prepared> {
        match self {
            Self::Generate => vec![generate(KEY)],
            Self::Status => vec![Prepared::get("/v1/status")],
            Self::Encrypt => {
                let plaintext = STANDARD.encode([7; 32]);
                let body = json!({ "context": context(), "plaintext": plaintext });
                vec![Prepared::put(&format!("/v1/key/encrypt/{KEY}"), body.to_string())]
            }
            Self::Decrypt => {
                let mut wire = Wire::open(dialer, proto).await;
                decrypts(&mut wire, &vec![KEY; OBJECTS]).await
            }
        }
    }
}

/// Prepares a decrypt for each of these keys. The ciphertexts come from the server, so each key is
/// in its cache afterwards.
pub(crate) async fn decrypts(wire: &mut Wire, keys: &[impl AsRef<str> + Sync]) -> Vec<Prepared> {
    let mut requests = Vec::new();
    for key in keys {
        let key = key.as_ref();
        let (status, body) = wire.send(&generate(key)).await;
        assert_eq!(status, 200, "{key}");
        let made: Value = serde_json::from_slice(&body).expect("JSON");
        let body = json!({ "ciphertext": made["ciphertext"], "context": context() });
        requests.push(Prepared::put(&format!("/v1/key/decrypt/{key}"), body.to_string()));
    }
    requests
}

pub(crate) fn generate(key: &str) -> Prepared {
    let body = json!({ "context": context() }).to_string();
    Prepared::put(&format!("/v1/key/generate/{key}"), body)
}

fn context() -> String {
    STANDARD.encode(r#"{"bucket":"bucket/object"}"#)
}
