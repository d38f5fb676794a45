//! Obtains tokens with `AppRole` or Kubernetes authentication, renews and revokes them.

use std::path::Path;
use std::time::Duration;

use http::HeaderValue;
use kes_config::{VaultCredentials, VaultJwt, VaultLogin};
use kes_store::Deadline;
use kes_types::Secret;
use tokio::io::AsyncReadExt as _;
use vaultrs::api::auth::approle::requests::LoginWithApproleRequest;
use vaultrs::api::auth::kubernetes::requests::LoginWithKubernetesRequest;
use vaultrs::api::token::requests::{
    LookupTokenSelfRequest, RenewTokenSelfRequest, RevokeTokenSelfRequest,
};

use crate::auth::token_state::Lease;
use crate::error::VaultError;
use crate::http::request::VaultRequest;
use crate::http::response::{Auth, Envelope, VaultResponse};
use crate::http::{OPERATION_TIMEOUT, Sender, Transport};

/// The maximum length of the token of a service account, in bytes.
const JWT_LEN_MAX: u64 = 64 << 10;

/// The maximum lifetime of a token. Longer lifetimes are reduced to it, so that instants do not
/// overflow.
const TTL_MAX: Duration = Duration::from_hours(24 * 365);

/// The login method and its credentials.
#[derive(Debug)]
pub(crate) struct Login {
    engine: String,
    namespace: Option<HeaderValue>,
    credentials: VaultCredentials,
}

/// A token as an HTTP header value.
#[derive(Clone, Debug)]
pub(crate) struct Token(HeaderValue);

/// A token and its lifetime.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) token: Token,
    pub(crate) lease: Lease,
}

impl Login {
    pub(crate) fn new(login: &VaultLogin) -> Result<Self, VaultError> {
        Ok(Self {
            engine: login.engine.clone(),
            namespace: namespace(login.namespace.as_deref())?,
            credentials: login.credentials.clone(),
        })
    }

    /// Returns the object that holds the policies, as errors name it.
    pub(crate) fn role(&self) -> &'static str {
        match self.credentials {
            VaultCredentials::AppRole { .. } => "the AppRole's",
            VaultCredentials::Kubernetes { .. } => "the Kubernetes role's",
        }
    }

    /// Returns the configuration fields that affect whether a login succeeds.
    pub(crate) fn fields(&self) -> &'static str {
        match self.credentials {
            VaultCredentials::AppRole { .. } => {
                "keystore.vault.approle: id, secret, engine and namespace"
            }
            VaultCredentials::Kubernetes { .. } => {
                "keystore.vault.kubernetes: role, jwt, engine and namespace"
            }
        }
    }

    /// Requests a new token.
    pub(crate) async fn log_in(
        &self,
        transport: &Transport,
        deadline: Deadline,
    ) -> Result<Granted, VaultError> {
        let Some(call) = deadline.run(self.call()).await else {
            return Err(VaultError::LoginPending { within: OPERATION_TIMEOUT });
        };
        let call = call?.put();
        let sender = Sender { token: None, namespace: self.namespace.as_ref() };
        granted(transport.send(&call, sender, deadline).await?)
    }

    /// Renews a token.
    pub(crate) async fn renew(
        &self,
        transport: &Transport,
        token: &Token,
        deadline: Deadline,
    ) -> Result<Granted, VaultError> {
        let call = VaultRequest::of(&RenewTokenSelfRequest::default())?.put();
        granted(transport.send(&call, self.sender(token), deadline).await?)
    }

    /// Returns whether Vault knows a token. A token whose policies do not allow the lookup of
    /// itself counts as unknown.
    pub(crate) async fn is_known(
        &self,
        transport: &Transport,
        token: &Token,
        deadline: Deadline,
    ) -> Result<bool, VaultError> {
        let call = VaultRequest::of(&LookupTokenSelfRequest::default())?;
        let answer = transport.send(&call, self.sender(token), deadline).await?;
        match answer.status {
            403 if !answer.is_foreign() => Ok(false),
            _ if answer.is_success() => Ok(true),
            _ => Err(answer.into_error()),
        }
    }

    /// Revokes a token, so that its lease ends with the server.
    pub(crate) async fn revoke(
        &self,
        transport: &Transport,
        token: &Token,
        deadline: Deadline,
    ) -> Result<(), VaultError> {
        let call = VaultRequest::of(&RevokeTokenSelfRequest::default())?.put();
        let answer = transport.send(&call, self.sender(token), deadline).await?;
        if answer.is_success() { Ok(()) } else { Err(answer.into_error()) }
    }

    fn sender<'a>(&'a self, token: &'a Token) -> Sender<'a> {
        Sender { token: Some(token.header()), namespace: self.namespace.as_ref() }
    }

    async fn call(&self) -> Result<VaultRequest, VaultError> {
        let mount = self.engine.clone();
        match &self.credentials {
            VaultCredentials::AppRole { id, secret } => {
                VaultRequest::of(&LoginWithApproleRequest {
                    mount,
                    role_id: text(id)?,
                    secret_id: text(secret)?,
                })
            }
            VaultCredentials::Kubernetes { role, jwt } => {
                let jwt = match jwt {
                    VaultJwt::Token(token) => text(token)?,
                    VaultJwt::File(path) => read(path).await?,
                };
                VaultRequest::of(&LoginWithKubernetesRequest { mount, role: role.clone(), jwt })
            }
        }
    }
}

