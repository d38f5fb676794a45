//! A place in the file: its path, what stands there, and what to say about it.

use std::fmt;

use kes_types::Secret;
use zeroize::Zeroizing;

use kes_crypto::ApiKey;

use crate::environment::Environment;
use crate::error::{Fault, Spot};
use crate::reading::Position;
use crate::suggest;
use crate::yaml::{Expansion, Node, Value};

/// A place in the file, there or not.
#[derive(Clone)]
pub(crate) struct Cursor<'a> {
    environment: &'a dyn Environment,
    path: String,
    /// Of the place itself, or of the nearest one above that is there.
    at: Option<Position>,
    value: &'a Value,
}

impl<'a> Cursor<'a> {
    /// The whole file.
    pub(crate) fn root(value: &'a Value, environment: &'a dyn Environment) -> Self {
        Self { environment, path: String::new(), at: None, value }
    }

    /// The place under a name; where there is none, an empty one.
    pub(crate) fn field(&self, name: &str) -> Self {
        let entries = if let Value::Map(entries) = self.value { entries.as_slice() } else { &[] };
        let node = entries.iter().find(|(candidate, _)| candidate == name).map(|(_, node)| node);
        self.below(self.join(name), node)
    }

    /// The places in a map, in the file's order.
    pub(crate) fn entries(&self) -> Vec<(&'a str, Self)> {
        let Value::Map(entries) = self.value else { return Vec::new() };
        let entry = |(name, node): &'a (String, Node)| {
            (name.as_str(), self.below(self.join(name), Some(node)))
        };
        entries.iter().map(entry).collect()
    }

    /// The places in a list.
    pub(crate) fn items(&self) -> Vec<Self> {
        let Value::List(items) = self.value else { return Vec::new() };
        let item = |(index, node)| self.below(format!("{}[{index}]", self.path), Some(node));
        items.iter().enumerate().map(item).collect()
    }

    /// Whether something stands here.
    pub(crate) fn is_present(&self) -> bool {
        !matches!(self.value, Value::Null)
    }

    /// The text that stands here, `${NAME}` replaced; empty when there is none.
    pub(crate) fn text(&self) -> Result<Text<'a>, Fault> {
        let Value::Text(text, expansion) = self.value else {
            return Ok(Text { value: Zeroizing::default(), variable: None, place: self.clone() });
        };
        let name = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
        let Some(name) = name.filter(|_| *expansion == Expansion::On) else {
            return Ok(Text { value: text.clone(), variable: None, place: self.clone() });
        };
        let name = name.trim();
        let shown = suggest::shown(name);
        if name.is_empty() {
            return Err(self.fault("`${}` names no environment variable"));
        }
        match self.environment.variable(name) {
            Ok(Some(value)) => Ok(Text {
                value: Zeroizing::new(value),
                variable: Some(shown),
                place: self.clone(),
            }),
            Ok(None) => Err(self.fault(format!("the environment variable `{shown}` is not set"))),
            Err(_) => Err(self.fault(format!("the environment variable `{shown}` is not UTF-8"))),
        }
    }

    /// The text that stands here and is not empty; `wanted` says what it would be.
    pub(crate) fn required(&self, wanted: &str) -> Result<Text<'a>, Fault> {
        let text = self.text()?;
        if text.is_empty() { Err(text.missing(wanted)) } else { Ok(text) }
    }

    /// A fault of this place.
    pub(crate) fn fault(&self, message: impl Into<String>) -> Fault {
        let spot = self.at.map_or(Spot::Nowhere, Spot::At);
        Fault { spot, path: self.path.clone(), message: message.into(), source: None }
    }

    fn join(&self, name: &str) -> String {
        let name = suggest::shown(name);
        if self.path.is_empty() { name } else { format!("{}.{name}", self.path) }
    }

    fn below(&self, path: String, node: Option<&'a Node>) -> Self {
        let at = node.map(|node| node.at).or(self.at);
        let value = node.map_or(&Value::Null, |node| &node.value);
        Self { environment: self.environment, path, at, value }
    }
}

/// A text of the file or of the environment. Not `Debug`: it may be a secret.
pub(crate) struct Text<'a> {
    value: Zeroizing<String>,
    /// The variable that it came from.
    variable: Option<String>,
    place: Cursor<'a>,
}

impl Text<'_> {
    pub(crate) fn as_str(&self) -> &str {
        &self.value
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.value.is_empty()
    }

    /// Whether the text was taken from the environment.
    pub(crate) fn is_from_environment(&self) -> bool {
        self.variable.is_some()
    }

    /// The text, or the default when it is empty.
    pub(crate) fn or(&self, default: &str) -> String {
        if self.is_empty() { default.to_owned() } else { self.as_str().to_owned() }
    }

    /// The text as a secret.
    pub(crate) fn secret(&self) -> Secret {
        Secret::new(self.value.as_bytes().to_vec())
    }

    /// The text as messages may show it: what came from the environment is never shown.
    pub(crate) fn shown(&self) -> Shown<'_> {
        Shown(self.as_str(), self.variable.as_deref())
    }

    /// A fault of the text's place.
    pub(crate) fn fault(&self, message: impl Into<String>) -> Fault {
        self.place.fault(message)
    }

    /// The fault of a text that is wanted and empty.
    pub(crate) fn missing(&self, wanted: &str) -> Fault {
        match &self.variable {
            Some(name) => {
                self.fault(format!("the environment variable `{name}` is empty; it wants {wanted}"))
            }
            None => self.fault(format!("is missing; it wants {wanted}")),
        }
    }
}

/// Whether a text is a caller's credential, which is easily taken for its identity.
pub(crate) fn is_api_key(text: &str) -> bool {
    let text = text.trim();
    text.starts_with("kes:v1:") || text.parse::<ApiKey>().is_ok()
}

/// A text in a message.
pub(crate) struct Shown<'a>(&'a str, Option<&'a str>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            Some(variable) => write!(f, "the value of `${{{variable}}}`"),
            None if is_api_key(self.0) => f.write_str("an API key, which is a secret,"),
            None => write!(f, "'{}'", suggest::shown(self.0)),
        }
    }
}
