//! The shape of the configuration file: every field there is, in one table.

/// What may stand in a place of the file.
#[derive(Debug)]
pub(crate) enum Schema {
    /// A single value, taken literally.
    Literal,
    /// A single value; `${NAME}` as the whole of it is replaced by the environment variable.
    Text,
    /// A list.
    List(&'static Self),
    /// A map with names of the author's choice.
    Map(&'static Self),
    /// A map with given names.
    Struct(&'static [Field]),
    /// Anything; only whether it is there counts.
    Ignored,
    /// A name from older guides; the text says what to write today.
    Refused(&'static str),
}

/// A named place of the file.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) schema: Schema,
    /// Said when something else stands there; empty when there is nothing to add.
    pub(crate) hint: &'static str,
}

const fn field(name: &'static str, schema: Schema) -> Field {
    Field { name, schema, hint: "" }
}

const fn text(name: &'static str) -> Field {
    field(name, Schema::Text)
}

/// The whole file.
pub(crate) const FILE: Schema = Schema::Struct(&[
    field("version", Schema::Literal),
    text("address"),
    field("admin", Schema::Struct(&[text("identity")])),
    field("root", Schema::Ignored),
    field("tls", TLS),
    field("api", Schema::Map(&Schema::Struct(&[text("skip_auth"), text("timeout")]))),
    field("policy", Schema::Map(&POLICY)),
    field("cache", Schema::Struct(&[field("expiry", EXPIRY)])),
    field("log", Schema::Struct(&[text("error"), text("audit")])),
    Field {
        name: "keys",
        schema: Schema::List(&Schema::Struct(&[text("name")])),
        hint: "; a key is written `- name: my-key`, and a key store belongs under `keystore`",
    },
    field("keystore", KEYSTORE),
]);

const TLS: Schema = Schema::Struct(&[
    text("key"),
    text("cert"),
    text("password"),
    text("auth"),
    text("ca"),
    field(
        "proxy",
        Schema::Struct(&[
            field("identities", Schema::List(&Schema::Text)),
            field("header", Schema::Struct(&[text("cert")])),
        ]),
    ),
]);

const POLICY: Schema = Schema::Struct(&[
    field("allow", Schema::List(&Schema::Literal)),
    field("deny", Schema::List(&Schema::Literal)),
    field("identities", Schema::List(&Schema::Text)),
    field("paths", Schema::Refused("is no longer read; write the paths under `allow`")),
]);

const EXPIRY: Schema = Schema::Struct(&[text("any"), text("unused"), text("offline")]);

const KEYSTORE: Schema = Schema::Struct(&[
    field("fs", Schema::Struct(&[text("path")])),
    field("vault", VAULT),
    field("aws", AWS),
    field("gcp", Schema::Ignored),
    field("azure", Schema::Ignored),
    field("fortanix", Schema::Ignored),
    field("gemalto", Schema::Ignored),
    field("entrust", Schema::Ignored),
]);

pub(crate) const VAULT: Schema = Schema::Struct(&[
    text("endpoint"),
    text("engine"),
    text("version"),
    text("namespace"),
    text("prefix"),
    field("transit", Schema::Struct(&[text("engine"), text("key")])),
    field(
        "approle",
        Schema::Struct(&[text("namespace"), text("engine"), text("id"), text("secret")]),
    ),
    field(
        "kubernetes",
        Schema::Struct(&[text("namespace"), text("engine"), text("role"), text("jwt")]),
    ),
    field("tls", Schema::Struct(&[text("key"), text("cert"), text("ca")])),
    field("status", Schema::Struct(&[text("ping")])),
]);

pub(crate) const AWS: Schema = Schema::Struct(&[field("secretsmanager", SECRETS_MANAGER)]);

const SECRETS_MANAGER: Schema = Schema::Struct(&[
    text("endpoint"),
    text("region"),
    text("kmskey"),
    text("kmsendpoint"),
    text("prefix"),
    field("tags", Schema::Map(&Schema::Text)),
    field("credentials", Schema::Struct(&[text("accesskey"), text("secretkey"), text("token")])),
]);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::yaml::{self, Value};

    /// The paths of all fields that a file can have; names of the author's choice are `*`.
    fn fields(schema: &Schema, path: &str, into: &mut BTreeSet<String>) {
        match schema {
            Schema::List(item) => fields(item, path, into),
            Schema::Map(value) => fields(value, &format!("{path}.*"), into),
            Schema::Struct(list) => {
                for field in *list {
                    if !matches!(field.schema, Schema::Ignored | Schema::Refused(_)) {
                        let path = format!("{path}.{}", field.name);
                        fields(&field.schema, &path, into);
                        into.insert(path);
                    }
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
                    found(&field.schema, &node.value, &path, into);
                    into.insert(path);
                }
            }
            _ => {}
        }
    }

    #[test]
    fn the_reference_file_has_every_field() {
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
        fields(&FILE, "", &mut want);
        for keystore in sections {
            let value = yaml::parse(&format!("{head}\nkeystore:{keystore}"));
            let value = value.unwrap_or_else(|fault| panic!("{fault:?}"));
            found(&FILE, &value, "", &mut have);
        }
        assert_eq!(want, have);
        assert!(want.contains(".keystore.aws.secretsmanager.credentials.token"));
    }
}
