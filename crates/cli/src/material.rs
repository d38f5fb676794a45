//! Reads certificates and private keys in PEM, and explains other contents.

use std::path::Path;

use kes_config::advice;
use kes_crypto::pem::{self, Material, PemError};
use kes_types::Secret;

use crate::exit::Failure;

pub(crate) use kes_config::advice::Wanted;

/// The source of contents.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Input<'a> {
    File(&'a Path),
    StandardInput,
}

impl Input<'_> {
    /// Adds the source to a failure.
    pub(crate) fn about(self, failure: Failure) -> Failure {
        match self {
            Self::File(path) => failure.context(format!("'{}'", path.display())),
            Self::StandardInput => failure.context("standard input"),
        }
    }

    /// Makes a failure of a text that begins with the source.
    fn message(self, text: impl FnOnce(&str, Option<&Path>) -> String) -> Failure {
        match self {
            Self::File(path) => {
                Failure::message(text(&format!("'{}'", path.display()), Some(path)))
            }
            Self::StandardInput => self.about(Failure::message(text("it", None))),
        }
    }
}

/// Returns the certificates of PEM contents, in DER and in their order; at least one.
pub(crate) fn certificates(source: Input<'_>, contents: &Secret) -> Result<Vec<Vec<u8>>, Failure> {
    pem::certificates(contents.expose())
        .map_err(|error| unusable(source, contents, Wanted::Certificate, error))
}

/// Makes the failure for contents that are not the expected ones: what they are, and what is expected.
pub(crate) fn unusable(
    source: Input<'_>,
    contents: &Secret,
    wanted: Wanted,
    error: PemError,
) -> Failure {
    let contents = contents.expose();
    if let Some(material) = Material::of(contents) {
        return source.message(|shown, path| advice::instead(shown, material, wanted, path));
    }
    let goes_with = format!("it wants the {wanted} that goes with it, in PEM");
    match error {
        PemError::NoKey if pem::certificates(contents).is_ok() => source.message(|shown, _| {
            format!("{shown} holds no private key, but a certificate; {goes_with}")
        }),
        PemError::NoCertificate if holds_private_key(contents) => source.message(|shown, _| {
            format!("{shown} holds no certificate, but a private key; {goes_with}")
        }),
        _ => {
            let right = right(wanted, &error);
            source
                .about(Failure::new(error).context(format!("no {wanted} can be taken from it")))
                .hint(right)
        }
    }
}

fn holds_private_key(contents: &[u8]) -> bool {
    !matches!(pem::private_key(contents, None), Err(PemError::NoKey | PemError::Malformed))
}

/// Returns a hint about the expected contents if the actual ones are not known.
fn right(wanted: Wanted, error: &PemError) -> String {
    match (wanted, error) {
        (_, PemError::SeveralKeys) => "leave one private key in the file".to_owned(),
        (_, PemError::Unsupported(_) | PemError::Parameters) => {
            "`openssl pkcs8 -topk8 -v2 aes-256-cbc -in FILE -out NEW` encrypts it in a way that is \
             supported"
                .to_owned()
        }
        (Wanted::PrivateKey, _) => {
            "a private key in PEM has lines of base64 between `-----BEGIN PRIVATE KEY-----` and \
             `-----END PRIVATE KEY-----`"
                .to_owned()
        }
        (Wanted::Certificate, _) => {
            "a certificate in PEM has lines of base64 between `-----BEGIN CERTIFICATE-----` and \
             `-----END CERTIFICATE-----`"
                .to_owned()
        }
    }
}
