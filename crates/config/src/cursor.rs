//! Gives access to a place in the file: its path, its position and its value.

use std::fmt;

use kes_types::Secret;
use zeroize::Zeroizing;

use kes_crypto::ApiKey;

use crate::environment::Environment;
use crate::error::{Fault, Mark};
use crate::origin::{self, Origin};
use crate::placeholder::{self, Unreplaced};
use crate::schema::{Field, Schema};
use crate::suggest;
use crate::value::{Expansion, Node, Value};

/// A place in the file; its value can be absent.
#[derive(Clone)]
pub(crate) struct Cursor<'a> {
    environment: &'a dyn Environment,
    path: String,
    /// The position of the place itself, or of its nearest ancestor that is present.
    at: Option<Mark>,
    value: &'a Value,
    /// The text that is used where the file has none.
    default: &'static str,
}

impl<'a> Cursor<'a> {
    /// Returns the place of the whole file.
    pub(crate) fn root(value: &'a Value, environment: &'a dyn Environment) -> Self {
        Self { environment, path: String::new(), at: None, value, default: "" }
    }

    /// Returns whether both are the same place.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.path == other.path
    }

    /// Returns the place under a name; an absent one if the file has none. Code that knows the
    /// name has a struct of [`crate::section`] instead.
    pub(crate) fn field(&self, name: &str) -> Self {
        let entries = if let Value::Map(entries) = self.value { entries.as_slice() } else { &[] };
        let node = entries.iter().find(|(candidate, _)| candidate == name).map(|(_, node)| node);
        match self.value {
            Value::Faulty => Self { path: self.join(name), ..self.clone() },
            _ => self.below(self.join(name), node),
        }
    }

    /// Returns the place of a field of a section, with its default.
    pub(crate) fn declared(&self, section: &Schema, name: &str) -> Self {
        let default = Field::of(*section).child(name).map_or("", |field| field.default);
        Self { default, ..self.field(name) }
    }

    /// Returns the places in a map, in the order of the file.
    pub(crate) fn entries(&self) -> Vec<(&'a str, Self)> {
        let Value::Map(entries) = self.value else { return Vec::new() };
        let entry = |(name, node): &'a (String, Node)| {
            (name.as_str(), self.below(self.join(name), Some(node)))
        };
        entries.iter().map(entry).collect()
    }

    /// Returns the places in a list.
    pub(crate) fn items(&self) -> Vec<Self> {
        let Value::List(items) = self.value else { return Vec::new() };
        let item = |(index, node)| self.below(format!("{}[{index}]", self.path), Some(node));
        items.iter().enumerate().map(item).collect()
    }

    /// Returns whether the file has a value here.
    pub(crate) fn is_present(&self) -> bool {
        !matches!(self.value, Value::Null)
    }

    /// Returns whether a fault was reported here.
    pub(crate) fn is_faulty(&self) -> bool {
        matches!(self.value, Value::Faulty)
    }

    /// Returns the position of the place, or of its nearest ancestor that is present.
    pub(crate) fn mark(&self) -> Option<Mark> {
        self.at
    }

    /// Returns whether there is nothing but empty texts here.
    pub(crate) fn is_blank(&self) -> bool {
        self.value.is_blank()
    }

    /// Returns whether a text here or below is `${name}`.
    pub(crate) fn names_variable(&self, name: &str) -> bool {
        self.value.names_variable(name)
    }

    /// Reads an environment variable that the file does not name as the text of this place.
    pub(crate) fn variable(&self, name: &str) -> Result<Option<Text<'a>>, Fault> {
        let value = origin::variable(name, self, self.environment)?;
        Ok(value.filter(|value| !value.is_empty()).map(|value| Text {
            value,
            origin: Some(Origin::Variable(name.to_owned())),
            place: self.clone(),
        }))
    }

    /// Returns whether an environment variable is set and not empty.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.environment.variable(name).map_or(true, |it| it.is_some_and(|it| !it.is_empty()))
    }

    /// Reads the text, with `${NAME}` replaced, or the default; empty if there is neither.
    pub(crate) fn text(&self) -> Result<Text<'a>, Fault> {
        let (text, expansion) = match self.value {
            Value::Text(text, expansion) => (text, *expansion),
            Value::Faulty => return Err(Fault::known()),
            _ => return Ok(self.as_text(Zeroizing::default(), None)),
        };
        let inner = placeholder::whole(text).filter(|_| expansion != Expansion::Off);
        let text = match inner {
            Some(inner) => {
                let (value, origin) = origin::replace(inner, self, self.environment)?;
                self.as_text(value, Some(origin))
            }
            None => self.as_text(text.clone(), None),
        };
        let unreplaced = Unreplaced::of(text.as_str()).filter(|unreplaced| match expansion {
            Expansion::Off | Expansion::Secret => false,
            Expansion::On => true,
            // The reader of identities warns of these.
            Expansion::Identity => !matches!(unreplaced, Unreplaced::Guide | Unreplaced::Template),
        });
        match unreplaced.map(Unreplaced::clause) {
            Some(clause) if text.is_replaced() => Err(text.invalid(clause)),
            Some(clause) => Err(text.fault(clause)),
            None => Ok(text),
        }
    }

    fn as_text(&self, value: Zeroizing<String>, origin: Option<Origin>) -> Text<'a> {
        if value.is_empty() && !self.default.is_empty() {
            return self.as_text(self.default.to_owned().into(), None);
        }
        Text { value, origin, place: self.clone() }
    }

    /// Reads a text that must not be empty; `wanted` describes it.
    pub(crate) fn required(&self, wanted: &str) -> Result<Text<'a>, Fault> {
        self.text()?.or_missing(wanted)
    }

    /// Makes a fault of this place.
    pub(crate) fn fault(&self, message: impl Into<String>) -> Fault {
        Fault::new(self.at, self.path.clone(), message)
    }

    fn join(&self, name: &str) -> String {
        let name = suggest::shown(name);
        if self.path.is_empty() { name } else { format!("{}.{name}", self.path) }
    }

    fn below(&self, path: String, node: Option<&'a Node>) -> Self {
        let at = node.map(|node| node.at).or(self.at);
        let value = node.map_or(&Value::Null, |node| &node.value);
        Self { environment: self.environment, path, at, value, default: "" }
    }
}

