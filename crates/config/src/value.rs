//! The values of the file, after the check against the schema.

use zeroize::Zeroizing;

use crate::error::Mark;
use crate::placeholder;

/// A value and its position: that of its name, or of the item in its list.
pub(crate) struct Node {
    pub(crate) at: Mark,
    pub(crate) value: Value,
}

/// The value of a place of the file. Not `Debug`: texts may be secrets.
pub(crate) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// A single value, and how it is expanded.
    Text(Zeroizing<String>, Expansion),
    /// A list.
    List(Vec<Node>),
    /// A map, in the order of the file, names unique.
    Map(Vec<(String, Node)>),
    /// Any value, of which only this is known.
    Opaque { is_blank: bool },
    /// A value with a fault that was reported.
    Faulty,
}

/// The expansion of placeholders in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expansion {
    /// Nothing.
    Off,
    /// `${NAME}` is replaced; other placeholders are refused.
    On,
    /// The same, but the placeholders of templates and guides are no error.
    Identity,
    /// `${NAME}` is replaced; other placeholders may be parts of a password.
    Secret,
}

impl Value {
    /// Returns whether it has nothing but empty texts.
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

    /// Returns whether a text in it is `${name}`.
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
