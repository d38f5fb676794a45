//! An error that AWS answered with.

use std::fmt;

use crate::call::AwsCall;
use crate::error::sanitized::on_a_line;

/// An error that AWS answered with.
#[derive(Debug)]
pub(crate) struct Refusal {
    call: AwsCall,
    status: u16,
    /// None: something answered that is not AWS.
    code: Option<String>,
    message: String,
    request_id: Option<String>,
    /// The KMS key that the secret is encrypted under, where it matters and is known.
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

    /// Names the KMS key that the secret is encrypted under.
    pub(crate) fn name_key(&mut self, key: &str) {
        self.key = Some(key.to_owned());
    }

    /// AWS did nothing, for there is too much to do.
    pub(crate) fn is_throttling(&self) -> bool {
        self.code().is_some_and(|code| THROTTLING.contains(&code))
    }

    /// AWS cannot right now; nor can what stands between us, which has no codes. That it does not
    /// know us is no word about what was asked: expired credentials are replaced, clocks set, and
    /// new keys known everywhere after a while.
    pub(crate) fn is_transient(&self) -> bool {
        match self.code() {
            None => true,
            Some(code) if THROTTLING.contains(&code) || FAILING.contains(&code) => true,
            Some(_) if self.is_about_credentials() => true,
            Some(_) => !self.is_denial() && !self.is_about_kms() && self.status >= 500,
        }
    }

    /// Whether what was asked may have been done all the same.
    pub(crate) fn is_ambiguous(&self) -> bool {
        self.is_transient() && !self.is_throttling() && !self.is_about_credentials()
    }

    /// AWS does not know who we are, or not any more.
    pub(crate) fn is_about_credentials(&self) -> bool {
        self.code().is_some_and(|code| CREDENTIALS.contains(&code))
    }

    /// It is this machine's clock that is wrong, or was.
    pub(crate) fn is_about_time(&self) -> bool {
        let message = self.message.to_ascii_lowercase();
        let speaks_of_it = ["signature expired", "signature not yet current"];
        self.code().is_some_and(|code| ["RequestExpired", "RequestTimeTooSkewed"].contains(&code))
            || (self.is_about_credentials() && speaks_of_it.iter().any(|it| message.contains(it)))
    }

    /// AWS knows who we are, and we may not.
    pub(crate) fn is_denial(&self) -> bool {
        self.code().is_some_and(|code| DENIAL.contains(&code))
    }

    /// It is KMS that did not do as asked, on behalf of Secrets Manager.
    pub(crate) fn is_about_kms(&self) -> bool {
        let is_kms_code = self.code().is_some_and(|code| {
            code.starts_with("KMS") || ["DecryptionFailure", "EncryptionFailure"].contains(&code)
        });
        // Names of roles may have the word in them too.
        let message = self.message.to_ascii_lowercase();
        let speaks_of_it = message.contains("kms")
            && !message.contains("is not authorized to perform: secretsmanager:");
        is_kms_code || (self.is_denial() && speaks_of_it)
    }

    /// What was denied: AWS names it, or it is what Secrets Manager needs of KMS.
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

/// Nothing was done: the SDK's list (`aws-runtime`), and what Secrets Manager says of KMS.
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

/// AWS has troubles of its own: *Common errors* of both services' references, and their own.
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

/// *Common errors*: who we are is not known, not any more, or not shown well.
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
