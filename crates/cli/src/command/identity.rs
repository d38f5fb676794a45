//! The command `kes identity`.

use std::fs::File;
use std::path::Path;

use kes_config::Environment;
use kes_crypto::{ApiKey, SystemRandom, certificate_identity};
use kes_types::{Identity, Secret};
use serde::Serialize;

use crate::args::{IdentityArgs, IdentityCommand};
use crate::command::new_identity;
use crate::exit::Failure;
use crate::input;
use crate::mask;
use crate::material::{self, Input};
use crate::output::Output;

/// Creates identities, or prints the identity of an API key or a certificate.
pub(crate) fn run(
    args: IdentityArgs,
    environment: &dyn Environment,
    output: &Output,
) -> Result<(), Failure> {
    match (args.command, args.credential) {
        (Some(_), Some(_)) => Err(Failure::usage("a command follows an API key or a file")
            .hint("'kes identity --help' lists what goes together")),
        (Some(IdentityCommand::New(mut new)), None) => {
            new.json |= args.json;
            new_identity::run(new, &SystemRandom::new(), environment, output)
        }
        (Some(IdentityCommand::Of { credential, json }), None) => {
            show(&credential, json || args.json, output)
        }
        (None, Some(credential)) => show(&credential, args.json, output)
            .map_err(|failure| failure.hint("'kes identity --help' lists the commands")),
        (None, None) => Err(Failure::usage("an API key or a certificate is missing")),
    }
}

/// The JSON of an identity.
#[derive(Serialize)]
struct IdentityJson {
    identity: Identity,
}

fn show(credential: &Secret, json: bool, output: &Output) -> Result<(), Failure> {
    let identity = identity_of(credential, output)?;
    if json {
        return output.json(&IdentityJson { identity });
    }
    output.bare(&identity.to_string())
}

/// Computes the identity of an API key, or of the content of a file or standard input.
fn identity_of(credential: &Secret, output: &Output) -> Result<Identity, Failure> {
    let text = std::str::from_utf8(credential.expose()).unwrap_or_default();
    if let Some(identity) = of_api_key(credential) {
        return identity;
    }
    if text == input::STANDARD_INPUT {
        let source = Input::StandardInput;
        let contents = input::standard("API key or certificate: ");
        let contents = contents.map_err(|error| source.about(Failure::new(error)))?;
        return of_contents(source, &contents, output);
    }
    // The text is not repeated unless it names a file: it may be a mistyped API key.
    let contents =
        File::open(text).and_then(|file| input::all(file, input::BYTES_MAX)).map_err(|error| {
            Failure::new(error).context("neither an API key nor a file that can be read")
        })?;
    of_contents(Input::File(Path::new(text)), &contents, output)
}

/// Parses an API key; `None` if the text does not look like one.
fn of_api_key(text: &Secret) -> Option<Result<Identity, Failure>> {
    let trimmed = std::str::from_utf8(text.expose()).unwrap_or_default().trim();
    let key = trimmed.parse::<ApiKey>().map_err(Failure::new);
    let is_meant = !trimmed.contains('\n') && mask::holds_api_key(trimmed);
    (key.is_ok() || is_meant).then(|| key.map(|key| key.identity()))
}

/// Computes the identity of an API key, or of the first certificate.
fn of_contents(source: Input<'_>, contents: &Secret, output: &Output) -> Result<Identity, Failure> {
    if let Some(identity) = of_api_key(contents) {
        return identity.map_err(|failure| source.about(failure));
    }
    let chain = material::certificates(source, contents)?;
    let first = chain.first().map(Vec::as_slice).unwrap_or_default();
    let certificate = certificate_identity(first);
    let certificate = certificate.map_err(|error| source.about(Failure::new(error)))?;
    if certificate.is_ca {
        output.warn("this is a CA's certificate, which a server does not accept from a client");
    }
    Ok(certificate.identity)
}
