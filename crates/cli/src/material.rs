//! Certificates and private keys in PEM, and what is said where something else is found.

use std::path::Path;

use kes_config::advice;
use kes_crypto::pem::{self, Material, PemError};
use kes_types::Secret;

use crate::exit::Failure;

pub(crate) use kes_config::advice::Wanted;

/// Where contents were read from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source<'a> {
    File(&'a Path),
    StandardInput,
}

impl Source<'_> {
    /// Says where the contents of a failure come from.
    pub(crate) fn about(self, failure: Failure) -> Failure {
        match self {
            Self::File(path) => failure.context(format!("'{}'", path.display())),
            Self::StandardInput => failure.context("standard input"),
        }
    }

    /// A text about the source, which is the text's subject.
    fn message(self, text: impl FnOnce(&str, Option<&Path>) -> String) -> Failure {
        match self {
            Self::File(path) => {
                Failure::message(text(&format!("'{}'", path.display()), Some(path)))
            }
            Self::StandardInput => self.about(Failure::message(text("it", None))),
        }
    }
}

/// The certificates of PEM contents, in DER and in their order; at least one.
pub(crate) fn certificates(source: Source<'_>, contents: &Secret) -> Result<Vec<Vec<u8>>, Failure> {
    pem::certificates(contents.expose())
        .map_err(|error| unusable(source, contents, Wanted::Certificate, error))
}

/// A failure for contents that do not hold what is wanted: what they hold, and what would be right.
pub(crate) fn unusable(
    source: Source<'_>,
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

/// What would be right where nothing is known but what is wrong.
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
