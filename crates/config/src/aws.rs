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
    /// The URL of KMS, as the other endpoint; none is the one that belongs to that.
    pub kms_endpoint: Option<String>,
    /// The folder of the secrets, without slashes at its ends; empty is none.
    pub prefix: String,
    /// Tags for new secrets beside those of ours; none is no tags at all.
    pub tags: Option<Vec<(String, String)>>,
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
    let endpoint = endpoint::read(&endpoint, endpoint::Scheme::Optional)?;
    let region = region(&section.field("region"), &endpoint)?;
    let kms_endpoint = section.field("kmsendpoint").text()?;
    let kms_endpoint = if kms_endpoint.is_empty() {
        None
    } else {
        Some(endpoint::read(&kms_endpoint, endpoint::Scheme::Optional)?)
    };
    Ok(AwsKeystore {
        kms_key: kms_key(&section.field("kmskey"), &region)?,
        kms_endpoint,
        prefix: prefix(&section.field("prefix"))?,
        tags: tags(&section.field("tags"))?,
        credentials: credentials(&section.field("credentials"))?,
        endpoint,
        region,
    })
}

fn region(place: &Cursor<'_>, endpoint: &str) -> Result<String, Fault> {
    let region = place.required("an AWS region like us-east-2")?;
    if !region.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(region.fault(format!(
            "{} is no region; it wants letters, digits and dashes, like us-east-2",
            region.shown()
        )));
    }
    match region_of(endpoint) {
        Some(of_endpoint) if of_endpoint != region.as_str() => Err(region.fault(format!(
            "{} is not the region of the endpoint, which is {of_endpoint}",
            region.shown()
        ))),
        _ => Ok(region.as_str().to_owned()),
    }
}

/// The region that the name of one of AWS's own hosts tells:
/// `[vpce-….]secretsmanager[-fips].<region>.…`.
fn region_of(endpoint: &str) -> Option<&str> {
    let host = endpoint.split("://").nth(1)?.split(['/', ':']).next()?;
    if ![".amazonaws.com", ".amazonaws.com.cn", ".api.aws"].iter().any(|end| host.ends_with(end)) {
        return None;
    }
    let mut labels = host.split('.');
    labels.find(|label| ["secretsmanager", "secretsmanager-fips"].contains(label))?;
    labels.next()
}

fn kms_key(place: &Cursor<'_>, region: &str) -> Result<Option<String>, Fault> {
    let key = place.text()?;
    if let Some(arn) = key.as_str().strip_prefix("arn:") {
        // arn:<partition>:kms:<region>:<account>:key/<id> or …:alias/<name>
        let parts: Vec<&str> = arn.splitn(5, ':').collect();
        let [_, "kms", of_key, _, resource] = parts.as_slice() else {
            return Err(key.fault(format!("{} is no ARN of KMS", key.shown())));
        };
        if !resource.starts_with("key/") && !resource.starts_with("alias/") {
            return Err(key.fault(format!("{} is no ARN of a KMS key or alias", key.shown())));
        }
        if *of_key != region {
            return Err(key.fault(format!(
                "the key is in region {of_key}, and the secrets are in {region}; Secrets Manager \
                 wants a key of its own region"
            )));
        }
    }
    Ok(if key.is_empty() { None } else { Some(key.as_str().to_owned()) })
}

fn prefix(place: &Cursor<'_>) -> Result<String, Fault> {
    let prefix = place.text()?;
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+=.@-".contains(&byte);
    if !prefix.as_str().bytes().all(is_good) || prefix.as_str().len() > PREFIX_LEN_MAX {
        return Err(prefix.fault(format!(
            "{} is no name of a secret; it wants at most {PREFIX_LEN_MAX} letters, digits and \
             /_+=.@-",
            prefix.shown()
        )));
    }
    Ok(prefix.as_str().trim_matches('/').to_owned())
}

