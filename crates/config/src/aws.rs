//! The AWS store's settings.

use kes_types::Secret;

use crate::cursor::{Cursor, Text};
use crate::endpoint;
use crate::error::Fault;

/// Settings of the AWS Secrets Manager store.
#[derive(Clone, Debug)]
pub struct AwsKeystore {
    /// The URL of the Secrets Manager, `http://` or `https://`, without a last slash.
    pub endpoint: String,
    /// The AWS region.
    pub region: String,
    /// The KMS key that seals the secrets: id, ARN or alias; none is the account's default key.
    pub kms_key: Option<String>,
    /// Who calls.
    pub credentials: AwsCredentials,
}

/// AWS credentials.
#[derive(Clone, Debug)]
pub enum AwsCredentials {
    /// Those that the SDK finds: environment, profile, SSO, web identity, ECS, EC2.
    Default,
    /// Given ones.
    Static {
        /// The access key's id.
        access_key: String,
        /// The secret access key.
        secret_key: Secret,
        /// The session's token, for temporary credentials.
        token: Option<Secret>,
    },
}

/// Reads the section `keystore.aws`.
pub(crate) fn read(aws: &Cursor<'_>) -> Result<AwsKeystore, Fault> {
    let section = aws.field("secretsmanager");
    let endpoint = section.field("endpoint");
    let endpoint =
        endpoint.required("a host like secretsmanager.us-east-2.amazonaws.com, or its URL")?;
    let region = section.field("region").required("an AWS region like us-east-2")?;
    let kms_key = section.field("kmskey").text()?;
    Ok(AwsKeystore {
        endpoint: endpoint::read(&endpoint, endpoint::Scheme::Optional)?,
        region: region.as_str().to_owned(),
        kms_key: if kms_key.is_empty() { None } else { Some(kms_key.as_str().to_owned()) },
        credentials: credentials(&section.field("credentials"))?,
    })
}

fn credentials(place: &Cursor<'_>) -> Result<AwsCredentials, Fault> {
    let access_key = place.field("accesskey").text()?;
    let secret_key = place.field("secretkey").text()?;
    let token = place.field("token").text()?;
    // All empty in the file is the SDK's chain; emptied by the environment is a mistake.
    let is_used = |text: &Text<'_>| !text.is_empty() || text.is_from_environment();
    if ![&access_key, &secret_key, &token].into_iter().any(is_used) {
        return Ok(AwsCredentials::Default);
    }
    if access_key.is_empty() {
        return Err(access_key.missing("the id of the access key"));
    }
    if secret_key.is_empty() {
        return Err(secret_key.missing("the secret access key"));
    }
    Ok(AwsCredentials::Static {
        access_key: access_key.as_str().to_owned(),
        secret_key: secret_key.secret(),
        token: if token.is_empty() { None } else { Some(token.secret()) },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{schema, yaml};

    fn aws(text: &str) -> Result<AwsKeystore, String> {
        let environment = BTreeMap::from([("EMPTY".to_owned(), String::new())]);
        let text = format!("secretsmanager: {text}");
        let value = yaml::parse_as(&text, &schema::AWS).map_err(|fault| fault.message)?;
        read(&Cursor::root(&value, &environment))
            .map_err(|fault| format!("{}: {}", fault.path, fault.message))
    }

    #[test]
    fn an_endpoint_has_a_scheme_or_gets_one() {
        for (endpoint, want) in [
            (
                "secretsmanager.us-east-2.amazonaws.com",
                "https://secretsmanager.us-east-2.amazonaws.com",
            ),
            ("http://localhost:4566/", "http://localhost:4566"),
        ] {
            let aws = aws(&format!("{{ endpoint: \"{endpoint}\", region: us-east-2 }}")).unwrap();
            assert_eq!(aws.endpoint, want);
            assert_eq!((aws.region.as_str(), aws.kms_key), ("us-east-2", None));
            assert!(matches!(aws.credentials, AwsCredentials::Default));
        }
    }

    #[test]
    fn given_credentials_are_complete_and_mute() {
        let head = "endpoint: e, region: r, kmskey: alias/kes";
        let full =
            aws(&format!("{{ {head}, credentials: {{ accesskey: AKIA, secretkey: hunter2 }} }}"));
        let full = full.unwrap();
        assert_eq!(full.kms_key.as_deref(), Some("alias/kes"));
        assert!(!format!("{full:?}").contains("hunter2"));
        let AwsCredentials::Static { access_key, secret_key, token } = full.credentials else {
            panic!("not the given credentials");
        };
        assert_eq!((access_key.as_str(), secret_key.expose()), ("AKIA", b"hunter2".as_slice()));
        assert!(token.is_none());
        let empty = "{ accesskey: '', secretkey: '', token: '' }";
        let empty = aws(&format!("{{ {head}, credentials: {empty} }}")).unwrap();
        assert!(matches!(empty.credentials, AwsCredentials::Default));
    }

    #[test]
    fn mistakes_are_refused() {
        for (text, words) in [
            (
                "{ region: r }",
                "secretsmanager.endpoint: is missing; it wants a host like \
                 secretsmanager.us-east-2.amazonaws.com, or its URL",
            ),
            (
                "{ endpoint: e }",
                "secretsmanager.region: is missing; it wants an AWS region like us-east-2",
            ),
            (
                "{ endpoint: e, region: r, credentials: { accesskey: a } }",
                "secretsmanager.credentials.secretkey: is missing; it wants the secret access key",
            ),
            (
                "{ endpoint: e, region: r, credentials: { accesskey: '${EMPTY}' } }",
                "secretsmanager.credentials.accesskey: the environment variable `EMPTY` is empty; \
                 it wants the id of the access key",
            ),
            (
                "{ endpoint: 'ftp://e', region: r }",
                "secretsmanager.endpoint: 'ftp://e' is no URL; it wants http:// or https:// in front",
            ),
        ] {
            assert_eq!(aws(text).unwrap_err(), words, "{text}");
        }
    }
}
