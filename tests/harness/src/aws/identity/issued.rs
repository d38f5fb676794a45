//! Temporary credentials.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::aws::Signer;
use crate::random;

/// Temporary credentials, as a source issues them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The access key's id.
    pub access_key: String,
    /// The secret that requests are signed with.
    pub secret_key: String,
    /// The session token that requests carry.
    pub token: String,
    /// When they were made.
    pub made: OffsetDateTime,
    /// When they end. AWS says it in whole seconds, so it is one.
    pub expires: OffsetDateTime,
}

impl Issued {
    /// New ones that live for `lifetime`, less the fraction of a second.
    ///
    /// # Panics
    /// If the machine has no random numbers.
    pub fn new(lifetime: Duration) -> Self {
        let made = OffsetDateTime::now_utc();
        let end = made + lifetime;
        Self {
            access_key: format!("ASIA{}", hex::encode_upper(random::<8>())),
            // With the slashes, pluses and equals signs that real ones have.
            secret_key: STANDARD.encode(random::<30>()),
            token: format!("{}/+==", STANDARD.encode(random::<128>())),
            made,
            expires: end.replace_nanosecond(0).unwrap_or(end),
        }
    }

    /// The signer that uses them.
    pub fn signer(&self, region: &str) -> Signer {
        Signer {
            key_id: self.access_key.clone(),
            secret: self.secret_key.clone(),
            token: Some(self.token.clone()),
            region: region.to_owned(),
        }
    }

    /// When they end, as AWS writes it.
    pub fn expiration(&self) -> String {
        self.expires.format(&Rfc3339).unwrap_or_default()
    }

    /// The remaining time until they expire.
    pub fn left(&self) -> Duration {
        (self.expires - OffsetDateTime::now_utc()).try_into().unwrap_or_default()
    }
}

/// Random bytes in the alphabet of URLs, for what is opaque to clients.
pub(super) fn opaque() -> String {
    hex::encode(random::<28>())
}
