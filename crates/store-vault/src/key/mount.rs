//! Checks whether the mounted engine matches the settings.
//!
//! An engine of the other version responds to a read of any key with *not found*, so such a
//! response is not accepted before the engine was checked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kes_config::KvVersion;
use kes_store::Deadline;
use serde::Deserialize;
use vaultrs::api::kv1::requests::GetSecretRequest;
use vaultrs::api::kv2::requests::{ReadConfigurationRequest, ReadSecretRequest};

use crate::auth::session::VaultSession;
use crate::error::VaultError;
use crate::http::request::VaultRequest;
use crate::http::response::VaultResponse;

/// A name that is not a key, to check whether the engine handles its paths.
const PROBE_NAME: &str = "kes_engine_check";

/// The mount of the engine.
#[derive(Debug)]
pub(crate) struct Mount {
    pub(crate) session: Arc<VaultSession>,
    pub(crate) engine: String,
    pub(crate) version: KvVersion,
    pub(crate) prefix: String,
    was_checked: AtomicBool,
}

/// The result of a check of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// The engine matches the settings.
    Fits,
    /// The policies of the token do not allow the check.
    Unknown,
}

/// A mount as `sys/internal/ui/mounts` describes it to tokens with access to it.
#[derive(Debug, Deserialize)]
struct Description {
    #[serde(default)]
    path: String,
    #[serde(rename = "type")]
    kind: String,
    options: Option<Options>,
}

#[derive(Debug, Default, Deserialize)]
struct Options {
    version: Option<String>,
}

/// The configuration of an engine of version 2.
#[derive(Debug, Deserialize)]
struct Configuration {
    delete_version_after: Option<String>,
}

impl Mount {
    pub(crate) fn new(
        session: Arc<VaultSession>,
        engine: String,
        version: KvVersion,
        prefix: String,
    ) -> Self {
        Self { session, engine, version, prefix, was_checked: AtomicBool::new(false) }
    }

    /// Checks the engine, unless it was checked since the start.
    pub(crate) async fn ensure_checked(&self, deadline: Deadline) -> Result<(), VaultError> {
        if !self.was_checked.load(Ordering::Acquire) {
            self.check(deadline).await?;
        }
        Ok(())
    }

    /// Checks whether the engine is mounted, is K/V, has the configured version, and keeps entries
    /// permanently.
    pub(crate) async fn check(&self, deadline: Deadline) -> Result<Finding, VaultError> {
        let mut finding = self.check_kind(deadline).await?;
        if self.version == KvVersion::V2
            && self.check_retention(deadline).await? == Finding::Unknown
        {
            finding = Finding::Unknown;
        }
        self.was_checked.store(true, Ordering::Release);
        Ok(finding)
    }

    /// Verifies a response that an entry does not exist. The engine is checked again, because it
    /// can be unmounted and replaced while the server runs. The response must also come from the
    /// active node, because other nodes may lag behind. If it came from another node, this returns
    /// a mount on the active node, for a second request.
    pub(crate) async fn confirm(
        &self,
        deadline: Deadline,
    ) -> Result<Option<Arc<Self>>, VaultError> {
        self.check_kind(deadline).await?;
        let active = self.session.transport.to_active(deadline).await?;
        Ok(active.map(|transport| {
            let session = VaultSession {
                transport: Arc::new(transport),
                refresher: Arc::clone(&self.session.refresher),
                namespace: self.session.namespace.clone(),
            };
            let (engine, prefix) = (self.engine.clone(), self.prefix.clone());
            Arc::new(Self::new(Arc::new(session), engine, self.version, prefix))
        }))
    }

    async fn check_kind(&self, deadline: Deadline) -> Result<Finding, VaultError> {
        let call = VaultRequest::get(&format!("sys/internal/ui/mounts/{}", self.engine));
        let Some(answer) = self.seen(&call, deadline).await? else {
            return self.check_routing(deadline).await;
        };
        if answer.is_success() {
            self.judge(&answer.data()?)?;
            return Ok(Finding::Fits);
        }
        // Vault reports the same error for a path that does not exist and a path without
        // permission.
        self.check_routing(deadline).await
    }

