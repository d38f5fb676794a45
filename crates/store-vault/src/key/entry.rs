//! Encodes and decodes entries: an entry has one field, named like the key, with the stored key as
//! text.

use kes_types::{KeyName, Secret};
use serde_json::{Map, Value};

use crate::error::VaultError;

/// Returns the data of an entry for a stored value.
pub(crate) fn data(name: &KeyName, value: &str) -> Value {
    let mut data = Map::new();
    data.insert(name.as_str().to_owned(), Value::String(value.to_owned()));
    Value::Object(data)
}

/// Extracts the stored value from the data of an entry; `path` is for the error.
pub(crate) fn value(name: &KeyName, path: &str, data: Value) -> Result<Secret, VaultError> {
    let malformed = |problem: String| VaultError::Malformed { path: path.to_owned(), problem };
    let Value::Object(mut data) = data else {
        return Err(malformed("it holds no fields".to_owned()));
    };
    match data.remove(name.as_str()) {
        Some(Value::String(value)) => Ok(value.into()),
        Some(_) => Err(malformed(format!("its field '{name}' is not a string"))),
        None => Err(malformed(format!("it has no field '{name}'"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_entry_is_one_field_named_as_the_key() {
        let name = KeyName::parse("my-key").unwrap();
        assert_eq!(data(&name, "v"), json!({ "my-key": "v" }));
        assert_eq!(value(&name, "p", json!({ "my-key": "v" })).unwrap().expose(), b"v");
        for (data, words) in [
            (json!({ "other": "v" }), "it has no field 'my-key'"),
            (json!({ "my-key": 1 }), "its field 'my-key' is not a string"),
            (json!({ "my-key": null }), "its field 'my-key' is not a string"),
            (json!("v"), "it holds no fields"),
        ] {
            let error = value(&name, "kv/p/my-key", data).unwrap_err().to_string();
            assert_eq!(error, format!("the entry kv/p/my-key is not a key: {words}"));
        }
    }
}
