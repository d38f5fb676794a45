//! AWS Signature Version 4, checked as AWS does, from the description in
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>.

use std::collections::BTreeMap;

use ring::{digest, hmac};
use time::{Duration, OffsetDateTime, PrimitiveDateTime};

use crate::proxy::Asked;

/// How far the clocks of a caller and of AWS may be apart.
const SKEW_MAX: Duration = Duration::minutes(5);

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Whose signature it is to be.
#[derive(Clone, Debug)]
pub struct Signer {
    /// The access key's id.
    pub key_id: String,
    /// The secret access key.
    pub secret: String,
    /// The session's token, of temporary credentials.
    pub token: Option<String>,
    /// The region that is asked.
    pub region: String,
}

/// What the `Authorization` header says.
struct Claim<'a> {
    key_id: &'a str,
    /// Date, region, service and `aws4_request`, with slashes between.
    scope: &'a str,
    headers: Vec<&'a str>,
    signature: &'a str,
}

/// Whether a request is that action, of whichever service has one of this name.
pub fn is_action(asked: &Asked, action: &str) -> bool {
    let target = asked.header("x-amz-target");
    target.rsplit_once('.').is_some_and(|(_, last)| last == action)
}

/// The access key's id in a request, empty when it is not signed.
pub fn key_id(asked: &Asked) -> &str {
    claim(asked).map_or("", |claim| claim.key_id)
}

/// When a request says that it was signed, in whole seconds.
pub fn signed_at(asked: &Asked) -> Option<OffsetDateTime> {
    moment(asked.header("x-amz-date"))
}

/// Checks the signature of a request at a moment; what is wrong with it is an error. The service
/// that it is for is the one that `X-Amz-Target` names; without one, `service`.
///
/// # Errors
/// A signature that AWS would refuse, in words.
pub fn verify(asked: &Asked, signer: &Signer, now: OffsetDateTime) -> Result<(), String> {
    let service = match asked.header("x-amz-target").split_once('.') {
        Some(("secretsmanager", _)) => "secretsmanager",
        Some(("TrentService", _)) => "kms",
        _ => return Err(format!("for no service that is known: {asked:?}")),
    };
    let claim = claim(asked).ok_or_else(|| format!("not signed: {asked:?}"))?;
    for needed in ["host", "x-amz-date", "x-amz-target"] {
        if !claim.headers.contains(&needed) {
            return Err(format!("{needed} is not signed"));
        }
    }
    let token = signer.token.as_deref().unwrap_or_default();
    if asked.header("x-amz-security-token") != token {
        return Err("another session token than the signer's, or none".to_owned());
    }
    if signer.token.is_some() && !claim.headers.contains(&"x-amz-security-token") {
        return Err("x-amz-security-token is not signed".to_owned());
    }
    let hash = asked.header("x-amz-content-sha256");
    if !hash.is_empty() && hash != sha256(&asked.body) {
        return Err("x-amz-content-sha256 is not the body's".to_owned());
    }
    check(asked, signer, service, now)
}

/// Checks the signature itself, its scope and its date.
fn check(asked: &Asked, signer: &Signer, service: &str, now: OffsetDateTime) -> Result<(), String> {
    let claim = claim(asked).ok_or_else(|| format!("not signed: {asked:?}"))?;
    let date = asked.header("x-amz-date");
    let at = moment(date).ok_or_else(|| format!("'{date}' is no date"))?;
    if (now - at).abs() > SKEW_MAX {
        return Err(format!("signed at {at}, but it is {now}"));
    }
    let day = date.get(..8).unwrap_or_default();
    let scope = format!("{day}/{}/{service}/aws4_request", signer.region);
    if claim.scope != scope {
        return Err(format!("for {} instead of {scope}", claim.scope));
    }
    if claim.key_id != signer.key_id {
        return Err(format!("signed by {} instead of {}", claim.key_id, signer.key_id));
    }
    let canonical = canonical(asked, &claim.headers)?;
    let to_sign = format!("{ALGORITHM}\n{date}\n{scope}\n{}", sha256(canonical.as_bytes()));
    let first = format!("AWS4{}", signer.secret).into_bytes();
    let key = scope.split('/').fold(first, |key, part| mac(&key, part));
    let signature = hex::encode(mac(&key, &to_sign));
    if claim.signature != signature {
        return Err(format!("the signature is wrong; what is to be signed is\n{canonical}"));
    }
    Ok(())
}

