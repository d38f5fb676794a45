//! Defines the errors of calls to AWS. They are classified by the error codes of AWS, not by HTTP
//! statuses.

pub(crate) mod refusal;
pub(crate) mod sanitized;

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_secretsmanager::config::http::HttpResponse;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_secretsmanager::operation::RequestId as _;
use aws_sdk_secretsmanager::primitives::DateTime;
use kes_store::{BoxError, StoreError};
use kes_tls::ClientTlsError;
use kes_types::RandomFailed;

use crate::call::AwsCall;
use crate::error::refusal::Refusal;
use crate::error::sanitized::SanitizedError;
use crate::key::secret::SECRET_LEN_MAX;
use crate::kms::KeyProblem;

/// Why a call to AWS failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AwsError {
    /// AWS responded with an error.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// No response was received, or an incomplete one.
    #[error("no answer to {0}")]
    NoAnswer(AwsCall, #[source] SanitizedError),
    /// The request was not sent.
    #[error("a request to {0} cannot be made")]
    NotSent(AwsCall, #[source] SanitizedError),
    /// The response does not match the documentation of AWS.
    #[error("the answer to {0} cannot be understood")]
    NotUnderstood(AwsCall, #[source] SanitizedError),
    /// The operation timed out.
    #[error("no answer to {call} within {} s", .within.as_secs())]
    TimedOut { call: AwsCall, within: Duration },
    /// No source returned credentials.
    #[error(
        "there are no AWS credentials: neither the environment, the shared profile, a web \
         identity, the container nor the EC2 instance gave any"
    )]
    NoCredentials(#[source] SanitizedError),
    /// The load of credentials takes too long.
    #[error("the AWS credentials are not there within {} s", .within.as_secs())]
    CredentialsPending { within: Duration },

    /// The secret is scheduled for deletion, with a recovery window.
    #[error(
        "secret '{secret}' is scheduled for deletion ({}): until its recovery window of 7 to 30 days \
         is over, 'aws secretsmanager restore-secret' brings it back; deleting the key gives the \
         name free at once, and for good", DateTime::from_secs(*.since)
    )]
    ScheduledForDeletion { secret: String, since: i64 },
    /// The secret exists and has no value, or no value yet.
    #[error("secret '{secret}' ({arn}) exists, but has no current value (AWSCURRENT)")]
    NoCurrentValue { secret: String, arn: String },
    /// Too many absent secrets are being checked, so the second check of this one is not possible.
    #[error("too many secrets that do not exist are asked for at the same time")]
    TooManyAbsent,
    /// There was no time for the second check whether the secret exists.
    #[error("AWS knows no secret '{secret}', and there is no time to ask it again")]
    Doubtful { secret: String },
    /// AWS returned another secret than the requested one.
    #[error("AWS answered with secret '{found}' where '{secret}' was asked for")]
    OtherSecret { secret: String, found: String },
    /// The secret exists, but contains no key.
    #[error("secret '{secret}' is not a key: it has neither a SecretString nor a SecretBinary")]
    Empty { secret: String },
    /// A secret that was just created cannot be read.
    #[error(
        "secret '{secret}' was created, but AWS does not give it back yet; whether the key exists \
         is not known"
    )]
    NotReadBack { secret: String },
    /// A secret that was just created cannot be read, with the error of AWS.
    #[error("secret '{secret}' was created, but cannot be read; the name stays taken")]
    Unreadable {
        secret: String,
        #[source]
        source: Box<Self>,
    },
    /// Another value is stored under the name of a secret that was just created.
    #[error("secret '{secret}' was changed while it was being created")]
    Changed { secret: String },

    /// The value is longer than a secret may be.
    #[error("the value is longer than {SECRET_LEN_MAX} bytes, the most that Secrets Manager keeps")]
    TooLarge,
    /// No idempotency token can be generated.
    #[error("no idempotency token can be made")]
    NoToken(#[source] RandomFailed),
    /// The value cannot be stored as text.
    #[error("the value is empty or no text, which Secrets Manager does not keep")]
    NotText,
    /// An error of an earlier call.
    #[error(transparent)]
    Known(Arc<Self>),
    /// The KMS key cannot be used.
    #[error("KMS key '{key}' cannot be used")]
    Key {
        key: String,
        #[source]
        source: KeyProblem,
    },
}

