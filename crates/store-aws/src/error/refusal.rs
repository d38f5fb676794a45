//! Classifies error responses of AWS.

use std::fmt;

use crate::call::AwsCall;
use crate::error::sanitized::on_a_line;

/// An error response of AWS.
#[derive(Debug)]
pub(crate) struct Refusal {
    call: AwsCall,
    status: u16,
    /// The error code; none if the response is not from AWS.
    code: Option<String>,
    message: String,
    request_id: Option<String>,
    /// The KMS key that the secret is encrypted under, if relevant and known.
    key: Option<String>,
}

impl std::error::Error for Refusal {}

impl Refusal {
    pub(crate) fn new(
        call: AwsCall,
        status: u16,
        code: Option<String>,
        message: &str,
        request_id: Option<String>,
    ) -> Self {
        Self { call, status, code, message: on_a_line(message), request_id, key: None }
    }

    pub(crate) fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// Records the KMS key that the secret is encrypted under.
    pub(crate) fn name_key(&mut self, key: &str) {
        self.key = Some(key.to_owned());
    }

    /// Returns whether AWS did nothing, because of its rate limits.
    pub(crate) fn is_throttling(&self) -> bool {
        self.code().is_some_and(|code| THROTTLING.contains(&code))
    }

    /// Returns whether the error is temporary, at AWS or at a proxy in between, which sends no
    /// error codes. Rejected credentials are temporary too: expired credentials are refreshed,
    /// clocks are corrected, and new access keys take time to propagate.
    pub(crate) fn is_transient(&self) -> bool {
        match self.code() {
            None => true,
            Some(code) if THROTTLING.contains(&code) || FAILING.contains(&code) => true,
            Some(_) if self.is_about_credentials() => true,
            Some(_) => !self.is_denial() && !self.is_about_kms() && self.status >= 500,
        }
    }

    /// Returns whether the request may have taken effect nevertheless.
    pub(crate) fn is_ambiguous(&self) -> bool {
        self.is_transient() && !self.is_throttling() && !self.is_about_credentials()
    }

    /// Returns whether AWS rejects the credentials.
    pub(crate) fn is_about_credentials(&self) -> bool {
        self.code().is_some_and(|code| CREDENTIALS.contains(&code))
    }

    /// Returns whether the clock of this machine is or was wrong.
    pub(crate) fn is_about_time(&self) -> bool {
        let message = self.message.to_ascii_lowercase();
        let speaks_of_it = ["signature expired", "signature not yet current"];
        self.code().is_some_and(|code| ["RequestExpired", "RequestTimeTooSkewed"].contains(&code))
            || (self.is_about_credentials() && speaks_of_it.iter().any(|it| message.contains(it)))
    }

    /// Returns whether AWS accepts the credentials and denies the action.
    pub(crate) fn is_denial(&self) -> bool {
        self.code().is_some_and(|code| DENIAL.contains(&code))
    }

    /// Returns whether KMS failed, which Secrets Manager calls on behalf of the server.
    pub(crate) fn is_about_kms(&self) -> bool {
        let is_kms_code = self.code().is_some_and(|code| {
            code.starts_with("KMS") || ["DecryptionFailure", "EncryptionFailure"].contains(&code)
        });
        // The names of roles may contain the word, too.
        let message = self.message.to_ascii_lowercase();
        let speaks_of_it = message.contains("kms")
            && !message.contains("is not authorized to perform: secretsmanager:");
        is_kms_code || (self.is_denial() && speaks_of_it)
    }

