//! Credentials of the caller: an API key, or a certificate and its private key.

use kes_client::ClientIdentity;
use kes_config::{Environment, advice};
use kes_crypto::pem::{self, PemError};
use kes_crypto::{ApiKey, SystemRandom, certificate_identity};
use kes_types::{Clock as _, Identity, Secret, SystemClock};

use crate::args::Access;
use crate::exit::Failure;
use crate::input;
use crate::material::{self, Input, Wanted};
use crate::password;
use crate::variable;

/// The variables of an API key, or of the path of a file with one; the first one that is set is used.
///
/// The others are names of older releases and of MinIO, also in the lists below.
const API_KEY: [&str; 4] = ["MINIO_KES_API_KEY", "KES_API_KEY", API_KEY_FILE, MINIO_API_KEY];
const API_KEY_FILE: &str = "MINIO_KES_API_KEY_FILE";
const MINIO_API_KEY: &str = "MINIO_KMS_KES_API_KEY";
const KEY_FILE: [&str; 3] = ["MINIO_KES_KEY_FILE", "KES_CLIENT_KEY", "MINIO_KES_CLIENT_KEY"];
const CERT_FILE: [&str; 3] = ["MINIO_KES_CERT_FILE", "KES_CLIENT_CERT", "MINIO_KES_CLIENT_CERT"];
/// MinIO's variables, which are used if none of the others is set.
const MINIO_KEY_FILE: [&str; 1] = ["MINIO_KMS_KES_KEY_FILE"];
const MINIO_CERT_FILE: [&str; 1] = ["MINIO_KMS_KES_CERT_FILE"];

/// The credentials of a client, and their identity.
pub(crate) struct Credentials {
    pub(crate) shown: ClientIdentity,
    pub(crate) identity: Identity,
    /// The files that they were read from; `None` for an API key.
    pub(crate) files: Option<KeyPairFiles>,
}

/// The files of a private key and of its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyPairFiles {
    key: String,
    cert: String,
}

impl KeyPairFiles {
    /// Adds the names of the files to an error of the TLS library.
    pub(crate) fn unusable(&self, failure: Failure) -> Failure {
        let Self { key, cert } = self;
        self.hint(failure.context(format!("'{key}' and '{cert}' cannot be used by a client")))
    }

    fn hint(&self, failure: Failure) -> Failure {
        let Self { key, cert } = self;
        failure.hint(format!(
            "'{cert}' has to hold first the certificate that was made for the private key in '{key}'"
        ))
    }
}

impl Credentials {
    /// Finds the credentials of the command line, otherwise of the environment.
    pub(crate) fn new(access: &Access, environment: &dyn Environment) -> Result<Self, Failure> {
        match CredentialSource::find(access, environment)? {
            CredentialSource::ApiKey(text) => Self::of_api_key(&api_key(&text)?),
            CredentialSource::ApiKeyFile(path) => {
                let text = input::read(&path)?;
                let key = api_key(&text);
                Self::of_api_key(&key.map_err(|failure| failure.context(format!("'{path}'")))?)
            }
            CredentialSource::Files(files) => {
                Self::of_files(files, password::of_environment(environment)?)
            }
        }
    }

    fn of_api_key(key: &ApiKey) -> Result<Self, Failure> {
        let certificate = key.client_certificate(&SystemRandom::new(), SystemClock.now());
        let certificate = certificate.map_err(Failure::new)?;
        let chain = vec![certificate.certificate_der().to_vec()];
        let shown = ClientIdentity::new(chain, certificate.private_key().der().clone());
        Ok(Self { shown, identity: key.identity(), files: None })
    }

    fn of_files(files: KeyPairFiles, password: Option<Secret>) -> Result<Self, Failure> {
        let cert = files.cert.as_str();
        let chain = material::certificates(Input::File(cert.as_ref()), &input::read(cert)?)?;
        let first = chain.first().map(Vec::as_slice).unwrap_or_default();
        let identity = certificate_identity(first);
        let identity = identity.map_err(|error| input::cannot_read(cert, error))?.identity;
        let private_key = private_key(&files.key, password)?;
        let shown = format!("'{cert}'");
        if let Some(text) = advice::unfit_certificate(&shown, first) {
            return Err(Failure::message(text));
        }
        if let Some(text) = advice::mismatch(&shown, first, &private_key) {
            return Err(files.hint(Failure::message(text)));
        }
        let shown = ClientIdentity::new(chain, private_key.der().clone());
        Ok(Self { shown, identity, files: Some(files) })
    }
}

