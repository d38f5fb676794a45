//! Keys, ciphertexts and certificates: cryptography and the formats of what is stored and sent.
//!
//! A [`Key`] encrypts, decrypts and computes HMACs; [`record`] encodes it for key stores. An [`ApiKey`]
//! is a caller's credential, from which certificates are made; [`certificate_identity`] computes the
//! identity of a certificate. The crate is sync and does no I/O.

mod algorithm;
mod api_key;
mod certificate;
mod cipher;
mod ciphertext;
mod dns_name;
mod issue;
mod key;
mod key_material;
mod message_pack;
pub mod pem;
mod proto;
mod random;
pub mod record;
mod stack;

pub use algorithm::preferred_algorithm;
pub use api_key::{ApiKey, InvalidApiKey};
pub use certificate::{
    CertificateFacts, CertificateIdentity, InvalidCertificate, certificate_facts,
    certificate_identity, certificate_public_key,
};
pub use ciphertext::{CiphertextForm, ciphertext_form};
pub use dns_name::{InvalidDnsName, check_dns_name};
pub use issue::{CertificateRequest, IssueError, IssuedCertificate};
pub use key::{DataKey, ImportError, Key, NoHmacKey, NotAuthentic, SealError};
pub use proto::ProtoError;
pub use random::SystemRandom;
pub use record::RecordError;