    /// Returns the denied action and resource: those that AWS names, or those that Secrets Manager
    /// needs of KMS.
    fn denied(&self) -> (&str, &str) {
        let words = "is not authorized to perform: ";
        if let Some((_, rest)) = self.message.split_once(words) {
            let action = rest.split_whitespace().next().unwrap_or(self.call.action);
            let resource = rest.split_once("on resource: ").map(|(_, resource)| resource);
            let resource = resource.and_then(|resource| resource.split_whitespace().next());
            return (action.trim_end_matches('.'), resource.unwrap_or(&self.call.resource));
        }
        if !self.is_about_kms() {
            return (self.call.action, &self.call.resource);
        }
        let action = match self.call.action {
            "secretsmanager:CreateSecret" => "kms:GenerateDataKey",
            "secretsmanager:GetSecretValue" => "kms:Decrypt",
            action => action,
        };
        (action, self.key.as_deref().unwrap_or(&self.call.resource))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_denial() {
            let (action, resource) = self.denied();
            write!(f, "{action} denied on {resource}")?;
            if action != self.call.action {
                write!(f, " for {}", self.call)?;
            }
        } else {
            write!(f, "{} failed", self.call)?;
            if let Some(key) = self.key.as_ref().filter(|_| self.is_about_kms()) {
                write!(f, " with KMS key {key}")?;
            }
        }
        match &self.code {
            Some(code) => write!(f, ": {code}")?,
            None => write!(f, ": HTTP {} of something that is not AWS", self.status)?,
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        if let Some(id) = &self.request_id {
            write!(f, " (request {id})")?;
        }
        if self.is_about_time() {
            f.write_str("; is this machine's clock right?")?;
        }
        Ok(())
    }
}

/// Errors of requests that had no effect: the list of the SDK (`aws-runtime`), and codes of Secrets
/// Manager about KMS.
const THROTTLING: [&str; 13] = [
    "BandwidthLimitExceeded",
    "KMSThrottlingException",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "TransactionInProgressException",
];

/// Internal failures of AWS: *Common errors* in the references of both services, and errors of the
/// services.
const FAILING: [&str; 16] = [
    "DependencyTimeoutException",
    "IDPCommunicationError",
    "InternalError",
    "InternalFailure",
    "InternalServerError",
    "InternalServerException",
    "InternalServiceError",
    "InternalServiceErrorException",
    "KMSInternalException",
    "KeyUnavailableException",
    "OperationAborted",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "Unavailable",
];

/// Codes for unknown, expired or malformed credentials (*Common errors*).
const CREDENTIALS: [&str; 15] = [
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "UnrecognizedClient",
    "UnrecognizedClientException",
];

const DENIAL: [&str; 5] = [
    "AccessDenied",
    "AccessDeniedException",
    "KMSAccessDeniedException",
    "NotAuthorized",
    "UnauthorizedOperation",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(code: Option<&str>, message: &str) -> Refusal {
        let call = AwsCall::new("secretsmanager:GetSecretValue", "my-key");
        Refusal::new(call, 400, code.map(str::to_owned), message, Some("r-1".to_owned()))
    }

    #[test]
    fn a_denial_names_the_action_and_the_resource() {
        let denied = "User: arn:aws:sts::1:assumed-role/kes/i-1 is not authorized to perform: \
                      kms:Decrypt on resource: arn:aws:kms:us-east-2:1:key/k because no policy \
                      allows it";
        let said = refusal(Some("AccessDeniedException"), denied).to_string();
        let want = "kms:Decrypt denied on arn:aws:kms:us-east-2:1:key/k for \
                    secretsmanager:GetSecretValue on my-key: AccessDeniedException: User: ";
        assert!(said.starts_with(want), "{said}");
        assert!(said.ends_with("because no policy allows it (request r-1)"), "{said}");

        let mut of_kms = refusal(Some("AccessDeniedException"), "Access to KMS is not allowed");
        of_kms.name_key("arn:aws:kms:us-east-2:1:key/k");
        let want = "kms:Decrypt denied on arn:aws:kms:us-east-2:1:key/k for \
                    secretsmanager:GetSecretValue on my-key: AccessDeniedException: Access to KMS \
                    is not allowed (request r-1)";
        assert_eq!(of_kms.to_string(), want);

        let ours = "User: arn:aws:sts::1:assumed-role/minio-kms/i-1 is not authorized to perform: \
                    secretsmanager:GetSecretValue on resource: my-key";
        assert!(!refusal(Some("AccessDeniedException"), ours).is_about_kms());

        let said = refusal(Some("AccessDeniedException"), "no").to_string();
        let want = "secretsmanager:GetSecretValue denied on my-key: AccessDeniedException: no \
                    (request r-1)";
        assert_eq!(said, want);
    }

    #[test]
    fn what_is_not_a_denial_names_them_too() {
        let mut failure = refusal(Some("DecryptionFailure"), "Secrets Manager can't decrypt");
        failure.name_key("alias/kes");
        let want = "secretsmanager:GetSecretValue on my-key failed with KMS key alias/kes: \
                    DecryptionFailure: Secrets Manager can't decrypt (request r-1)";
        assert_eq!(failure.to_string(), want);
        let want = "secretsmanager:GetSecretValue on my-key failed: HTTP 400 of something that is \
                    not AWS (request r-1)";
        assert_eq!(refusal(None, "").to_string(), want);
    }

    #[test]
    fn a_wrong_clock_is_named() {
        let early = "Signature not yet current: 20261124T130000Z is still later than …";
        let said = refusal(Some("InvalidSignatureException"), early);
        assert!(said.is_about_time() && said.to_string().ends_with("clock right?"), "{said}");
        let wrong = refusal(Some("InvalidSignatureException"), "does not match");
        assert!(!wrong.is_about_time());
    }

    #[test]
    fn only_what_may_have_been_done_is_in_doubt() {
        for (code, is_ambiguous) in [
            (Some("InternalServiceError"), true),
            (None, true),
            (Some("ThrottlingException"), false),
            (Some("ExpiredTokenException"), false),
            (Some("AccessDeniedException"), false),
        ] {
            assert_eq!(refusal(code, "").is_ambiguous(), is_ambiguous, "{code:?}");
        }
    }

    #[test]
    fn a_code_decides_and_where_there_is_none_the_answer_is_not_aws_s() {
        for (code, status, is_transient) in [
            (Some("ThrottlingException"), 400, true),
            (Some("InternalServiceError"), 500, true),
            (Some("AccessDeniedException"), 503, false),
            (Some("ExpiredTokenException"), 400, true),
            (Some("KMSInvalidStateException"), 500, false),
            (Some("DecryptionFailure"), 500, false),
            (Some("KMSThrottlingException"), 400, true),
            (Some("SomethingNew"), 400, false),
            (Some("SomethingNew"), 500, true),
            (None, 404, true),
            (None, 400, true),
        ] {
            let refusal = Refusal { status, ..refusal(code, "") };
            assert_eq!(refusal.is_transient(), is_transient, "{code:?} {status}");
        }
    }
}
