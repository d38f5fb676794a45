//! Reads the section `keystore.aws`: the settings of the AWS store.

mod credentials;
mod host;

use crate::cursor::Cursor;
use crate::endpoint;
use crate::error::Fault;
use crate::findings::{Findings, read_fields};
use crate::section::{Map, Setting, section};

use credentials::CredentialsSection;
use host::{kms_endpoint, region};

pub use credentials::AwsCredentials;
pub use host::KmsEndpoint;

/// Settings of the AWS Secrets Manager store.
#[derive(Clone, Debug)]
pub struct AwsKeystore {
    /// The URL of the Secrets Manager, `http://` or `https://`, without a last slash.
    pub endpoint: String,
    /// The AWS region.
    pub region: String,
    /// The KMS key that seals the secrets: id, ARN or alias; none is the account's default key.
    pub kms_key: Option<String>,
    /// The endpoint of KMS.
    pub kms_endpoint: KmsEndpoint,
    /// The folder of the secrets, without slashes at its ends; empty is none.
    pub prefix: String,
    /// Tags for new secrets, in addition to those of this server; `None` means no tags at all.
    pub tags: Option<Vec<(String, String)>>,
    /// The credentials of requests.
    pub credentials: AwsCredentials,
}

section! {
    /// The AWS store.
    struct AwsSection<'a> {
        secretsmanager: SecretsManagerSection<'a>,
    }

    /// The AWS store; see [`AwsKeystore`].
    struct SecretsManagerSection<'a> {
        endpoint: Setting<'a>,
        region: Setting<'a>,
        kmskey: Setting<'a>,
        kmsendpoint: Setting<'a>,
        prefix: Setting<'a>,
        tags: Map<'a, Setting<'a>>,
        credentials: CredentialsSection<'a>,
    }
}

/// Reads the section `keystore.aws`.
pub(crate) fn read(aws: &AwsSection<'_>, findings: &mut Findings) -> Option<AwsKeystore> {
    let section = &aws.secretsmanager;
    let store = read_fields!(findings => AwsKeystore {
        endpoint: endpoint(&section.endpoint),
        region: region(&section.region, endpoint.as_deref()),
        kms_key: kms_key(&section.kmskey, region.as_deref()),
        kms_endpoint: kms_endpoint(&section.kmsendpoint, endpoint.as_deref()),
        prefix: prefix(&section.prefix),
        tags: tags(&section.tags, findings),
        credentials: credentials::read(&section.credentials, findings),
    })?;
    if endpoint::is_exposed(&store.endpoint) {
        findings.warn(section.endpoint.fault(
            "is plain HTTP to another machine: every key, and the token of temporary credentials, \
             can be read on the way; write https://",
        ));
    }
    let KmsEndpoint::At(kms_url) = &store.kms_endpoint else { return Some(store) };
    if *kms_url != store.endpoint && endpoint::is_exposed(kms_url) {
        findings.warn(section.kmsendpoint.fault(
            "is plain HTTP to another machine: the token of temporary credentials can be read on \
             the way, and answers can be changed; write https://",
        ));
    }
    Some(store)
}

fn endpoint(place: &Cursor<'_>) -> Result<String, Fault> {
    let text = place.required("a host like secretsmanager.us-east-2.amazonaws.com, or its URL")?;
    endpoint::read(&text, endpoint::Scheme::Optional)
}

fn kms_key(place: &Cursor<'_>, region: Option<&str>) -> Result<Option<String>, Fault> {
    let key = place.text()?;
    if let Some(arn) = key.as_str().strip_prefix("arn:") {
        // arn:<partition>:kms:<region>:<account>:key/<id> or …:alias/<name>
        let parts: Vec<&str> = arn.splitn(5, ':').collect();
        let [_, "kms", of_key, _, resource] = parts.as_slice() else {
            return Err(key.invalid("is no ARN of KMS"));
        };
        if !resource.starts_with("key/") && !resource.starts_with("alias/") {
            return Err(key.invalid("is no ARN of a KMS key or alias"));
        }
        if let Some(region) = region
            && *of_key != region
        {
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
        return Err(prefix.invalid(format!(
            "is no name of a secret; it wants at most {PREFIX_LEN_MAX} letters, digits and \
             /_+=.@-"
        )));
    }
    Ok(prefix.as_str().trim_matches('/').to_owned())
}

/// Reads the tags. Source: the documentation of AWS (*Tagging AWS resources*).
fn tags<'a>(
    place: &Map<'a, Setting<'a>>,
    findings: &mut Findings,
) -> Result<Option<Vec<(String, String)>>, Fault> {
    let entries = place.entries();
    if entries.len() > TAGS_MAX {
        let message = format!("has {} tags; at most {TAGS_MAX} fit", entries.len());
        findings.fault(place.fault(message));
    }
    let read = |(key, place): (&str, Setting<'_>)| findings.keep(tag(key, &place));
    let tags: Vec<_> = entries.into_iter().map(read).collect();
    if !place.is_present() {
        return Ok(None);
    }
    tags.into_iter().collect::<Option<_>>().map(Some).ok_or_else(Fault::known)
}

fn tag(key: &str, place: &Cursor<'_>) -> Result<(String, String), Fault> {
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
        return Err(value
            .invalid("is no value of a tag; it wants at most 256 letters, digits and _.:/=+-@"));
    }
    Ok((key.to_owned(), value.as_str().to_owned()))
}

