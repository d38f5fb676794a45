//! What stands in the file, as the schema wants it.

use zeroize::Zeroizing;

use crate::error::Mark;
use crate::placeholder;

/// A value and where it is: the place of its name, or of the item in its list.
pub(crate) struct Node {
    pub(crate) at: Mark,
    pub(crate) value: Value,
}

/// What stands in a place of the file. Not `Debug`: texts may be secrets.
pub(crate) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// A single value, and what is done to it.
    Text(Zeroizing<String>, Expansion),
    /// A list.
    List(Vec<Node>),
    /// A map, in the order of the file, names unique.
    Map(Vec<(String, Node)>),
    /// Something that is only there: blank throughout, or not.
    Opaque { is_blank: bool },
    /// Something that a fault has been found in: nothing more is to be said of it.
    Faulty,
}

/// What is done to a text before it is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expansion {
    /// Nothing.
    Off,
    /// `${NAME}` is replaced; other placeholders are refused.
    On,
    /// The same, but what a template or a guide has for an identity is no error.
    Identity,
    /// `${NAME}` is replaced; anything else may be a password.
    Secret,
}

impl Value {
    /// Whether it holds nothing but empty texts.
    pub(crate) fn is_blank(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Text(text, _) => text.is_empty(),
            Self::List(items) => items.iter().all(|node| node.value.is_blank()),
            Self::Map(entries) => entries.iter().all(|(_, node)| node.value.is_blank()),
            Self::Opaque { is_blank } => *is_blank,
            Self::Faulty => false,
        }
    }

    /// Whether some text of it is the environment variable of that name.
    pub(crate) fn names_variable(&self, name: &str) -> bool {
        match self {
            Self::Text(text, expansion) if *expansion != Expansion::Off => {
                placeholder::whole(text).is_some_and(|placeholder| placeholder == name)
            }
            Self::List(items) => items.iter().any(|node| node.value.names_variable(name)),
            Self::Map(entries) => entries.iter().any(|(_, node)| node.value.names_variable(name)),
            _ => false,
        }
    }
}
