//! Sends requests to AWS with valid credentials, a deadline, and one retry with newer credentials.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, UNIX_EPOCH};

use aws_sdk_secretsmanager::config::http::HttpResponse;
use aws_sdk_secretsmanager::config::retry::{RetryConfig, RetryPartition, TokenBucket};
use aws_sdk_secretsmanager::config::timeout::TimeoutConfig;
use aws_sdk_secretsmanager::config::{
    AppName, BehaviorVersion, Credentials, IdentityCache, Region, SharedCredentialsProvider,
    SharedHttpClient,
};
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use kes_config::{AwsCredentials, AwsKeystore, KmsEndpoint};
use kes_store::Deadline;
use kes_types::{Clock, Secret, lock};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::credentials::CredentialGeneration;
use crate::auth::refresher::CredentialRefresher;
use crate::auth::source::Source;
use crate::call::AwsCall;
use crate::error::AwsError;
use crate::http::Http;

/// The timeout of an operation, including all its requests.
pub(crate) const OPERATION_TIMEOUT: Duration = Duration::from_secs(10);

/// The timeout of a request, including the connection setup.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);

/// The timeout of the connection setup.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The timeout of a request to a source of credentials. It is longer, because an STS endpoint may
/// be far away.
const SOURCE_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// The maximum number of attempts that the SDK makes for a request that it may retry.
const ATTEMPTS_MAX: u32 = 3;

/// The actions that every server is allowed to perform. If AWS denies one, the session may have
/// been revoked.
const RENEWING: [&str; 3] =
    ["secretsmanager:GetSecretValue", "secretsmanager:CreateSecret", "secretsmanager:DeleteSecret"];

/// The maximum number of readable secrets that are remembered.
const READ_MAX: usize = 3;

/// The maximum duration of a permanent deletion.
const RECENT: Duration = Duration::from_secs(10);

/// The initial backoff between attempts: the SDK doubles it each time, and applies jitter.
const BACKOFF: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// Holds the clients of AWS, and the credentials that they share.
#[derive(Debug)]
pub(crate) struct AwsSession {
    pub(crate) refresher: Arc<CredentialRefresher>,
    /// The client of Secrets Manager for requests that may be retried.
    pub(crate) secrets: aws_sdk_secretsmanager::Client,
    /// The client of Secrets Manager for requests that must not be retried before the secret was
    /// observed.
    pub(crate) secrets_once: aws_sdk_secretsmanager::Client,
    pub(crate) kms: aws_sdk_kms::Client,
    clock: Arc<dyn Clock>,
    /// Whether a call failed since the last health probe.
    is_in_doubt: AtomicBool,
    /// The names of secrets that were read, the most recent one first.
    read: Mutex<Vec<String>>,
}

/// Returns the deadline of an operation that starts now.
pub(crate) fn deadline() -> Deadline {
    Deadline::after(OPERATION_TIMEOUT)
}

impl AwsSession {
    pub(crate) fn new(
        settings: &AwsKeystore,
        http: Http,
        clock: Arc<dyn Clock>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let http = SharedHttpClient::new(http);
        let region = Region::new(settings.region.clone());
        let source = match &settings.credentials {
            AwsCredentials::Default => Source::chain(http.clone(), region.clone()),
            AwsCredentials::Static { access_key, secret_key, token } => {
                Source::Given(Credentials::new(
                    access_key,
                    text(secret_key),
                    token.as_ref().map(text),
                    None,
                    "kes",
                ))
            }
        };
        let refresher = Arc::new(CredentialRefresher::new(source, Arc::clone(&clock), tasks, stop));
        let provider = SharedCredentialsProvider::new(Arc::clone(&refresher) as Arc<_>);
        let secrets = secrets_config(settings, &http, &provider);
        let secrets_once = secrets.clone().retry_config(RetryConfig::disabled());
        Self {
            refresher,
            secrets: aws_sdk_secretsmanager::Client::from_conf(secrets.build()),
            secrets_once: aws_sdk_secretsmanager::Client::from_conf(secrets_once.build()),
            kms: aws_sdk_kms::Client::from_conf(kms_config(settings, http, provider)),
            clock,
            is_in_doubt: AtomicBool::new(false),
            read: Mutex::default(),
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.clock.monotonic()
    }

    /// Returns whether a date, in seconds of Unix time, is recent by the clock of this machine.
    pub(crate) fn is_recent(&self, date: i64) -> bool {
        let now = self.clock.now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        i64::try_from(now).is_ok_and(|now| now.abs_diff(date) < RECENT.as_secs())
    }

    /// Records a secret that was read.
    pub(crate) fn note_read(&self, secret: &str) {
        let mut read = lock(&self.read);
        if read.first().is_some_and(|first| first == secret) {
            return;
        }
        read.retain(|known| known != secret);
        read.truncate(READ_MAX - 1);
        read.insert(0, secret.to_owned());
    }

    /// Returns the secrets that were read, the most recent one first.
    pub(crate) fn read(&self) -> Vec<String> {
        lock(&self.read).clone()
    }

    /// Returns whether a call failed since the last call of this function.
    pub(crate) fn take_doubt(&self) -> bool {
        self.is_in_doubt.swap(false, Ordering::Relaxed)
    }

    /// Sends a request with valid credentials. If AWS rejects them and there are newer ones, the
    /// request is sent once more.
    pub(crate) async fn ask<T, E, F>(
        &self,
        call: &AwsCall,
        deadline: Deadline,
        send: impl Fn() -> F,
    ) -> Result<T, AwsError>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let asking = async move {
            let mut may_replace = true;
            loop {
                let generation = self.refresher.ready(deadline).await?;
                // The futures of the SDK are large.
                let Some(answer) = deadline.run(Box::pin(send())).await else {
                    let call = call.clone();
                    return Err(AwsError::TimedOut { call, within: OPERATION_TIMEOUT });
                };
                let error = match answer {
                    Ok(answer) => return Ok(answer),
                    Err(error) => AwsError::of(call, error),
                };
                let may_again = std::mem::take(&mut may_replace);
                if !may_again || !self.is_replaced(generation, call, &error, deadline).await? {
                    return Err(error);
                }
            }
        };
        let result = asking.await;
        if call.is_of_secrets_manager() && result.as_ref().is_err_and(AwsError::is_transient) {
            self.is_in_doubt.store(true, Ordering::Relaxed);
        }
        result
    }

