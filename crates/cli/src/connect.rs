//! Which server a command talks to, and as whom: flags first, then the environment.

use std::fs;

use kes_client::{
    Client, ClientConfig, ClientError, ClientIdentity, ConnectError, Endpoint, ServerTrust,
    Timeouts,
};
use kes_config::Environment;
use kes_crypto::pem::{self, PemError};
use kes_crypto::{ApiKey, SystemRandom, certificate_identity};
use kes_types::{Clock as _, Identity, Secret, SystemClock};

use crate::args::Access;
use crate::exit::Failure;
use crate::password;

/// The variables that name the servers; the first one that is set counts. The others are the names
/// of older releases, and those that a storage server reads; so below.
const SERVER: [&str; 3] = ["MINIO_KES_SERVER", "KES_SERVER", "MINIO_KMS_KES_ENDPOINT"];
const API_KEY: [&str; 3] = ["MINIO_KES_API_KEY", "KES_API_KEY", "MINIO_KMS_KES_API_KEY"];
const KEY_FILE: [&str; 3] = ["MINIO_KES_KEY_FILE", "KES_CLIENT_KEY", "MINIO_KES_CLIENT_KEY"];
const CERT_FILE: [&str; 3] = ["MINIO_KES_CERT_FILE", "KES_CLIENT_CERT", "MINIO_KES_CLIENT_CERT"];

/// The server when nobody names one.
const SERVER_DEFAULT: &str = "127.0.0.1:7373";

/// A client, and who it is.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) client: Client,
    identity: Identity,
}

impl Connection {
    /// Prepares for talking to the servers; connects to none yet.
    pub(crate) fn new(
        server: Option<&str>,
        access: &Access,
        environment: &dyn Environment,
    ) -> Result<Self, Failure> {
        let endpoints = endpoints(server, environment)?;
        let (credential, identity) = match credentials(access, environment)? {
            Credentials::ApiKey(key) => of_api_key(&key)?,
            Credentials::Files { key, cert } => of_files(&key, &cert)?,
        };
        let trust = if access.insecure { ServerTrust::Insecure } else { ServerTrust::SystemRoots };
        let timeouts = Timeouts::default();
        let client = Client::new(ClientConfig { endpoints, identity: credential, trust, timeouts });
        Ok(Self { client: client.map_err(Failure::new)?, identity })
    }

    /// A failed call, with what the person could do about it.
    pub(crate) fn explain(&self, error: ClientError) -> Failure {
        let advice = if error.is_untrusted() {
            Some(
                "trust the server's certificate with SSL_CERT_FILE=<file>, or do without \
                 verification (-k)"
                    .to_owned(),
            )
        } else if error.is_not_allowed() {
            let identity = self.identity;
            Some(format!(
                "the caller is {identity}: its policy does not allow this, or it has none"
            ))
        } else if is_refused(&error) {
            Some(format!("is the server running? --server or {} names another one", SERVER[0]))
        } else {
            None
        };
        let failure = Failure::new(error);
        match advice {
            Some(advice) => failure.hint(advice),
            None => failure,
        }
    }
}

/// Who calls, not read yet.
#[derive(Debug, PartialEq, Eq)]
enum Credentials {
    ApiKey(Secret),
    Files { key: String, cert: String },
}

fn endpoints(
    server: Option<&str>,
    environment: &dyn Environment,
) -> Result<Vec<Endpoint>, Failure> {
    let variable = first_of(&SERVER, environment)?;
    let (text, source) = match (server, &variable) {
        (Some(text), _) => (text, "--server"),
        (None, Some((name, text))) => (text.as_str(), *name),
        (None, None) => (SERVER_DEFAULT, "the default"),
    };
    let parse = |part: &str| {
        part.parse().map_err(|error: kes_client::InvalidEndpoint| {
            Failure::usage(error.to_string()).context(format!("{source}: '{}'", part.trim()))
        })
    };
    // A comma too many is no server.
    text.split(',').filter(|part| !part.trim().is_empty()).map(parse).collect()
}

/// The API key of the command line, else the API key or the files of the environment.
fn credentials(access: &Access, environment: &dyn Environment) -> Result<Credentials, Failure> {
    if let Some(key) = &access.api_key {
        return Ok(Credentials::ApiKey(key.clone()));
    }
    let api_key = first_of(&API_KEY, environment)?;
    let key = first_of(&KEY_FILE, environment)?;
    let cert = first_of(&CERT_FILE, environment)?;
    match (api_key, key, cert) {
        (Some((api_key, _)), Some((file, _)), _) | (Some((api_key, _)), None, Some((file, _))) => {
            Err(Failure::usage(format!(
                "{api_key} and {file} are set: which one counts is not clear"
            ))
            .hint("unset one of them, or name the API key with -a"))
        }
        (Some((_, api_key)), None, None) => Ok(Credentials::ApiKey(Secret::from(api_key))),
        (None, Some((_, key)), Some((_, cert))) => Ok(Credentials::Files { key, cert }),
        (None, Some((key, _)), None) => {
            Err(Failure::usage(format!("{key} is set, but {} is not", CERT_FILE[0])))
        }
        (None, None, Some((cert, _))) => {
            Err(Failure::usage(format!("{cert} is set, but {} is not", KEY_FILE[0])))
        }
        (None, None, None) => Err(Failure::usage("no API key is given").hint(format!(
            "give it with -a or in {}, or set {} and {}",
            API_KEY[0], KEY_FILE[0], CERT_FILE[0]
        ))),
    }
}

