//! Describes what the configuration file can have; [`crate::section`] declares it.

use crate::value::Expansion;

/// The kind of a place of the file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Schema {
    /// A single value, and how it is expanded.
    Text(Expansion),
    /// A list.
    List(&'static Self),
    /// A map with names of the author's choice.
    Map(&'static Self),
    /// A map with given names.
    Struct(&'static [Field]),
    /// Any value; only whether it is present, and blank, is read.
    Opaque,
    /// Any value, ignored.
    Skipped,
    /// Any value, ignored with a warning: the guides of KES have the field, and KES does not read it.
    NoEffect,
    /// A field of older guides, refused; the text describes what replaces it.
    Refused(&'static str),
}

/// A field of a section.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    /// A `*` at the end matches any rest of a name.
    pub(crate) name: &'static str,
    pub(crate) schema: Schema,
    /// Added to the message for a value of another kind.
    pub(crate) hint: &'static str,
    /// The field that is meant when a map is here instead; empty for none.
    pub(crate) maps_go_to: &'static str,
    /// The text that is used where the file has none; empty for no default.
    pub(crate) default: &'static str,
}

impl Schema {
    /// Returns the names of the fields of a section.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        let fields = if let Self::Struct(fields) = self { *fields } else { &[] };
        fields.iter().map(|field| field.name)
    }
}

impl Field {
    /// Makes a field without a name.
    pub(crate) const fn of(schema: Schema) -> Self {
        Self { name: "", schema, hint: "", maps_go_to: "", default: "" }
    }

    /// Returns the field under a name, if there is one.
    pub(crate) fn child(&self, name: &str) -> Option<Self> {
        let is_it = |field: &&Self| match field.name.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name == field.name,
        };
        match self.schema {
            Schema::Map(_) if name == "<<" => None,
            Schema::Map(value) => Some(Self::of(*value)),
            Schema::Struct(fields) => fields.iter().find(is_it).copied(),
            _ => None,
        }
    }

    /// Returns the names of the fields below that are read.
    pub(crate) fn known(&self) -> Vec<&'static str> {
        let Schema::Struct(fields) = self.schema else { return Vec::new() };
        let is_of_use = |field: &&Self| {
            !matches!(
                field.schema,
                Schema::Opaque | Schema::Skipped | Schema::NoEffect | Schema::Refused(_)
            )
        };
        fields.iter().filter(is_of_use).map(|field| field.name).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::config::FileSection;
    use crate::findings::Findings;
    use crate::section::Shape as _;
    use crate::value::Value;
    use crate::{walk, yaml};

    /// The paths of all fields that a file can have; names of the author's choice are `*`.
    fn fields(schema: &Schema, path: &str, into: &mut BTreeSet<String>) {
        match schema {
            Schema::List(item) => fields(item, path, into),
            Schema::Map(value) => fields(value, &format!("{path}.*"), into),
            Schema::Struct(list) => {
                let known = Field::of(*schema).known();
                for field in list.iter().filter(|field| known.contains(&field.name)) {
                    let path = format!("{path}.{}", field.name);
                    fields(&field.schema, &path, into);
                    into.insert(path);
                }
            }
            _ => {}
        }
    }

    fn found(schema: &Schema, value: &Value, path: &str, into: &mut BTreeSet<String>) {
        match (schema, value) {
            (Schema::List(item), Value::List(items)) => {
                for node in items {
                    found(item, &node.value, path, into);
                }
            }
            (Schema::Map(of), Value::Map(entries)) => {
                let path = format!("{path}.*");
                for (_, node) in entries {
                    found(of, &node.value, &path, into);
                }
            }
            (Schema::Struct(list), Value::Map(entries)) => {
                for (name, node) in entries {
                    let field = list.iter().find(|field| field.name == name).unwrap();
                    let path = format!("{path}.{name}");
                    if let (Value::Text(text, _), true) = (&node.value, !field.default.is_empty()) {
                        assert_eq!(text.as_str(), field.default, "{path}");
                    }
                    found(&field.schema, &node.value, &path, into);
                    into.insert(path);
                }
            }
            _ => {}
        }
    }

    #[test]
    fn the_reference_file_has_every_field_and_its_default() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/reference.yaml");
        let text = std::fs::read_to_string(path).unwrap();
        // The stores that stand in comments: `#` without a blank, or with more than one.
        let is_field =
            |line: &&str| line.len() > 1 && (!line.starts_with("# ") || line.starts_with("#  "));
        let lines = text.lines().filter(is_field);
        let lines: Vec<_> = lines.map(|line| line.strip_prefix('#').unwrap_or(line)).collect();
        let text = lines.join("\n");
        let mut sections = text.split("\nkeystore:");
        let head = sections.next().unwrap();
        let (mut want, mut have) = (BTreeSet::new(), BTreeSet::new());
        fields(FileSection::SCHEMA, "", &mut want);
        for keystore in sections {
            let tree = yaml::parse(&format!("{head}\nkeystore:{keystore}"));
            let tree = tree.unwrap_or_else(|fault| panic!("{fault:?}"));
            let mut findings = Findings::default();
            let value = walk::read(&tree, FileSection::SCHEMA, &mut findings);
            assert!(!findings.are_faulty(), "{findings:?}");
            let value = value.unwrap_or_else(|fault| panic!("{fault:?}"));
            found(FileSection::SCHEMA, &value, "", &mut have);
        }
        assert_eq!(want, have);
        assert!(want.contains(".keystore.aws.secretsmanager.credentials.token"));
    }
}
