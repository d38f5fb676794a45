//! Errors as AWS words them, for [`Fault::Answer`](crate::proxy::Fault).
//!
//! Codes and statuses: the pages *Errors* of the API references of Secrets Manager and KMS, and
//! their *Common Error Types*. How an error travels: the protocol AWS JSON 1.1,
//! <https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html#operation-error-serialization>.

use serde_json::json;

use crate::proxy::Reply;

/// The request id that every error here has.
pub const REQUEST_ID: &str = "5f0c4d9b-7a1e-4e6b-9d3c-2b8e8a6f1c70";

/// An error with this code, which AWS sends with this status.
pub fn error(status: u16, code: &str, message: &str) -> Reply {
    let body = json!({ "__type": code, "Message": message, "message": message });
    Reply::new(status, "application/x-amz-json-1.1", body.to_string())
        .header("x-amzn-requestid", REQUEST_ID)
}

/// Too many requests in a second.
pub fn throttling() -> Reply {
    error(400, "ThrottlingException", "Rate exceeded")
}

/// Something is wrong with Secrets Manager.
pub fn internal() -> Reply {
    error(500, "InternalServiceError", "An error occurred on the server side.")
}

/// The service is down, says a proxy in front of it.
pub fn unavailable() -> Reply {
    Reply::new(503, "text/html", "<html><body>Service Unavailable</body></html>")
        .header("x-amzn-requestid", REQUEST_ID)
}

/// There is no such secret.
pub fn not_found() -> Reply {
    let message = "Secrets Manager can't find the specified secret.";
    error(400, "ResourceNotFoundException", message)
}

/// A secret of that name exists.
pub fn exists(name: &str) -> Reply {
    let message = format!("The operation failed because the secret {name} already exists.");
    error(400, "ResourceExistsException", &message)
}

/// A secret of that name is scheduled for deletion.
pub fn scheduled(action: &str) -> Reply {
    let message = match action {
        "CreateSecret" => {
            "You can't create this secret because a secret with this name is already scheduled \
             for deletion."
        }
        _ => "You can't perform this operation on the secret because it was marked for deletion.",
    };
    error(400, "InvalidRequestException", message)
}

/// The caller's policy does not allow an action: of Secrets Manager, unless another service is
/// named before it.
pub fn denied(action: &str) -> Reply {
    let service = if action.contains(':') { "" } else { "secretsmanager:" };
    let action = format!("{service}{action}");
    let message = format!(
        "User: arn:aws:sts::123456789012:assumed-role/kes/i-0123 is not authorized to perform: \
         {action} on resource: {RESOURCE} because no identity-based policy allows the {action} \
         action"
    );
    error(400, "AccessDeniedException", &message)
}

/// What a denial here is about.
pub const RESOURCE: &str = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:its-own-??????";

/// Secrets Manager may not use the KMS key in the caller's name.
pub fn kms_denied() -> Reply {
    error(400, "AccessDeniedException", "Access to KMS is not allowed")
}

/// The session token of the credentials has expired.
pub fn expired_token() -> Reply {
    error(400, "ExpiredTokenException", "The security token included in the request is expired")
}

/// The access key is not known.
pub fn unknown_key() -> Reply {
    let message = "The security token included in the request is invalid.";
    error(400, "UnrecognizedClientException", message)
}

/// The signature is not right.
pub fn bad_signature() -> Reply {
    let message = "The request signature we calculated does not match the signature you provided.";
    error(403, "InvalidSignatureException", message)
}
