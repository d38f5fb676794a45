//! Connects a command to its servers, which flags or the environment name.

use kes_client::{
    Client, ClientConfig, ClientError, ConnectError, Endpoint, Proxies, SetupError, Timeouts,
};
use kes_config::{Environment, ProxyVariables};
use kes_types::Identity;

use crate::args::Access;
use crate::credentials::Credentials;
use crate::ellipses;
use crate::exit::Failure;
use crate::trust;
use crate::variable;

pub(crate) use crate::credentials::api_key;

/// The variables that name the servers; the first one that is set is used.
///
/// The others are the name of older releases and that of MinIO.
const SERVER: [&str; 3] = ["MINIO_KES_SERVER", "KES_SERVER", "MINIO_KMS_KES_ENDPOINT"];

/// The default server.
const SERVER_DEFAULT: &str = "127.0.0.1:7373";

/// A client and its identity.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) client: Client,
    identity: Identity,
    /// Whether the environment names a proxy.
    has_proxy: bool,
}

impl Connection {
    /// Makes the client; it does not connect yet.
    pub(crate) fn new(
        server: Option<&str>,
        access: &Access,
        environment: &dyn Environment,
    ) -> Result<Self, Failure> {
        let endpoints = endpoints(server, environment)?;
        let Credentials { shown, identity, files } = Credentials::new(access, environment)?;
        let trust = trust::find(access, environment)?;
        let (proxies, has_proxy) = proxies(&endpoints, environment)?;
        let timeouts = Timeouts::default();
        let config = ClientConfig { endpoints, identity: shown, trust, proxies, timeouts };
        let client = Client::new(config).map_err(|error| {
            let is_untrusting = error.is_without_trust();
            let is_of_files = matches!(error, SetupError::Identity(_));
            let failure = Failure::new(error);
            match files {
                _ if is_untrusting => failure.hint(TRUST_ADVICE),
                Some(files) if is_of_files => files.unusable(failure),
                _ => failure,
            }
        })?;
        Ok(Self { client, identity, has_proxy })
    }

    /// Makes the failure of a call, with a hint about what to do.
    pub(crate) fn explain(&self, error: ClientError) -> Failure {
        let advice = if error.is_untrusted() {
            Some(TRUST_ADVICE.to_owned())
        } else if error.is_not_allowed() {
            let identity = self.identity;
            Some(format!(
                "the caller is {identity}: its policy does not allow this, or it has none"
            ))
        } else if self.has_proxy && has_remote_tcp_error(&error) {
            Some(
                "HTTPS_PROXY is set; NO_PROXY names the servers that are reached directly"
                    .to_owned(),
            )
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

const TRUST_ADVICE: &str = "trust the server's certificate with MINIO_KMS_KES_CAPATH=<file> or \
                            SSL_CERT_FILE=<file>, or switch verification off (-k)";

fn endpoints(
    server: Option<&str>,
    environment: &dyn Environment,
) -> Result<Vec<Endpoint>, Failure> {
    let variable = variable::first_of(&SERVER, environment)?;
    let (text, source) = match (server, &variable) {
        (Some(text), _) => (text, "--server"),
        (None, Some((name, text))) => (text.as_str(), *name),
        (None, None) => (SERVER_DEFAULT, "the default"),
    };
    // The whole text is checked, because a password may contain a comma.
    if text.contains('@') {
        return Err(Failure::usage(
            "an address has no user name and no password: leave out what stands before the '@'",
        )
        .context(source));
    }
    let mut endpoints = Vec::new();
    // Superfluous commas are ignored.
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let refused =
            |reason: String| Failure::usage(reason).context(format!("{source}: '{part}'"));
        for text in ellipses::expand(part).map_err(|error| refused(error.to_string()))? {
            let endpoint = text.parse();
            endpoints.push(
                endpoint
                    .map_err(|error: kes_client::InvalidEndpoint| refused(error.to_string()))?,
            );
        }
    }
    Ok(endpoints)
}

/// Reads the proxies of the environment, and whether there are any; key servers need only `HTTPS_PROXY`.
fn proxies(
    endpoints: &[Endpoint],
    environment: &dyn Environment,
) -> Result<(Proxies, bool), Failure> {
    let variables = ProxyVariables::read(environment);
    let variables = variables.map_err(|error| Failure::new(error).context("HTTPS_PROXY"))?;
    let proxies = Proxies::new(&variables.https, "", &variables.no_proxy);
    for endpoint in endpoints {
        proxies.check(&endpoint.to_string()).map_err(Failure::new)?;
    }
    Ok((proxies, !variables.https.is_empty()))
}

fn is_refused(error: &ClientError) -> bool {
    let ClientError::Unreachable(attempts) = error else { return false };
    attempts.0.iter().all(|attempt| {
        matches!(&attempt.error, ConnectError::Tcp(error)
            if error.kind() == std::io::ErrorKind::ConnectionRefused)
    })
}

/// Whether a TCP connection to a server on another machine failed.
fn has_remote_tcp_error(error: &ClientError) -> bool {
    let ClientError::Unreachable(attempts) = error else { return false };
    attempts.0.iter().any(|attempt| {
        matches!(attempt.error, ConnectError::Tcp(_)) && !attempt.endpoint.is_loopback()
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn environment(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
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
        let minio = [("MINIO_KMS_KES_ENDPOINT", "https://kes-{1...2}:7373,https://c:1/,")];
        assert_eq!(list(None, &minio), ["https://kes-1:7373", "https://kes-2:7373", "https://c:1"]);
    }

    #[test]
    fn a_text_that_is_not_a_server_is_refused_with_its_variable() {
        for (name, value, text) in [
            (
                "KES_SERVER",
                "http://x",
                "KES_SERVER: 'http://x': a key server is reached over https:// only",
            ),
            (
                "MINIO_KMS_KES_ENDPOINT",
                "https://a, https://kes-{1..4}:7373",
                "MINIO_KMS_KES_ENDPOINT: 'https://kes-{1..4}:7373': braces hold a range like \
                 {1...4}, from a number to one that is not smaller",
            ),
        ] {
            let failure = endpoints(None, &environment(&[(name, value)])).unwrap_err();
            assert_eq!(failure.text(), text);
        }
    }

    #[test]
    fn a_server_with_a_password_is_refused_without_being_shown() {
        for text in [
            "https://u:hunter2@h:1",
            "u:hunter2@h",
            "http://hunter2@h/v1",
            "https://a,https://u:hunter2,hunter2{@h",
        ] {
            for name in SERVER {
                let failure = endpoints(None, &environment(&[(name, text)])).unwrap_err();
                let expected = "an address has no user name and no password: leave out what stands \
                                before the '@'";
                assert_eq!(failure.text(), format!("{name}: {expected}"));
            }
            let failure = endpoints(Some(text), &environment(&[])).unwrap_err();
            assert!(failure.text().starts_with("--server: ") && failure.advice().is_none());
            assert!(!failure.text().contains("hunter2"), "{}", failure.text());
        }
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_refused_without_being_shown() {
        let server: Endpoint = "kes.example.com".parse().unwrap();
        let servers = [server];
        let read = |value| proxies(&servers, &environment(&[("https_proxy", value)]));
        let failure = read("ftp://user:hunter2@proxy").unwrap_err();
        assert!(failure.text().starts_with("HTTPS_PROXY "), "{}", failure.text());
        assert!(!failure.text().contains("hunter2"));
        assert!(read("http://proxy:3128").unwrap().1);
        assert!(!read("").unwrap().1);
    }
}