impl AwsError {
    /// Converts an error of the SDK.
    pub(crate) fn of<E>(call: &AwsCall, error: SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let call = call.clone();
        match &error {
            SdkError::ServiceError(error) => {
                let status = error.raw().status().as_u16();
                let id = error.raw().request_id().map(str::to_owned);
                let meta = error.err().meta();
                let code = meta.code().map(str::to_owned);
                let message = meta.message().unwrap_or_default();
                Self::Refused(Box::new(Refusal::new(call, status, code, message, id)))
            }
            SdkError::ResponseError(_) => Self::NotUnderstood(call, SanitizedError::of(&error)),
            SdkError::ConstructionFailure(_) => Self::NotSent(call, SanitizedError::of(&error)),
            _ => Self::NoAnswer(call, SanitizedError::of(&error)),
        }
    }

    /// Returns whether AWS responded with this code.
    pub(crate) fn has_code(&self, code: &str) -> bool {
        self.refusal().is_some_and(|refusal| refusal.code() == Some(code))
    }

    pub(crate) fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::Unreadable { source, .. } => source.refusal(),
            Self::Known(error) => error.refusal(),
            _ => None,
        }
    }

    /// Returns whether waiting can help: AWS did not respond, or reported a temporary failure.
    /// Other errors are definite, or need an operator.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Refused(refusal) => refusal.is_transient(),
            Self::Unreadable { source, .. } => source.is_transient(),
            Self::Known(error) => error.is_transient(),
            Self::Key { source, .. } => matches!(source, KeyProblem::NotNow(_)),
            Self::NoAnswer(..)
            | Self::NotUnderstood(..)
            | Self::TimedOut { .. }
            | Self::NoCredentials(_)
            | Self::CredentialsPending { .. }
            | Self::TooManyAbsent
            | Self::Doubtful { .. }
            | Self::NotReadBack { .. } => true,
            _ => false,
        }
    }

    /// Returns whether a write that failed with this error may have taken effect.
    pub(crate) fn is_ambiguous(&self) -> bool {
        match self {
            Self::Refused(refusal) => refusal.is_ambiguous(),
            Self::NoAnswer(..) | Self::NotUnderstood(..) | Self::TimedOut { .. } => true,
            _ => false,
        }
    }
}

impl From<AwsError> for StoreError {
    fn from(error: AwsError) -> Self {
        Self::of(error.is_transient(), error)
    }
}

/// Why a store in AWS cannot be opened. A retry does not help.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The certificates to verify servers cannot be loaded.
    #[error("TLS towards AWS cannot be set up")]
    Tls(#[source] ClientTlsError),
    /// AWS rejects the credentials of the configuration.
    #[error("AWS refuses keystore.aws.secretsmanager.credentials")]
    Credentials(#[source] BoxError),
    /// The KMS key of the configuration cannot encrypt secrets.
    #[error("keystore.aws.secretsmanager.kmskey cannot be used")]
    Key(#[source] BoxError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_must_mend_is_refused_and_what_passes_is_unreachable() {
        let call = || AwsCall::new("secretsmanager:GetSecretValue", "my-key");
        let said = |code: &str| {
            let refusal = Refusal::new(call(), 400, Some(code.to_owned()), "", None);
            AwsError::Refused(Box::new(refusal))
        };
        let timed_out = || AwsError::TimedOut { call: call(), within: Duration::from_secs(10) };
        assert!(matches!(StoreError::from(timed_out()), StoreError::Unreachable(_)));
        for (code, is_transient) in
            [("ThrottlingException", true), ("AccessDeniedException", false)]
        {
            assert_eq!(said(code).is_transient(), is_transient);
            let after = AwsError::Unreadable { secret: "s".to_owned(), source: said(code).into() };
            assert_eq!(after.is_transient(), is_transient);
        }
        assert!(timed_out().is_ambiguous());
    }
}
