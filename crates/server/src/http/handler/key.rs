//! Handles the routes that manage and use keys.

use std::net::{IpAddr, Ipv4Addr};

use axum::http::StatusCode;
use kes_crypto::ImportError;
use kes_policy::Permit;
use kes_store::ListQuery;
use kes_types::wire::{
    Base64, DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse, GenerateRequest,
    GenerateResponse, HmacRequest, HmacResponse, ImportRequest, KeyInfo, KeyPage, message,
};
use kes_types::{Algorithm, KeyName};

use crate::http::error::{ApiError, StoreOperation};
use crate::http::page;
use crate::http::request::RequestContext;
use crate::http::request_body::RequestBody;
use crate::http::response::{self, ApiResult};
use crate::log::refusal::Refusal;

/// `PUT /v1/key/create/<name>`.
pub(crate) async fn create(request: &RequestContext, permit: &Permit) -> ApiResult {
    let name = request.key_name()?;
    request.keyring().create(permit, &name).await.map_err(ApiError::create)?;
    Ok(response::empty())
}

/// `PUT /v1/key/import/<name>`.
pub(crate) async fn import(
    request: &RequestContext,
    permit: &Permit,
    body: &mut RequestBody,
) -> ApiResult {
    let name = request.key_name()?;
    let input: ImportRequest = body.json(message::IMPORT_INVALID).await?;
    let not_acceptable = |message: String| ApiError::new(StatusCode::NOT_ACCEPTABLE, message);
    let algorithm = Algorithm::parse(&input.cipher)
        .map_err(|_| not_acceptable(format!("algorithm '{}' is not supported", input.cipher)))?;
    let key = request.keyring().imported(permit, &input.key, algorithm);
    let key = key.map_err(|error| match error {
        ImportError::Size => not_acceptable(format!("invalid key size for '{}'", input.cipher)),
        ImportError::Random(error) => ApiError::internal(error),
    })?;
    request.keyring().import(permit, &name, key).await.map_err(ApiError::create)?;
    Ok(response::empty())
}

/// `GET /v1/key/describe/<name>`.
pub(crate) async fn describe(request: &RequestContext, permit: &Permit) -> ApiResult {
    let name = request.key_name()?;
    let key = request.keyring().get(permit, &name).await.map_err(ApiError::key)?;
    response::json(&KeyInfo {
        name,
        algorithm: key.algorithm().as_str().to_owned(),
        created_at: key.created_at(),
        created_by: key.created_by().map(ToOwned::to_owned),
    })
}

/// `GET /v1/key/list/<pattern>`.
pub(crate) async fn list(request: &RequestContext, permit: &Permit) -> ApiResult {
    let pattern = request.pattern()?;
    let query = ListQuery {
        prefix: pattern.prefix().to_owned(),
        from: None,
        limit: kes_keyring::Keyring::PAGE_NAMES_MAX,
    };
    let found = request.keyring().list(permit, &query).await;
    let found = found.map_err(|error| ApiError::call(StoreOperation::List, error))?;
    let (names, next) = page::cut(found.names, KeyName::as_str);
    let continue_at = next.or(found.next).map(|name| name.to_string()).unwrap_or_default();
    response::json(&KeyPage { names, continue_at })
}

/// `DELETE /v1/key/delete/<name>`.
pub(crate) async fn delete(request: &RequestContext, permit: &Permit) -> ApiResult {
    let name = request.key_name()?;
    let deleted = request.keyring().delete(permit, &name).await;
    deleted.map_err(|error| ApiError::call(StoreOperation::Delete, error))?;
    Ok(response::empty())
}

/// `PUT /v1/key/generate/<name>`.
pub(crate) async fn generate(
    request: &RequestContext,
    permit: &Permit,
    body: &mut RequestBody,
) -> ApiResult {
    let name = request.key_name()?;
    let input: GenerateRequest = body.json(message::BODY_INVALID).await?;
    let key = request.keyring().get(permit, &name).await.map_err(ApiError::key)?;
    let random = request.keyring().random();
    let data_key = key.generate_data_key(&input.context.0, random).map_err(ApiError::internal)?;
    response::json(&GenerateResponse {
        plaintext: data_key.plaintext,
        ciphertext: Base64(data_key.ciphertext),
    })
}

/// `PUT /v1/key/encrypt/<name>`.
pub(crate) async fn encrypt(
    request: &RequestContext,
    permit: &Permit,
    body: &mut RequestBody,
) -> ApiResult {
    let name = request.key_name()?;
    let input: EncryptRequest = body.json(message::BODY_INVALID).await?;
    let key = request.keyring().get(permit, &name).await.map_err(ApiError::key)?;
    let random = request.keyring().random();
    let sealed = key.seal(input.plaintext.expose(), &input.context.0, random);
    let ciphertext = Base64(sealed.map_err(ApiError::internal)?);
    response::json(&EncryptResponse { ciphertext })
}

/// `PUT /v1/key/decrypt/<name>`.
pub(crate) async fn decrypt(
    request: &RequestContext,
    permit: &Permit,
    body: &mut RequestBody,
) -> ApiResult {
    let name = request.key_name()?;
    let input: DecryptRequest = body.json(message::BODY_INVALID).await?;
    let key = request.keyring().get(permit, &name).await.map_err(ApiError::key)?;
    let opened = key.open(&input.ciphertext.0, &input.context.0);
    let plaintext = opened.map_err(|_| not_authentic(request, &name, &input.ciphertext.0))?;
    response::json(&DecryptResponse { plaintext })
}

/// `PUT /v1/key/hmac/<name>`.
pub(crate) async fn hmac(
    request: &RequestContext,
    permit: &Permit,
    body: &mut RequestBody,
) -> ApiResult {
    let name = request.key_name()?;
    let input: HmacRequest = body.json(message::BODY_INVALID).await?;
    let key = request.keyring().get(permit, &name).await.map_err(ApiError::key)?;
    let hmac = key.hmac(input.message.expose());
    let hmac = hmac.map_err(|_| ApiError::new(StatusCode::CONFLICT, message::NO_HMAC))?;
    response::json(&HmacResponse { hmac })
}

/// Returns the error of a ciphertext that is not authentic. Only the log has the key and the format of the
/// ciphertext.
fn not_authentic(request: &RequestContext, name: &KeyName, ciphertext: &[u8]) -> ApiError {
    let refusal = Refusal::new(
        "decryption failed",
        format!("a ciphertext is not authentic under the key '{}' and its context", name.as_str()),
        "decrypt with the key and the context that it was encrypted with",
    );
    let (form, len) = (kes_crypto::ciphertext_form(ciphertext), ciphertext.len());
    let identity = request.identity().map(|it| it.to_string()).unwrap_or_default();
    let detail = format!("request {}, {form:?}, {len} bytes, identity {identity}", request.id);
    // The server itself has formatted the address, so it can be parsed.
    let ip = request.caller.ip.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    request.app.refusals.note_of(ip, &refusal, Some(&detail));
    ApiError::bad_request(message::NOT_AUTHENTIC)
}
