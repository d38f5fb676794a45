//! The command `kes identity new`.

use std::borrow::Cow;
use std::net::IpAddr;
use std::path::Path;

use kes_config::Environment;
use kes_crypto::pem;
use kes_crypto::{ApiKey, CertificateRequest, IssuedCertificate};
use kes_types::{Clock as _, Identity, Random, Secret, SystemClock};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::args::{KeyEncryption, NewIdentityArgs};
use crate::connect;
use crate::exit::Failure;
use crate::input;
use crate::material::Input;
use crate::output::Output;
use crate::pair::{self, NewFile, PairError};
use crate::password;

/// The JSON of a new identity: an API key, and the files that were written for it.
#[derive(Serialize)]
struct IdentityJson<'a> {
    #[serde(flatten)]
    files: Option<Files<'a>>,
    api_key: &'a str,
    identity: Identity,
}

/// The files of a private key and its certificate.
#[derive(Clone, Copy, Serialize)]
struct Files<'a> {
    key: &'a Path,
    cert: &'a Path,
}

/// Creates an API key, and the files for it if they are named.
pub(crate) fn run(
    args: NewIdentityArgs,
    random: &dyn Random,
    environment: &dyn Environment,
    output: &Output,
) -> Result<(), Failure> {
    let key = match &args.api_key {
        Some(text) if text.expose() == input::STANDARD_INPUT.as_bytes() => {
            let about = |failure: Failure| Input::StandardInput.about(failure);
            let text = input::standard("API key: ").map_err(|error| about(Failure::new(error)))?;
            connect::api_key(&text).map_err(about)?
        }
        Some(text) => connect::api_key(text)?,
        None => ApiKey::generate(random).map_err(Failure::new)?,
    };
    let files = args.key.as_deref().zip(args.cert.as_deref());
    let files = files.map(|(key, cert)| Files { key, cert });
    if let Some(files) = files {
        // Checked before the command asks for a password.
        pair::check([files.key, files.cert], args.force).map_err(refused)?;
        for name in args.dns.iter().filter(|name| name.parse::<IpAddr>().is_ok()) {
            output.warn(&format!(
                "clients do not look for IP addresses among DNS names: use --ip {name}"
            ));
        }
        let password = match args.encrypt {
            Some(_) => Some(password::of_new(args.password_file.as_deref(), environment, output)?),
            None => None,
        };
        write_files(&key, files, &args, password.as_ref(), random)?;
    }
    show(&key, files, args.json, output)
}

fn write_files(
    key: &ApiKey,
    files: Files<'_>,
    args: &NewIdentityArgs,
    password: Option<&Secret>,
    random: &dyn Random,
) -> Result<(), Failure> {
    let request = CertificateRequest {
        subject: args.subject.clone().unwrap_or_else(|| key.identity().to_string()),
        dns_names: args.dns.clone(),
        ip_addresses: args.ip.clone(),
        not_before: SystemClock.now(),
        validity: args.expiry,
    };
    let certificate = key.certificate(&request, random).map_err(Failure::new)?;
    let encryption = args.encrypt.zip(password);
    let private_key = private_key_pem(&certificate, encryption, random)?;
    let certificate = certificate.certificate_pem();
    let files = [
        NewFile { path: files.key, contents: private_key.expose(), mode: 0o600 },
        NewFile { path: files.cert, contents: certificate.as_bytes(), mode: 0o644 },
    ];
    pair::write(files, args.force).map_err(refused)
}

fn private_key_pem(
    certificate: &IssuedCertificate,
    encryption: Option<(KeyEncryption, &Secret)>,
    random: &dyn Random,
) -> Result<Secret, Failure> {
    let key = certificate.private_key();
    match encryption {
        None => Ok(certificate.private_key_pem()),
        Some((KeyEncryption::Legacy, password)) => {
            pem::encrypt_legacy(key, password, random).map_err(Failure::new)
        }
        Some((KeyEncryption::Pkcs8, password)) => {
            pem::encrypt(key, password, random).map_err(Failure::new)
        }
    }
}

fn refused(error: PairError) -> Failure {
    let exists = matches!(error, PairError::Exists(_));
    let failure = Failure::new(error);
    if exists { failure.hint("-f replaces files that exist") } else { failure }
}

fn show(
    key: &ApiKey,
    files: Option<Files<'_>>,
    json: bool,
    output: &Output,
) -> Result<(), Failure> {
    let (text, identity) = (key.text(), key.identity());
    let api_key = std::str::from_utf8(text.expose()).map_err(Failure::new)?;
    if json {
        return output.json(&IdentityJson { files, api_key, identity });
    }
    output.line(&text_of(api_key, identity, files, output))
}

/// Formats the output, which scripts parse.
///
/// The API key and the identity have lines of their own, after an empty line and a heading that occurs once.
/// The command at the end is indented by one blank more and does not contain the API key.
fn text_of(
    api_key: &str,
    identity: Identity,
    files: Option<Files<'_>>,
    output: &Output,
) -> Zeroizing<String> {
    let of_files = files.map(|Files { key, cert }| {
        let (key, cert) = (quoted(key), quoted(cert));
        format!("It is the private key in {key}. The certificate is in {cert}.\n")
    });
    let again = match files {
        Some(Files { cert, .. }) => format!(":\n\n    kes identity of {}", quoted(cert)),
        None => ". It asks for the API key, or reads it from standard input: other\n\
                 users of the machine see what stands on a command line in the list of processes.\n\n    \
                 kes identity of -"
            .to_owned(),
    };
    Zeroizing::new(format!(
        "{your_key}\n\n   {api_key}\n\n\
         It is shown only now. Keep it secret: it gives all permissions of its identity. MinIO reads\n\
         it from MINIO_KMS_KES_API_KEY, the commands of kes read it from MINIO_KES_API_KEY.\n\
         {of_files}\n\
         {your_identity}\n\n   {identity}\n\n\
         It is not secret. The configuration of a server names it in a policy, or as the admin.\n\
         This computes it again{again}",
        your_key = output.bold("Your API key:"),
        your_identity = output.bold("Your Identity:"),
        of_files = of_files.unwrap_or_default(),
    ))
}

/// Quotes a path for a shell where this is necessary.
fn quoted(path: &Path) -> String {
    let path = path.to_string_lossy();
    // Otherwise it would be a flag.
    let path = if path.starts_with('-') { Cow::Owned(format!("./{path}")) } else { path };
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+,:@%".contains(c);
    if !path.is_empty() && path.chars().all(is_plain) {
        path.into_owned()
    } else {
        format!("'{}'", path.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_for_a_shell_where_it_is_necessary() {
        for (path, expected) in [
            ("a/b-1.crt", "a/b-1.crt"),
            ("my cert.crt", "'my cert.crt'"),
            ("it's", r"'it'\''s'"),
            ("-a", "./-a"),
            ("$(id)", "'$(id)'"),
        ] {
            assert_eq!(quoted(Path::new(path)), expected);
        }
    }
}
