//! The shape of the configuration file: every field there is, in one table.

/// What may stand in a place of the file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Schema {
    /// A single value, taken literally.
    Literal,
    /// A single value; `${NAME}` as the whole of it is replaced by the environment variable, other
    /// placeholders are refused.
    Text,
    /// The same for an identity: as KES does, the server starts with some that never match.
    Identity,
    /// The same, but anything else is taken as it is: a password may hold a `$`.
    Secret,
    /// A list.
    List(&'static Self),
    /// A map with names of the author's choice.
    Map(&'static Self),
    /// A map with given names.
    Struct(&'static [Field]),
    /// Anything; only whether it is there, and blank, counts.
    Opaque,
    /// Anything, passed over.
    Skipped,
    /// Anything, passed over with a warning: KES's guides show the field, and nothing reads it.
    NoEffect,
    /// A name from older guides; the text says what to write today.
    Refused(&'static str),
}

/// A named place of the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    /// With a `*` at its end it stands for all names that begin so.
    pub(crate) name: &'static str,
    pub(crate) schema: Schema,
    /// Said when something else stands there; empty when there is nothing to add.
    pub(crate) hint: &'static str,
    /// The field that is meant when a map stands here instead; empty for none.
    pub(crate) maps_go_to: &'static str,
}

impl Field {
    /// A field without a name.
    pub(crate) const fn of(schema: Schema) -> Self {
        Self { name: "", schema, hint: "", maps_go_to: "" }
    }

    /// The field under a name, if there can be one.
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

    /// The names of the fields below that are of use.
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

const fn field(name: &'static str, schema: Schema) -> Field {
    Field { name, ..Field::of(schema) }
}

const fn secret(name: &'static str) -> Field {
    field(name, Schema::Secret)
}

const fn text(name: &'static str) -> Field {
    field(name, Schema::Text)
}

/// The whole file.
pub(crate) const FILE: Schema = Schema::Struct(&[
    field("version", Schema::Literal),
    text("address"),
    field("admin", Schema::Struct(&[field("identity", Schema::Identity)])),
    field("root", Schema::Opaque),
    field("tls", TLS),
    field("proxy", Schema::Refused(PROXY_ELSEWHERE)),
    field("enclave", Schema::NoEffect),
    // Homes of anchors, as in compose files.
    field("x-*", Schema::Skipped),
    field("api", Schema::Map(&Schema::Struct(&[text("skip_auth"), text("timeout")]))),
    field("policy", Schema::Map(&POLICY)),
    field("cache", Schema::Struct(&[field("expiry", EXPIRY)])),
    field("log", Schema::Struct(&[text("error"), text("audit")])),
    field("limits", LIMITS),
    Field {
        name: "keys",
        schema: Schema::List(&Schema::Struct(&[text("name")])),
        hint: "; a key is written `- name: my-key`, and a key store belongs under `keystore`",
        maps_go_to: "keystore",
    },
    field("keystore", KEYSTORE),
]);

const TLS: Schema = Schema::Struct(&[
    text("key"),
    text("cert"),
    secret("password"),
    text("auth"),
    text("ca"),
    field(
        "proxy",
        Schema::Struct(&[
            field("identities", Schema::List(&Schema::Identity)),
            field("header", Schema::Struct(&[text("cert")])),
        ]),
    ),
    field("identities", Schema::Refused(PROXY_ELSEWHERE)),
    field("header", Schema::Refused(PROXY_ELSEWHERE)),
]);

const PROXY_ELSEWHERE: &str = "has no effect here; TLS proxies are listed in `tls.proxy.identities`, \
                               and their header is `tls.proxy.header.cert`";

const POLICY: Schema = Schema::Struct(&[
    field("allow", Schema::List(&Schema::Literal)),
    field("deny", Schema::List(&Schema::Literal)),
    field("identities", Schema::List(&Schema::Identity)),
    field("paths", Schema::Refused("is no longer read; write the paths under `allow`")),
]);

const EXPIRY: Schema = Schema::Struct(&[text("any"), text("unused"), text("offline")]);

const LIMITS: Schema = Schema::Struct(&[
    text("connections"),
    text("connections_per_identity"),
    text("connections_without_policy"),
    text("connections_reserved"),
    text("handshakes"),
    text("streams"),
    text("streams_without_policy"),
    text("requests"),
    text("requests_per_identity"),
    text("payload"),
    text("payload_per_connection"),
    text("store_calls"),
    text("store_queue_per_identity"),
    text("log_streams"),
    text("log_streams_per_identity"),
    text("handshake_timeout"),
    text("head_timeout"),
    text("body_rate"),
    text("write_timeout"),
    text("write_rate"),
    text("idle_timeout"),
    text("idle_timeout_without_policy"),
    text("drain_timeout"),
]);

const KEYSTORE: Schema = Schema::Struct(&[
    field("fs", Schema::Struct(&[text("path")])),
    field("vault", VAULT),
    field("aws", AWS),
    // Stores of KES that this build does not have.
    field("gcp", Schema::Opaque),
    field("azure", Schema::Opaque),
    field("fortanix", Schema::Opaque),
    field("gemalto", Schema::Opaque),
    field("entrust", Schema::Opaque),
    // Stores that older versions of KES had, or that its documents name.
    field("encryptedfs", Schema::Opaque),
    field("generic", Schema::Opaque),
    field("credhub", Schema::Opaque),
    field("mem", Schema::Opaque),
    field("kes", Schema::Opaque),
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
        Schema::Struct(&[
            text("namespace"),
            text("engine"),
            secret("id"),
            secret("secret"),
            field("retry", Schema::NoEffect),
        ]),
    ),
    field(
        "kubernetes",
        Schema::Struct(&[
            text("namespace"),
            text("engine"),
            text("role"),
            text("jwt"),
            field("retry", Schema::NoEffect),
        ]),
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
    field(
        "credentials",
        Schema::Struct(&[text("accesskey"), secret("secretkey"), secret("token")]),
    ),
]);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::findings::Findings;
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
            let tree = yaml::parse(&format!("{head}\nkeystore:{keystore}"));
            let tree = tree.unwrap_or_else(|fault| panic!("{fault:?}"));
            let mut findings = Findings::default();
            let value = walk::read(&tree, &FILE, &mut findings);
            assert!(!findings.are_faulty(), "{findings:?}");
            let value = value.unwrap_or_else(|fault| panic!("{fault:?}"));
            found(&FILE, &value, "", &mut have);
        }
        assert_eq!(want, have);
        assert!(want.contains(".keystore.aws.secretsmanager.credentials.token"));
    }
}