    fn judge(&self, mount: &Description) -> Result<(), VaultError> {
        let engine = self.engine.clone();
        if !["kv", "generic"].contains(&mount.kind.as_str()) {
            return Err(VaultError::NotKv { engine, found: mount.kind.clone() });
        }
        let options = mount.options.as_ref();
        let found = match options.and_then(|options| options.version.as_deref()) {
            Some("2") => KvVersion::V2,
            _ => KvVersion::V1,
        };
        if found != self.version {
            let [found, configured] = [found, self.version].map(number);
            return Err(VaultError::OtherVersion { engine, found, configured });
        }
        let path = mount.path.trim_matches('/');
        if self.version == KvVersion::V2 && !path.is_empty() && path != engine {
            return Err(VaultError::InsideMount { engine, mount: path.to_owned() });
        }
        Ok(())
    }

    /// Reads an entry that does not exist: the response shows what is mounted.
    async fn check_routing(&self, deadline: Deadline) -> Result<Finding, VaultError> {
        let (mount, path) = (self.engine.clone(), self.path(PROBE_NAME));
        let call = match self.version {
            KvVersion::V1 => VaultRequest::of(&GetSecretRequest { mount, path })?,
            KvVersion::V2 => VaultRequest::of(&ReadSecretRequest { mount, path, version: None })?,
        };
        let Some(answer) = self.seen(&call, deadline).await? else { return Ok(Finding::Unknown) };
        if answer.status == 404 && self.is_of_version_2(&answer) {
            let engine = self.engine.clone();
            return Err(VaultError::OtherVersion { engine, found: 2, configured: 1 });
        }
        if answer.is_unrouted() {
            return Err(VaultError::NotMounted(self.engine.clone()));
        }
        // The engine responded, whether the entry exists or not. A missing namespace is another
        // error.
        if answer.is_success() || answer.is_absence() {
            Ok(Finding::Unknown)
        } else {
            Err(answer.into_error())
        }
    }

    /// Returns whether the response to a request of version 1 is from an engine of version 2.
    pub(crate) fn is_of_version_2(&self, answer: &VaultResponse) -> bool {
        self.version == KvVersion::V1 && answer.says("versioned K/V secrets engine")
    }

    /// Checks that an engine of version 2 keeps entries permanently.
    async fn check_retention(&self, deadline: Deadline) -> Result<Finding, VaultError> {
        let call = VaultRequest::of(&ReadConfigurationRequest { mount: self.engine.clone() })?;
        let Some(answer) = self.seen(&call, deadline).await? else { return Ok(Finding::Unknown) };
        if !answer.is_success() {
            return Ok(Finding::Unknown);
        }
        let configuration: Configuration = answer.data()?;
        match configuration.delete_version_after {
            Some(after) if !is_zero(&after) => {
                Err(VaultError::Erasing { path: call.target.path, after })
            }
            _ => Ok(Finding::Fits),
        }
    }

    /// Deletes an entry; returns false if Vault requested a retry. Then the caller checks first
    /// whether the entry still exists, because it may have been replaced in the meantime.
    pub(crate) async fn remove(
        &self,
        call: &VaultRequest,
        deadline: Deadline,
    ) -> Result<bool, VaultError> {
        let answer = self.session.ask(call, deadline).await;
        let error = match answer {
            Ok(answer) if answer.is_success() => return Ok(true),
            Ok(answer) => return Err(answer.into_error()),
            Err(error) => error,
        };
        match error.undone_until() {
            Some(wait) if deadline.wait(wait).await => Ok(false),
            _ => Err(error),
        }
    }

    /// Sends a request that a policy may deny; returns none if it is denied.
    async fn seen(
        &self,
        call: &VaultRequest,
        deadline: Deadline,
    ) -> Result<Option<VaultResponse>, VaultError> {
        match self.session.ask(call, deadline).await {
            Ok(answer) => Ok(Some(answer)),
            Err(VaultError::Denied { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the path of an entry inside the mount.
    pub(crate) fn path(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}/{name}", self.prefix) }
    }
}

fn number(version: KvVersion) -> u8 {
    match version {
        KvVersion::V1 => 1,
        KvVersion::V2 => 2,
    }
}

/// Returns whether a duration in the format of Go is zero: `0s`, `0`, `0h0m0s`; a negative one
/// means disabled.
fn is_zero(duration: &str) -> bool {
    duration.starts_with('-') || !duration.chars().any(|char| ('1'..='9').contains(&char))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_without_a_digit_above_zero_are_none() {
        for (text, want) in [
            ("0s", true),
            ("", true),
            ("0h0m0s", true),
            ("-1s", true),
            ("10s", false),
            ("0h0m1s", false),
        ] {
            assert_eq!(is_zero(text), want, "{text}");
        }
    }
}