/// A text of the file, of the environment or of another file. Not `Debug`: it may be a secret.
pub(crate) struct Text<'a> {
    value: Zeroizing<String>,
    /// The source of the text, unless it is the configuration itself.
    origin: Option<Origin>,
    place: Cursor<'a>,
}

impl Text<'_> {
    /// Returns the text if it is not empty; `wanted` describes it.
    pub(crate) fn or_missing(self, wanted: &str) -> Result<Self, Fault> {
        if self.is_empty() { Err(self.missing(wanted)) } else { Ok(self) }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.value
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.value.is_empty()
    }

    /// Returns whether the text is from the environment or from another file.
    pub(crate) fn is_replaced(&self) -> bool {
        self.origin.is_some()
    }

    /// Returns whether the field is used: has a text, names a source, or has a fault (none).
    pub(crate) fn is_used(text: Option<&Self>) -> bool {
        text.is_none_or(|text| !text.is_empty() || text.is_replaced())
    }

    /// Returns the text as a secret.
    pub(crate) fn secret(&self) -> Secret {
        Secret::new(self.value.as_bytes().to_vec())
    }

    /// Formats the text for messages; text from the environment or from another file is not shown.
    pub(crate) fn shown(&self) -> String {
        match &self.origin {
            Some(origin) => origin.value(),
            None if is_api_key(self.as_str()) => "an API key, which is a secret,".to_owned(),
            None => format!("'{}'", suggest::shown(self.as_str())),
        }
    }

    /// Makes a fault of the text's place.
    pub(crate) fn fault(&self, message: impl Into<String>) -> Fault {
        self.place.fault(message)
    }

    /// Makes a fault that shows the text: "'x' is no number".
    pub(crate) fn invalid(&self, what: impl fmt::Display) -> Fault {
        self.fault(format!("{} {what}", self.shown()))
    }

    /// Makes the fault of a required text that is empty.
    pub(crate) fn missing(&self, wanted: &str) -> Fault {
        match &self.origin {
            Some(origin) => self.fault(format!("{} is empty; it wants {wanted}", origin.source())),
            None => self.fault(format!("is missing; it wants {wanted}")),
        }
    }
}

/// Returns whether a text is an API key, which is easily mistaken for an identity.
pub(crate) fn is_api_key(text: &str) -> bool {
    let text = text.trim();
    text.starts_with("kes:v1:") || text.parse::<ApiKey>().is_ok()
}