impl Token {
    fn new(token: &Secret) -> Option<Self> {
        let mut header = HeaderValue::from_bytes(token.expose()).ok()?;
        header.set_sensitive(true);
        Some(Self(header))
    }

    pub(crate) fn header(&self) -> &HeaderValue {
        &self.0
    }
}

/// Converts a namespace to an HTTP header value.
pub(crate) fn namespace(namespace: Option<&str>) -> Result<Option<HeaderValue>, VaultError> {
    namespace
        .map(|text| HeaderValue::from_str(text.trim_matches('/')))
        .transpose()
        .map_err(|error| VaultError::Request(std::sync::Arc::new(error)))
}

fn granted(answer: VaultResponse) -> Result<Granted, VaultError> {
    if answer.is_success() {
        let auth: Auth =
            answer.parse::<Envelope<()>>()?.auth.ok_or_else(|| answer.not_understood())?;
        let token = Token::new(&auth.client_token).ok_or_else(|| answer.not_understood())?;
        let ttl = Duration::from_secs(auth.lease_duration).min(TTL_MAX);
        let lease =
            Lease { ttl: Some(ttl).filter(|ttl| !ttl.is_zero()), is_renewable: auth.renewable };
        return Ok(Granted { token, lease });
    }
    let errors = answer.reasons();
    let target = answer.target.clone();
    Err(match answer.status {
        status @ (400 | 401 | 403 | 404 | 405) if !answer.is_foreign() => {
            VaultError::LoginRefused { target, status, errors }
        }
        _ => answer.into_error(),
    })
}

/// Returns a configured secret as text.
fn text(secret: &Secret) -> Result<String, VaultError> {
    let text = std::str::from_utf8(secret.expose());
    text.map(str::to_owned).map_err(|error| VaultError::Request(std::sync::Arc::new(error)))
}

/// Reads the file of the service account. Kubernetes replaces it before its token expires, so it is
/// read for each login.
async fn read(path: &Path) -> Result<String, VaultError> {
    let failed = |error| VaultError::Jwt(path.to_owned(), error);
    let malformed = || VaultError::JwtMalformed(path.to_owned());
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    let mut text = String::new();
    let length = file.take(JWT_LEN_MAX + 1).read_to_string(&mut text).await;
    match length {
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => return Err(malformed()),
        Err(error) => return Err(failed(error)),
        Ok(length) if length as u64 > JWT_LEN_MAX => return Err(malformed()),
        Ok(_) => {}
    }
    let token = text.trim();
    if token.is_empty() { Err(malformed()) } else { Ok(token.to_owned()) }
}