/// The first of the variables that is set and not empty, with its name.
fn first_of(
    names: &[&'static str],
    environment: &dyn Environment,
) -> Result<Option<(&'static str, String)>, Failure> {
    for name in names {
        let value = environment.variable(name);
        let value = value.map_err(|error| Failure::new(error).context(*name))?;
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            return Ok(Some((name, value)));
        }
    }
    Ok(None)
}

/// Reads an API key as people paste it.
pub(crate) fn api_key(text: &Secret) -> Result<ApiKey, Failure> {
    let text = std::str::from_utf8(text.expose()).unwrap_or_default();
    text.trim().parse::<ApiKey>().map_err(Failure::new)
}

fn of_api_key(text: &Secret) -> Result<(ClientIdentity, Identity), Failure> {
    let key = api_key(text)?;
    let certificate = key.client_certificate(&SystemRandom::new(), SystemClock.now());
    let certificate = certificate.map_err(Failure::new)?;
    let chain = vec![certificate.certificate_der().to_vec()];
    Ok((ClientIdentity::new(chain, certificate.private_key().der().clone()), key.identity()))
}

fn of_files(key: &str, cert: &str) -> Result<(ClientIdentity, Identity), Failure> {
    let chain = pem::certificates(&read(cert)?).map_err(|error| about(cert, error))?;
    let first = chain.first().map(Vec::as_slice).unwrap_or_default();
    let identity = certificate_identity(first).map_err(|error| about(cert, error))?.identity;
    let text = Secret::new(read(key)?);
    let key = match pem::private_key(text.expose(), None) {
        Err(PemError::PasswordNeeded) => {
            let password = password::ask(&format!("Password of {key}: "))?;
            pem::private_key(text.expose(), Some(&password))
        }
        key => key,
    }
    .map_err(|error| about(key, error))?;
    Ok((ClientIdentity::new(chain, key.der().clone()), identity))
}

fn read(path: &str) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| about(path, error))
}

fn about(path: &str, error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::new(error).context(format!("cannot read '{path}'"))
}

fn is_refused(error: &ClientError) -> bool {
    let ClientError::Unreachable(attempts) = error else { return false };
    attempts.0.iter().all(|attempt| {
        matches!(&attempt.error, ConnectError::Tcp(error)
            if error.kind() == std::io::ErrorKind::ConnectionRefused)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use clap::Parser as _;

    use super::*;
    use crate::args::{Args, Command};

    fn environment(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn access(arguments: &[&str]) -> Access {
        match Args::try_parse_from(["kes", "status"].iter().chain(arguments)).unwrap().command {
            Command::Status(args) => args.access,
            command => panic!("{command:?}"),
        }
    }

    #[test]
    fn servers_come_from_the_flag_then_the_environment_then_the_default() {
        let list = |flag, variables: &[(&str, &str)]| {
            let endpoints = endpoints(flag, &environment(variables)).unwrap();
            endpoints.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let all = [
            ("MINIO_KES_SERVER", "a:1"),
            ("KES_SERVER", "https://b:2, c"),
            ("MINIO_KMS_KES_ENDPOINT", "https://d"),
        ];
        assert_eq!(list(Some("e:5"), &all), ["https://e:5"]);
        assert_eq!(list(None, &all), ["https://a:1"]);
        assert_eq!(list(None, &all[1..]), ["https://b:2", "https://c:7373"]);
        assert_eq!(list(None, &all[2..]), ["https://d:443"]);
        assert_eq!(list(None, &[("MINIO_KES_SERVER", "")]), ["https://127.0.0.1:7373"]);
        let failure = endpoints(None, &environment(&[("KES_SERVER", "http://x")])).unwrap_err();
        assert_eq!(
            failure.text(),
            "KES_SERVER: 'http://x': a key server is reached over https:// only"
        );
    }

    #[test]
    fn credentials_come_from_the_flag_then_the_environment_and_never_from_two_places() {
        let of = |arguments: &[&str], variables: &[(&str, &str)]| {
            credentials(&access(arguments), &environment(variables))
        };
        let files = [("KES_CLIENT_KEY", "k"), ("MINIO_KES_CERT_FILE", "c")];
        let key = |text: &str| Credentials::ApiKey(Secret::from(text.to_owned()));
        assert_eq!(of(&["-a", "x"], &files).unwrap(), key("x"));
        assert_eq!(of(&["-e", "old"], &[("MINIO_KMS_KES_API_KEY", "y")]).unwrap(), key("y"));
        let expected = Credentials::Files { key: "k".to_owned(), cert: "c".to_owned() };
        assert_eq!(of(&[], &files).unwrap(), expected);
        let both = [("KES_API_KEY", "secret"), files[0]];
        assert_eq!(
            of(&[], &both).unwrap_err().text(),
            "KES_API_KEY and KES_CLIENT_KEY are set: which one counts is not clear"
        );
        assert_eq!(
            of(&[], &files[..1]).unwrap_err().text(),
            "KES_CLIENT_KEY is set, but MINIO_KES_CERT_FILE is not"
        );
        assert_eq!(
            of(&[], &files[1..]).unwrap_err().text(),
            "MINIO_KES_CERT_FILE is set, but MINIO_KES_KEY_FILE is not"
        );
        let none = of(&[], &[]).unwrap_err();
        assert!(none.advice().unwrap().contains("MINIO_KES_API_KEY"));
    }
}