/// The source of the credentials.
#[derive(Debug, PartialEq, Eq)]
enum CredentialSource {
    ApiKey(Secret),
    ApiKeyFile(String),
    Files(KeyPairFiles),
}

impl CredentialSource {
    /// Finds the API key of the command line, otherwise the API key or the files of the environment.
    fn find(access: &Access, environment: &dyn Environment) -> Result<Self, Failure> {
        if let Some(key) = &access.api_key {
            return Ok(Self::ApiKey(key.clone()));
        }
        let api_key = variable::first_of(&API_KEY, environment)?;
        let mut files = FileVariables::find(&KEY_FILE, &CERT_FILE, environment)?;
        let is_ours = |(name, _): &(&str, String)| *name != MINIO_API_KEY;
        if files.first().is_none() && !api_key.as_ref().is_some_and(is_ours) {
            files = FileVariables::find(&MINIO_KEY_FILE, &MINIO_CERT_FILE, environment)?;
        }
        match (api_key, files.first()) {
            (Some((api_key, _)), Some(file)) => Err(Failure::usage(format!(
                "{api_key} and {file} are both set, but only one of them can be used"
            ))
            .hint("unset one of them")),
            (Some((API_KEY_FILE, path)), None) => Ok(Self::ApiKeyFile(path)),
            (Some((_, text)), None) => Ok(Self::ApiKey(Secret::from(text))),
            (None, Some(_)) => files.both(),
            (None, None) => Err(Failure::usage("no API key is given").hint(format!(
                "set {} or {API_KEY_FILE}, or {} and {}",
                API_KEY[0], KEY_FILE[0], CERT_FILE[0]
            ))),
        }
    }
}

