//! Reads the credentials of the AWS store.

use kes_types::Secret;

use crate::cursor::{Cursor, Text};
use crate::error::Fault;
use crate::findings::Findings;
use crate::section::{SecretText, Setting, section};

/// AWS credentials.
#[derive(Clone, Debug)]
pub enum AwsCredentials {
    /// Credentials that the SDK finds: environment, profile, SSO, web identity, ECS, EC2.
    Default,
    /// Credentials in the configuration.
    Static {
        /// The access key's id.
        access_key: String,
        /// The secret access key.
        secret_key: Secret,
        /// The session's token, for temporary credentials.
        token: Option<Secret>,
    },
}

section! {
    /// AWS credentials; see [`AwsCredentials`].
    struct CredentialsSection<'a> {
        accesskey: Setting<'a>,
        secretkey: SecretText<'a>,
        token: SecretText<'a>,
    }
}

/// Reads the section `credentials`.
pub(super) fn read(
    section: &CredentialsSection<'_>,
    findings: &mut Findings,
) -> Option<AwsCredentials> {
    let places: [&Cursor<'_>; 3] = [&section.accesskey, &section.secretkey, &section.token];
    let texts = places.map(|place| findings.keep(place.text()));
    // All empty in the file is the SDK's chain; emptied by the environment is a mistake.
    if !texts.iter().any(|text| Text::is_used(text.as_ref())) {
        return Some(AwsCredentials::Default);
    }
    let [access_key, secret_key, token] = texts;
    let access_key = access_key.map(|it| it.or_missing("the id of the access key"));
    let secret_key = secret_key.map(|it| it.or_missing("the secret access key"));
    let mut checked = |text: Option<Result<_, Fault>>| findings.keep(text?.and_then(credential));
    let (access_key, secret_key) = (checked(access_key), checked(secret_key));
    let token = checked(token.map(Ok))?;
    Some(AwsCredentials::Static {
        access_key: access_key?.as_str().to_owned(),
        secret_key: secret_key?.secret(),
        token: if token.is_empty() { None } else { Some(token.secret()) },
    })
}

/// Checks a text that is a secret, or the id of one; it is not shown.
fn credential(text: Text<'_>) -> Result<Text<'_>, Fault> {
    if text.as_str().bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(text);
    }
    Err(text.fault(
        "has a blank, a line end or another character that no credentials have; was a file with a \
         line end at its end encoded?",
    ))
}
