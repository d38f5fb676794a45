//! Names of keys and policies.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The longest name, in characters.
pub const NAME_LEN_MAX: usize = 80;

/// The error for a text that is not a valid name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a name is 1 to 80 characters of 0-9 A-Z a-z - _, does not start or end with '-' and is not '_'"
)]
pub struct InvalidName;

/// Whether a name may contain `byte`.
pub(crate) fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

/// Whether `text` is a valid name: 1 to 80 characters of `0-9 A-Z a-z - _`, neither starting nor
/// ending with `-`, not `_` alone.
fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= NAME_LEN_MAX
        && text.bytes().all(is_name_byte)
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text != "_"
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Parses a name: 1 to 80 characters of `0-9 A-Z a-z - _`, neither starting nor ending
            /// with `-`, not `_` alone.
            pub fn parse(text: &str) -> Result<Self, InvalidName> {
                if is_name(text) { Ok(Self(text.into())) } else { Err(InvalidName) }
            }

            /// The name's text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::parse(text)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::parse(&text).map_err(de::Error::custom)
            }
        }
    };
}

name! {
    /// The name of a key, ordered by bytes and cheap to clone.
    KeyName
}

name! {
    /// The name of a policy, ordered by bytes and cheap to clone.
    PolicyName
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_to_eighty_of_the_alphabet() {
        for good in ["a", "A-b_9", "_a", "__", "minio-default-key", &"a".repeat(80)] {
            assert!(KeyName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "_", "-", "-a", "a-", "a.b", "a/b", "a b", "ä", "..", &"a".repeat(81)] {
            assert!(KeyName::parse(bad).is_err(), "{bad}");
        }
    }
}