/// The variables of a private key and its certificate that are set.
struct FileVariables {
    key: Option<(&'static str, String)>,
    cert: Option<(&'static str, String)>,
    /// The names that a message shows for a missing variable.
    names: [&'static str; 2],
}

impl FileVariables {
    fn find(
        key: &[&'static str],
        cert: &[&'static str],
        environment: &dyn Environment,
    ) -> Result<Self, Failure> {
        Ok(Self {
            key: variable::first_of(key, environment)?,
            cert: variable::first_of(cert, environment)?,
            names: [key, cert].map(|names| names.first().copied().unwrap_or_default()),
        })
    }

    /// The name of a variable that is set.
    fn first(&self) -> Option<&'static str> {
        self.key.as_ref().or(self.cert.as_ref()).map(|(name, _)| *name)
    }

    fn both(self) -> Result<CredentialSource, Failure> {
        let [key_name, cert_name] = self.names;
        let (set, missing) = match (self.key, self.cert) {
            (Some((_, key)), Some((_, cert))) => {
                return Ok(CredentialSource::Files(KeyPairFiles { key, cert }));
            }
            (Some((key, _)), None) => (key, cert_name),
            (None, Some((cert, _))) => (cert, key_name),
            (None, None) => (cert_name, key_name),
        };
        Err(Failure::usage(format!("{set} is set, but {missing} is not")))
    }
}

/// Parses an API key, with blanks around it.
pub(crate) fn api_key(text: &Secret) -> Result<ApiKey, Failure> {
    let text = std::str::from_utf8(text.expose()).unwrap_or_default();
    text.trim().parse::<ApiKey>().map_err(Failure::new)
}

/// Reads a private key that TLS supports; asks for its password if it is needed and not given.
fn private_key(path: &str, password: Option<Secret>) -> Result<pem::PrivateKey, Failure> {
    let text = input::read(path)?;
    let given = password.is_some();
    let key = match pem::private_key(text.expose(), password.as_ref()) {
        Err(PemError::PasswordNeeded) => {
            let password = password::ask(&format!("Password of {path}: ")).map_err(|failure| {
                failure
                    .context(format!("the private key in '{path}' is encrypted"))
                    .hint(format!("a script gives the password in {}", password::VARIABLE))
            })?;
            pem::private_key(text.expose(), Some(&password))
        }
        key => key,
    };
    let key = key.map_err(|error| match error {
        PemError::WrongPassword if given => input::cannot_read(path, error)
            .hint(format!("the password is that of {}", password::VARIABLE)),
        PemError::WrongPassword => input::cannot_read(path, error),
        _ => material::unusable(Input::File(path.as_ref()), &text, Wanted::PrivateKey, error),
    })?;
    match advice::unfit_key(&format!("'{path}'"), &key) {
        Some(text) => Err(Failure::message(text)),
        None => Ok(key),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use clap::Parser as _;

    use super::*;
    use crate::args::{Args, Command};

    fn access(arguments: &[&str]) -> Access {
        match Args::try_parse_from(["kes", "status"].iter().chain(arguments)).unwrap().command {
            Command::Status(args) => args.access,
            command => panic!("{command:?}"),
        }
    }

    fn of(arguments: &[&str], variables: &[(&str, &str)]) -> Result<CredentialSource, Failure> {
        let variables = variables.iter().map(|(name, value)| (*name, *value));
        let environment: BTreeMap<String, String> =
            variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        CredentialSource::find(&access(arguments), &environment)
    }

    fn key(text: &str) -> CredentialSource {
        CredentialSource::ApiKey(Secret::from(text.to_owned()))
    }

    fn files(key: &str, cert: &str) -> CredentialSource {
        CredentialSource::Files(KeyPairFiles { key: key.to_owned(), cert: cert.to_owned() })
    }

    #[test]
    fn credentials_come_from_the_flag_then_the_environment_and_never_from_two_sources() {
        let set = [("KES_CLIENT_KEY", "k"), ("MINIO_KES_CERT_FILE", "c")];
        assert_eq!(of(&["-a", "x"], &set).unwrap(), key("x"));
        assert_eq!(of(&["-e", "old"], &[("MINIO_KMS_KES_API_KEY", "y")]).unwrap(), key("y"));
        assert_eq!(of(&[], &set).unwrap(), files("k", "c"));
        let both = [("KES_API_KEY", "secret"), set[0]];
        assert_eq!(
            of(&[], &both).unwrap_err().text(),
            "KES_API_KEY and KES_CLIENT_KEY are both set, but only one of them can be used"
        );
        assert_eq!(
            of(&[], &set[..1]).unwrap_err().text(),
            "KES_CLIENT_KEY is set, but MINIO_KES_CERT_FILE is not"
        );
        assert_eq!(
            of(&[], &set[1..]).unwrap_err().text(),
            "MINIO_KES_CERT_FILE is set, but MINIO_KES_KEY_FILE is not"
        );
        let none = of(&[], &[]).unwrap_err();
        assert!(none.advice().unwrap().contains("MINIO_KES_API_KEY"));
    }

    #[test]
    fn a_file_with_the_api_key_is_used_after_the_keys_themselves_and_before_minio_s() {
        let file = ("MINIO_KES_API_KEY_FILE", "/run/secrets/kes");
        let expected = CredentialSource::ApiKeyFile("/run/secrets/kes".to_owned());
        assert_eq!(of(&[], &[file]).unwrap(), expected);
        assert_eq!(of(&[], &[file, ("MINIO_KMS_KES_API_KEY", "x")]).unwrap(), expected);
        assert_eq!(of(&[], &[file, ("KES_API_KEY", "x")]).unwrap(), key("x"));
        assert_eq!(
            of(&[], &[file, ("KES_CLIENT_CERT", "c")]).unwrap_err().text(),
            "MINIO_KES_API_KEY_FILE and KES_CLIENT_CERT are both set, but only one of them can be used"
        );
    }

    #[test]
    fn minio_s_own_files_are_used_when_no_variable_of_kes_is_set() {
        let minio = [("MINIO_KMS_KES_KEY_FILE", "mk"), ("MINIO_KMS_KES_CERT_FILE", "mc")];
        let with = |others: &[(&'static str, &'static str)]| of(&[], &[&minio, others].concat());
        assert_eq!(with(&[]).unwrap(), files("mk", "mc"));
        assert_eq!(with(&[("MINIO_KES_API_KEY", "x")]).unwrap(), key("x"));
        let ours = [("MINIO_KES_KEY_FILE", "k"), ("KES_CLIENT_CERT", "c")];
        assert_eq!(with(&ours).unwrap(), files("k", "c"));
        assert_eq!(
            with(&ours[..1]).unwrap_err().text(),
            "MINIO_KES_KEY_FILE is set, but MINIO_KES_CERT_FILE is not"
        );
        assert_eq!(
            with(&[("MINIO_KMS_KES_API_KEY", "x")]).unwrap_err().text(),
            "MINIO_KMS_KES_API_KEY and MINIO_KMS_KES_KEY_FILE are both set, but only one of them can be used"
        );
        assert_eq!(
            of(&[], &minio[1..]).unwrap_err().text(),
            "MINIO_KMS_KES_CERT_FILE is set, but MINIO_KMS_KES_KEY_FILE is not"
        );
    }
}
