//! YAML text to a tree of texts, by the schema. The only module that names the YAML library.
//!
//! Every scalar is taken as its text, whatever YAML would make of it: a key named `123` or `1e5`
//! is that name. Anchors, aliases and merge keys (`<<`) work. Unknown and repeated names and
//! values of the wrong kind are errors.

use serde::de::{Deserialize as _, DeserializeSeed as _, Deserializer as _, IgnoredAny};
use zeroize::Zeroizing;

use crate::error::{Fault, Spot};
use crate::reading::{Position, Reading};
use crate::schema::{FILE, Schema};
use crate::seed::{NodeSeed, Stop};

/// A value and where it is.
pub(crate) struct Node {
    pub(crate) at: Position,
    pub(crate) value: Value,
}

/// What stands in a place of the file. Not `Debug`: texts may be secrets.
pub(crate) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// A single value; whether `${NAME}` is replaced in it.
    Text(Zeroizing<String>, Expansion),
    /// A list.
    List(Vec<Node>),
    /// A map, in the order of the file, names unique.
    Map(Vec<(String, Node)>),
    /// Something that nobody looks at.
    Ignored,
}

/// Whether `${NAME}` is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expansion {
    Off,
    On,
}

/// Reads the file's text.
pub(crate) fn parse(text: &str) -> Result<Value, Fault> {
    parse_as(text, &FILE)
}

/// Reads a text of that schema.
pub(crate) fn parse_as(text: &str, schema: &'static Schema) -> Result<Value, Fault> {
    check_syntax(text)?;
    let reading = Reading::default();
    let root = NodeSeed::root(schema, &reading);
    match root.deserialize(serde_yaml::Deserializer::from_str(text)) {
        Ok(Value::Null) => Err(Fault::of_file("the file is empty")),
        Ok(value) => Ok(value),
        Err(error) => Err(reading.into_failure().unwrap_or_else(|| match error.location() {
            Some(location) => {
                let spot = Spot::Line(location.line());
                Fault { spot, ..Fault::of_file("a value has a YAML tag that does not fit it") }
            }
            None => Fault::of_file("aliases repeat too much"),
        })),
    }
}

/// The line of something that was read, counted from 1: reads again and fails there on purpose,
/// because the library tells locations only in errors.
pub(crate) fn line(text: &str, position: Position) -> Option<usize> {
    let reading = Reading::toward(position);
    let root = NodeSeed::root(&FILE, &reading);
    let result = root.deserialize(serde_yaml::Deserializer::from_str(text));
    result.err()?.location().map(|location| location.line())
}

/// Whether the text is exactly one YAML document.
fn check_syntax(text: &str) -> Result<(), Fault> {
    let invalid = |error: serde_yaml::Error| {
        let line = error.location().map(|at| at.line());
        let spot = line.map_or(Spot::Nowhere, Spot::Line);
        let is_tab = line.is_some_and(|line| is_indented_by_tab(text, line));
        let hint = if is_tab { "; indent with blanks, not with tabs" } else { "" };
        Fault { spot, ..Fault::of_file(format!("is not valid YAML{hint}")) }.because(error)
    };
    let mut documents = serde_yaml::Deserializer::from_str(text);
    if let Some(document) = documents.next() {
        IgnoredAny::deserialize(document).map_err(invalid)?;
    }
    match documents.next() {
        None => Ok(()),
        Some(document) => {
            let error = document.deserialize_any(Stop).err();
            let spot = error.and_then(|error| error.location());
            let spot = spot.map_or(Spot::Nowhere, |at| Spot::Line(at.line()));
            let message = "a second YAML document starts here; a configuration is one document";
            Err(Fault { spot, ..Fault::of_file(message) })
        }
    }
}

fn is_indented_by_tab(text: &str, line: usize) -> bool {
    let line = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    line.chars().take_while(|character| character.is_whitespace()).any(|blank| blank == '\t')
}