/// By the documentation of AWS (*Tagging AWS resources*).
fn tags(place: &Cursor<'_>) -> Result<Option<Vec<(String, String)>>, Fault> {
    let mut tags = Vec::new();
    for (key, place) in place.entries() {
        let value = place.text()?;
        let is_good = |char: char| char.is_alphanumeric() || " _.:/=+-@".contains(char);
        if key.is_empty() || key.chars().count() > 128 || !key.chars().all(is_good) {
            return Err(
                place.fault("is no key of a tag; it wants 1 to 128 letters, digits and _.:/=+-@")
            );
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(place.fault("is no key of a tag of ours: `aws:` is reserved"));
        }
        if value.as_str().chars().count() > 256 || !value.as_str().chars().all(is_good) {
            return Err(value.fault(format!(
                "{} is no value of a tag; it wants at most 256 letters, digits and _.:/=+-@",
                value.shown()
            )));
        }
        tags.push((key.to_owned(), value.as_str().to_owned()));
    }
    if tags.len() > TAGS_MAX {
        return Err(place.fault(format!("has {} tags; at most {TAGS_MAX} fit", tags.len())));
    }
    Ok(place.is_present().then_some(tags))
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

/// A secret's name has 512 characters at most; a slash and the longest key name take 81.
const PREFIX_LEN_MAX: usize = 431;

/// Secrets Manager takes 50; two are ours.
const TAGS_MAX: usize = 48;

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
            (
                "secretsmanager-fips.us-east-2.amazonaws.com:443",
                "https://secretsmanager-fips.us-east-2.amazonaws.com:443",
            ),
            (
                "https://vpce-0a-b.secretsmanager.us-east-2.vpce.amazonaws.com",
                "https://vpce-0a-b.secretsmanager.us-east-2.vpce.amazonaws.com",
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
    fn what_is_ours_is_optional() {
        let least = aws("{ endpoint: e, region: r }").unwrap();
        assert_eq!((least.kms_endpoint, least.prefix.as_str(), least.tags), (None, "", None));
        let full = aws("{ endpoint: e, region: r, kmsendpoint: 'kms:1/', prefix: /team/kes/, \
                        tags: { 'kes:created-by': me, cost: 0123 } }")
        .unwrap();
        assert_eq!(full.kms_endpoint.as_deref(), Some("https://kms:1"));
        assert_eq!(full.prefix, "team/kes");
        let tags = [("kes:created-by", "me"), ("cost", "0123")];
        assert_eq!(full.tags, Some(tags.map(|(k, v)| (k.to_owned(), v.to_owned())).into()));
        let empty = aws("{ endpoint: e, region: r, tags: {} }").unwrap();
        assert_eq!(empty.tags, Some(Vec::new()));
    }

    #[test]
    fn a_kms_key_is_an_id_an_alias_or_an_arn_of_the_region() {
        for key in [
            "1234abcd-12ab-34cd-56ef-1234567890ab",
            "mrk-1234abcd12ab34cd56ef1234567890ab",
            "alias/kes",
            "arn:aws:kms:us-east-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
            "arn:aws-us-gov:kms:us-east-2:111122223333:alias/kes",
        ] {
            let aws = aws(&format!("{{ endpoint: e, region: us-east-2, kmskey: '{key}' }}"));
            assert_eq!(aws.unwrap().kms_key.as_deref(), Some(key));
        }
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
                "{ endpoint: secretsmanager.eu-west-1.amazonaws.com, region: us-east-2 }",
                "secretsmanager.region: 'us-east-2' is not the region of the endpoint, which is \
                 eu-west-1",
            ),
            (
                "{ endpoint: https://secretsmanager.cn-north-1.amazonaws.com.cn, region: cn }",
                "secretsmanager.region: 'cn' is not the region of the endpoint, which is cn-north-1",
            ),
            (
                "{ endpoint: e, region: us_east_2 }",
                "secretsmanager.region: 'us_east_2' is no region; it wants letters, digits and \
                 dashes, like us-east-2",
            ),
            (
                "{ endpoint: e, region: r, kmskey: 'arn:aws:iam::1:role/r' }",
                "secretsmanager.kmskey: 'arn:aws:iam::1:role/r' is no ARN of KMS",
            ),
            (
                "{ endpoint: e, region: r, kmskey: 'arn:aws:kms:r:1:grant/g' }",
                "secretsmanager.kmskey: 'arn:aws:kms:r:1:grant/g' is no ARN of a KMS key or alias",
            ),
            (
                "{ endpoint: e, region: r, kmskey: 'arn:aws:kms:s:1:key/k' }",
                "secretsmanager.kmskey: the key is in region s, and the secrets are in r; Secrets \
                 Manager wants a key of its own region",
            ),
            (
                "{ endpoint: e, region: r, prefix: 'a b' }",
                "secretsmanager.prefix: 'a b' is no name of a secret; it wants at most 431 \
                 letters, digits and /_+=.@-",
            ),
            (
                "{ endpoint: e, region: r, tags: { 'aws:x': y } }",
                "secretsmanager.tags.aws:x: is no key of a tag of ours: `aws:` is reserved",
            ),
            (
                "{ endpoint: e, region: r, tags: { x: 'a;b' } }",
                "secretsmanager.tags.x: 'a;b' is no value of a tag; it wants at most 256 letters, \
                 digits and _.:/=+-@",
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
