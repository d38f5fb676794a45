//! The instance metadata service of EC2, version 2:
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html>.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Response};
use http_body_util::Full;
use serde_json::json;

use super::issued::opaque;
use super::{Ledger, header, response};

/// Where session tokens come from, and who asks how long they shall live.
const TOKENS: &str = "/latest/api/token";
const TOKEN_LIFE: &str = "x-aws-ec2-metadata-token-ttl-seconds";

/// What all else must show.
const TOKEN: &str = "x-aws-ec2-metadata-token";

/// Where the name of the instance's role is, and below it the role's credentials.
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";
const ROLE: &str = "kes";

pub(super) fn answer(ledger: &mut Ledger, head: &Parts) -> Response<Full<Bytes>> {
    match (head.method.as_str(), head.uri.path()) {
        ("PUT", TOKENS) => token(ledger, head),
        ("GET", _) if !ledger.is_proof(header(head, TOKEN)) => {
            response(401, "text/html", "<html>unauthorized</html>".to_owned())
        }
        ("GET", ROLES) => response(200, "text/plain", ROLE.to_owned()),
        ("GET", path) if path.strip_prefix(ROLES) == Some(ROLE) => credentials(ledger),
        _ => response(404, "text/html", "<html>not found</html>".to_owned()),
    }
}

fn token(ledger: &mut Ledger, head: &Parts) -> Response<Full<Bytes>> {
    // Six hours are the most.
    let life = header(head, TOKEN_LIFE).parse().ok().filter(|life| (1..=21_600_u32).contains(life));
    let Some(life) = life else {
        return response(400, "text/html", "<html>bad request</html>".to_owned());
    };
    let token = opaque();
    ledger.proofs.insert(token.clone());
    let mut response = response(200, "text/plain", token);
    response.headers_mut().insert(TOKEN_LIFE, HeaderValue::from(life));
    response
}

fn credentials(ledger: &mut Ledger) -> Response<Full<Bytes>> {
    let issued = ledger.issue();
    let body = json!({
        "Code": "Success",
        "LastUpdated": "2026-01-01T00:00:00Z",
        "Type": "AWS-HMAC",
        "AccessKeyId": issued.access_key,
        "SecretAccessKey": issued.secret_key,
        "Token": issued.token,
        "Expiration": issued.expiration(),
    });
    response(200, "text/plain", body.to_string())
}