/// A secret's name has 512 characters at most; a slash and the longest key name take 81.
const PREFIX_LEN_MAX: usize = 431;

/// Secrets Manager allows 50; this server adds two.
const TAGS_MAX: usize = 48;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::findings;
    use crate::section::Shape as _;

    fn aws(text: &str) -> Result<AwsKeystore, String> {
        let environment = BTreeMap::from([("EMPTY".to_owned(), String::new())]);
        let text = format!("secretsmanager: {text}");
        findings::of_section(&text, AwsSection::SCHEMA, &environment, |place, found| {
            read(&AwsSection::at(place), found)
        })
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
        assert_eq!((least.prefix.as_str(), least.tags), ("", None));
        let full = aws("{ endpoint: e, region: r, kmsendpoint: 'kms:1/', prefix: /team/kes/, \
                        tags: { 'kes:created-by': me, cost: 0123 } }")
        .unwrap();
        assert_eq!(full.kms_endpoint, KmsEndpoint::At("https://kms:1".to_owned()));
        assert_eq!(full.prefix, "team/kes");
        let tags = [("kes:created-by", "me"), ("cost", "0123")];
        assert_eq!(full.tags, Some(tags.map(|(k, v)| (k.to_owned(), v.to_owned())).into()));
        let empty = aws("{ endpoint: e, region: r, tags: {} }").unwrap();
        assert_eq!(empty.tags, Some(Vec::new()));
    }

    #[test]
    fn the_kms_endpoint_follows_from_that_of_secrets_manager() {
        let regional =
            |use_fips, use_dual_stack| KmsEndpoint::Regional { use_fips, use_dual_stack };
        let at = |url: &str| KmsEndpoint::At(url.to_owned());
        for (endpoint, kms_endpoint, want) in [
            ("secretsmanager.r.amazonaws.com", "", regional(false, false)),
            ("SecretsManager.r.AmazonAWS.com.", "", regional(false, false)),
            ("https://secretsmanager-fips.r.amazonaws.com:443", "", regional(true, false)),
            ("secretsmanager.r.api.aws", "", regional(false, true)),
            ("secretsmanager-fips.r.api.amazonwebservices.com.cn", "", regional(true, true)),
            ("secretsmanager.r.amazonaws.com.cn", "", regional(false, false)),
            ("secretsmanager.r.amazonaws.eu", "", regional(false, false)),
            ("vpce-1.secretsmanager.r.vpce.amazonaws.com", "", regional(false, false)),
            ("vpce-1.secretsmanager.r.vpce.amazonaws.com", "vpce-2.kms", at("https://vpce-2.kms")),
            ("http://localhost:4566", "", at("http://localhost:4566")),
            ("http://i.elb.amazonaws.com:1", "", at("http://i.elb.amazonaws.com:1")),
            ("https://notamazonaws.com", "", at("https://notamazonaws.com")),
        ] {
            let text =
                format!("{{ endpoint: '{endpoint}', region: r, kmsendpoint: '{kms_endpoint}' }}");
            assert_eq!(aws(&text).unwrap().kms_endpoint, want, "{endpoint}");
        }
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
    fn keys_prefixes_and_tags_that_aws_would_refuse_are_refused() {
        for (text, words) in [
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
        ] {
            assert_eq!(aws(text).unwrap_err(), words, "{text}");
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
                "{ endpoint: e, region: r, credentials: { accesskey: '${EMPTY}', secretkey: s } }",
                "secretsmanager.credentials.accesskey: the environment variable `EMPTY` is empty; \
                 it wants the id of the access key",
            ),
            (
                "{ endpoint: e, region: r, credentials: { accesskey: \"A\\n\", secretkey: s } }",
                "secretsmanager.credentials.accesskey: has a blank, a line end or another character \
                 that no credentials have; was a file with a line end at its end encoded?",
            ),
            (
                "{ endpoint: 'http://a:b:c', region: r }",
                "secretsmanager.endpoint: 'http://a:b:c' is no URL; it wants a host name or an IP \
                 address, and a port where it is not the usual one",
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
                "{ endpoint: 'ftp://e', region: r }",
                "secretsmanager.endpoint: 'ftp://e' is no URL; it wants http:// or https:// in front",
            ),
        ] {
            assert_eq!(aws(text).unwrap_err(), words, "{text}");
        }
    }
}
