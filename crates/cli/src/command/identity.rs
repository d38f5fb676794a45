//! `kes identity`.

use std::fs;
use std::path::Path;

use kes_crypto::pem;
use kes_crypto::{
    ApiKey, CertificateRequest, IssuedCertificate, Random, SystemRandom, certificate_identity,
};
use kes_types::{Clock as _, Identity, Secret, SystemClock};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::args::{IdentityCommand, NewIdentityArgs};
use crate::connect;
use crate::exit::Failure;
use crate::output::Output;
use crate::pair::{self, NewFile, PairError};
use crate::password;

/// Makes identities, or tells whose they are.
pub(crate) fn run(command: IdentityCommand, output: &Output) -> Result<(), Failure> {
    match command {
        IdentityCommand::New(args) => new(args, &SystemRandom::new(), output),
        IdentityCommand::Of { credential, json } => {
            let identity = identity_of(&credential, output)?;
            if json {
                output.json(&IdentityJson { identity })
            } else {
                output.bare(&identity.to_string())
            }
        }
    }
}

/// The identity alone.
#[derive(Serialize)]
struct IdentityJson {
    identity: Identity,
}

/// A new API key.
#[derive(Serialize)]
struct ApiKeyJson<'a> {
    api_key: &'a str,
    identity: Identity,
}

/// New files.
#[derive(Serialize)]
struct FilesJson<'a> {
    key: &'a Path,
    cert: &'a Path,
    identity: Identity,
}

fn new(args: NewIdentityArgs, random: &dyn Random, output: &Output) -> Result<(), Failure> {
    let key = match &args.api_key {
        Some(text) => connect::api_key(text)?,
        None => ApiKey::generate(random).map_err(Failure::new)?,
    };
    match (&args.key, &args.cert) {
        (Some(key_file), Some(cert_file)) => {
            write_files(&key, key_file, cert_file, &args, random)?;
            show_files(key_file, cert_file, key.identity(), args.json, output)
        }
        _ => show_api_key(&key, args.json, output),
    }
}

fn write_files(
    key: &ApiKey,
    key_file: &Path,
    cert_file: &Path,
    args: &NewIdentityArgs,
    random: &dyn Random,
) -> Result<(), Failure> {
    // Before anybody is asked for a password.
    pair::check([key_file, cert_file], args.force).map_err(refused)?;
    let request = CertificateRequest {
        subject: args.subject.clone().unwrap_or_else(|| key.identity().to_string()),
        dns_names: args.dns.clone(),
        ip_addresses: args.ip.clone(),
        not_before: SystemClock.now(),
        validity: args.expiry,
    };
    let certificate = key.certificate(&request, random).map_err(Failure::new)?;
    let private_key = private_key_pem(&certificate, args.encrypt, random)?;
    let certificate = certificate.certificate_pem();
    let files = [
        NewFile { path: key_file, contents: private_key.expose(), mode: 0o600 },
        NewFile { path: cert_file, contents: certificate.as_bytes(), mode: 0o644 },
    ];
    pair::write(files, args.force).map_err(refused)
}

fn private_key_pem(
    certificate: &IssuedCertificate,
    encrypt: bool,
    random: &dyn Random,
) -> Result<Secret, Failure> {
    if !encrypt {
        return Ok(certificate.private_key_pem());
    }
    let password = password::ask_new("Password of the private key: ")?;
    pem::encrypt(certificate.private_key(), &password, random).map_err(Failure::new)
}

fn refused(error: PairError) -> Failure {
    let exists = matches!(error, PairError::Exists(_));
    let failure = Failure::new(error);
    if exists { failure.hint("-f replaces files that exist") } else { failure }
}

fn show_files(
    key: &Path,
    cert: &Path,
    identity: Identity,
    json: bool,
    output: &Output,
) -> Result<(), Failure> {
    if json {
        return output.json(&FilesJson { key, cert, identity });
    }
    let (key_label, cert_label) = (output.bold("Private key:"), output.bold("Certificate:"));
    output.line(&format!("{key_label} {}", key.display()))?;
    output.line(&format!("{cert_label} {}", cert.display()))?;
    output.line(&format!("{}    {identity}", output.bold("Identity:")))
}

fn show_api_key(key: &ApiKey, json: bool, output: &Output) -> Result<(), Failure> {
    let (text, identity) = (key.text(), key.identity());
    let api_key = std::str::from_utf8(text.expose()).map_err(Failure::new)?;
    if json {
        return output.json(&ApiKeyJson { api_key, identity });
    }
    if !output.is_terminal() {
        output.line(&Zeroizing::new(format!("API Key:  {api_key}")))?;
        return output.line(&format!("Identity: {identity}"));
    }
    let text = Zeroizing::new(format!(
        "{your_key}\n\n   {api_key}\n\n\
         This is the only time that it is shown. Keep it secret: whoever has it can do all that\n\
         your identity is allowed to do. Commands and MinIO take it from the environment:\n\n   \
         export MINIO_KES_API_KEY={api_key}\n   \
         export MINIO_KMS_KES_API_KEY={api_key}\n\n\
         {your_identity}\n\n   {identity}\n\n\
         It is not secret. A server's configuration names it in a policy, or as the admin. Get it\n\
         again with:\n\n   \
         kes identity of <API key>",
        your_key = output.bold("Your API key:"),
        your_identity = output.bold("Your identity:"),
    ));
    output.line(&text)
}

/// The identity of an API key, or of the first certificate of a file.
fn identity_of(credential: &Secret, output: &Output) -> Result<Identity, Failure> {
    let text = std::str::from_utf8(credential.expose()).unwrap_or_default();
    if let Ok(key) = text.trim().parse::<ApiKey>() {
        return Ok(key.identity());
    }
    if text.starts_with("kes:v1:") {
        return connect::api_key(credential).map(|key| key.identity());
    }
    // The text is not repeated: it may be a mistyped API key.
    let contents = fs::read(text).map_err(|error| {
        Failure::new(error).context("neither an API key nor a file that can be read")
    })?;
    let chain = pem::certificates(&contents).map_err(Failure::new)?;
    let first = chain.first().map(Vec::as_slice).unwrap_or_default();
    let certificate = certificate_identity(first).map_err(Failure::new)?;
    if certificate.is_ca {
        output.warn("a server does not take a certificate authority's certificate for a client's");
    }
    Ok(certificate.identity)
}