    /// Returns whether there are newer credentials than those of the failed request.
    async fn is_replaced(
        &self,
        generation: CredentialGeneration,
        call: &AwsCall,
        error: &AwsError,
        deadline: Deadline,
    ) -> Result<bool, AwsError> {
        match error.refusal() {
            Some(refusal) if refusal.is_about_credentials() => {
                self.refresher.replace(generation, deadline).await
            }
            Some(refusal) if refusal.is_denial() && RENEWING.contains(&call.action) => {
                self.refresher.replace_denied(generation, deadline).await
            }
            _ => Ok(false),
        }
    }
}

fn secrets_config(
    settings: &AwsKeystore,
    http: &SharedHttpClient,
    provider: &SharedCredentialsProvider,
) -> aws_sdk_secretsmanager::config::Builder {
    let mut config = aws_sdk_secretsmanager::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(settings.region.clone()))
        .endpoint_url(&settings.endpoint)
        .credentials_provider(provider.clone())
        // The refresher is the cache.
        .identity_cache(IdentityCache::no_cache())
        .http_client(http.clone())
        .retry_config(retries())
        .retry_partition(unlimited_retries())
        .timeout_config(timeouts());
    config.set_app_name(AppName::new("kes").ok());
    config
}

fn kms_config(
    settings: &AwsKeystore,
    http: SharedHttpClient,
    provider: SharedCredentialsProvider,
) -> aws_sdk_kms::Config {
    let mut config = aws_sdk_kms::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(settings.region.clone()))
        .credentials_provider(provider)
        .identity_cache(IdentityCache::no_cache())
        .http_client(http)
        // The check is repeated soon anyway.
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts());
    config.set_app_name(AppName::new("kes").ok());
    config = match &settings.kms_endpoint {
        KmsEndpoint::At(url) => config.endpoint_url(url),
        KmsEndpoint::Regional { use_fips, use_dual_stack } => {
            config.use_fips(*use_fips).use_dual_stack(*use_dual_stack)
        }
    };
    config.build()
}

fn retries() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(ATTEMPTS_MAX)
        .with_initial_backoff(BACKOFF)
        .with_max_backoff(BACKOFF_MAX)
}

/// Returns a retry partition without a limit. By default an outage exhausts the retry quota of the
/// SDK, and the quota recovers only after many successful calls. Here each call has its own limit.
fn unlimited_retries() -> RetryPartition {
    RetryPartition::custom("kes").token_bucket(TokenBucket::unlimited()).build()
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .build()
}

/// Returns the timeouts of requests to sources of credentials.
pub(crate) fn chain_timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(SOURCE_ATTEMPT_TIMEOUT)
        .build()
}

fn text(secret: &Secret) -> String {
    String::from_utf8_lossy(secret.expose()).into_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use aws_sdk_secretsmanager::config::http::HttpResponse;
    use aws_sdk_secretsmanager::error::ErrorMetadata;
    use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;
    use kes_types::SystemClock;

    use super::*;
    use crate::fake::{ManualClock, refresher};

    fn denied() -> SdkError<GetSecretValueError, HttpResponse> {
        let code = ErrorMetadata::builder().code("AccessDeniedException").build();
        let status = 400.try_into().expect("a status");
        SdkError::service_error(
            GetSecretValueError::generic(code),
            HttpResponse::new(status, "".into()),
        )
    }

    #[tokio::test]
    async fn what_is_denied_to_an_old_session_is_asked_again_by_a_new_one_and_then_is_denied() {
        let settings = AwsKeystore {
            endpoint: "http://127.0.0.1:1".to_owned(),
            region: "r".to_owned(),
            kms_key: None,
            kms_endpoint: KmsEndpoint::At("http://127.0.0.1:1".to_owned()),
            prefix: String::new(),
            tags: None,
            credentials: AwsCredentials::Default,
        };
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let http = Http::new(&settings.endpoint, kes_outbound::Proxies::default()).unwrap();
        let mut session = AwsSession::new(&settings, http, Arc::new(SystemClock), tasks, stop);
        let clock = Arc::new(ManualClock::new());
        session.refresher = Arc::new(refresher(&clock).0);
        let call = AwsCall::new("secretsmanager:GetSecretValue", "my-key");
        let (requests, deadline) = (AtomicUsize::new(0), deadline());
        for (lets_in, after, want) in [(1, 0, false), (1, 60, true), (9, 60, false), (1, 0, false)]
        {
            clock.advance(after);
            requests.store(0, Ordering::Relaxed);
            let send = || {
                let before = requests.fetch_add(1, Ordering::Relaxed);
                async move { if before >= lets_in { Ok(()) } else { Err(denied()) } }
            };
            let result = session.ask(&call, deadline, send).await;
            assert_eq!(result.is_ok(), want, "{lets_in} {after}: {result:?}");
            let times = if after == 0 { 1 } else { 2 };
            assert_eq!(requests.load(Ordering::Relaxed), times);
        }
    }
}
