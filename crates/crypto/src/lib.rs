//! Key material and the formats it is kept and used in. Sync, no I/O.
//!
//! A [`Key`] seals, opens and signs; [`record`] is how key stores hold it. An [`ApiKey`] is a
//! caller's credential, from which certificates are made; [`certificate_identity`] is the way back.

mod algorithm;
mod api_key;
mod certificate;
mod cipher;
mod ciphertext;
mod dns_name;
mod issue;
mod key;
mod material;
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