/// The request in the one form that both ends compute.
fn canonical(asked: &Asked, names: &[&str]) -> Result<String, String> {
    if !names.is_sorted() {
        return Err(format!("the signed headers are not sorted: {names:?}"));
    }
    let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
    // Both are percent-encoded already, as every client here sends them.
    let mut query: Vec<String> = query
        .split('&')
        .filter(|part| !part.is_empty())
        .map(|part| if part.contains('=') { part.to_owned() } else { format!("{part}=") })
        .collect();
    query.sort();
    let mut headers = Vec::new();
    for name in names {
        let values: Vec<String> = asked
            .headers
            .get_all(*name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .map(|value| value.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        if values.is_empty() {
            return Err(format!("{name} is signed but not there"));
        }
        headers.push(format!("{name}:{}\n", values.join(",")));
    }
    Ok(format!(
        "{}\n{path}\n{}\n{}\n{}\n{}",
        asked.method,
        query.join("&"),
        headers.concat(),
        names.join(";"),
        sha256(&asked.body)
    ))
}

fn claim(asked: &Asked) -> Option<Claim<'_>> {
    let fields = asked.header("authorization").strip_prefix(ALGORITHM)?.trim();
    let fields: BTreeMap<&str, &str> =
        fields.split(',').filter_map(|field| field.trim().split_once('=')).collect();
    let (key_id, scope) = fields.get("Credential")?.split_once('/')?;
    let headers = fields.get("SignedHeaders")?.split(';').collect();
    Some(Claim { key_id, scope, headers, signature: fields.get("Signature")? })
}

/// `20150830T123600Z`.
fn moment(date: &str) -> Option<OffsetDateTime> {
    let number = |from: usize, to: usize| date.get(from..to)?.parse::<u8>().ok();
    let year = date.get(..4)?.parse().ok()?;
    let month = time::Month::try_from(number(4, 6)?).ok()?;
    let day = time::Date::from_calendar_date(year, month, number(6, 8)?).ok()?;
    let time = time::Time::from_hms(number(9, 11)?, number(11, 13)?, number(13, 15)?).ok()?;
    (date.len() == 16).then(|| PrimitiveDateTime::new(day, time).assume_utc())
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderMap;

    use super::*;

    const EXAMPLE: &str = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/\
        aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature=5d672d79c15b13162d9279\
        b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7";

    /// The example of the description: `ListUsers` of IAM.
    fn list_users() -> (Asked, Signer) {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
            ("host", "iam.amazonaws.com"),
            ("x-amz-date", "20150830T123600Z"),
            ("authorization", EXAMPLE),
        ] {
            headers.insert(name, value.parse().expect("a header"));
        }
        let asked = Asked {
            method: "GET".to_owned(),
            path: "/?Version=2010-05-08&Action=ListUsers".to_owned(),
            headers,
            body: Bytes::new(),
        };
        let signer = Signer {
            key_id: "AKIDEXAMPLE".to_owned(),
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
            token: None,
            region: "us-east-1".to_owned(),
        };
        (asked, signer)
    }

    type Change = fn(&mut Asked, &mut Signer);

    fn at(date: &str) -> OffsetDateTime {
        moment(date).expect("a date")
    }

    #[test]
    fn the_documented_example_is_right() {
        let (asked, signer) = list_users();
        for now in ["20150830T123600Z", "20150830T124059Z", "20150830T123101Z"] {
            assert_eq!(check(&asked, &signer, "iam", at(now)), Ok(()));
        }
    }

    #[test]
    fn whatever_is_changed_makes_it_wrong() {
        let now = at("20150830T123600Z");
        let changes: [(&str, Change); 9] = [
            ("signature", |asked, _| asked.method = "POST".to_owned()),
            ("signature", |asked, _| asked.path = "/?Version=2010-05-08".to_owned()),
            ("signature", |asked, _| asked.body = Bytes::from_static(b"x")),
            ("signature", |asked, _| {
                asked.headers.insert("host", "iam.example.com".parse().expect("a header"));
            }),
            ("signed but not there", |asked, _| {
                asked.headers.remove("content-type");
            }),
            ("signature", |_, signer| signer.secret.push('x')),
            ("signed by", |_, signer| signer.key_id = "AKIDOTHER".to_owned()),
            ("instead of", |_, signer| signer.region = "eu-central-1".to_owned()),
            ("not signed", |asked, _| {
                asked.headers.remove("authorization");
            }),
        ];
        for (number, (words, change)) in changes.into_iter().enumerate() {
            let (mut asked, mut signer) = list_users();
            change(&mut asked, &mut signer);
            let wrong = check(&asked, &signer, "iam", now).expect_err("it was changed");
            assert!(wrong.contains(words), "{number}: {wrong}");
        }
        let (asked, signer) = list_users();
        assert!(check(&asked, &signer, "s3", now).is_err());
        assert!(check(&asked, &signer, "iam", at("20150830T124101Z")).is_err());
        assert!(verify(&asked, &signer, now).is_err());
    }
}
