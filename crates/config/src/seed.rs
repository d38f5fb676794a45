//! Reads values as the schema wants them.

use std::collections::HashSet;
use std::fmt;

use serde::Deserialize as _;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use zeroize::Zeroizing;

use crate::reading::{Path, Position, Reading};
use crate::schema::{Field, Schema};
use crate::suggest;
use crate::yaml::{Expansion, Node, Value};

/// Reads a value of a schema.
#[derive(Clone, Copy)]
pub(crate) struct NodeSeed<'a> {
    schema: &'static Schema,
    hint: &'static str,
    at: Position,
    path: Path<'a>,
    reading: &'a Reading,
}

impl<'de> DeserializeSeed<'de> for NodeSeed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        match self.schema {
            Schema::Literal | Schema::Text | Schema::Ignored => {
                deserializer.deserialize_option(Single(self))
            }
            Schema::Refused(message) => {
                Err(self.reading.fail(self.at, &self.path, (*message).to_owned()))
            }
            Schema::List(_) | Schema::Map(_) | Schema::Struct(_) => {
                deserializer.deserialize_any(Collection(self))
            }
        }
    }
}

impl<'a> NodeSeed<'a> {
    /// Reads the whole file.
    pub(crate) fn root(schema: &'static Schema, reading: &'a Reading) -> Self {
        Self { schema, hint: "", at: Position::ROOT, path: Path::Root, reading }
    }
}

impl NodeSeed<'_> {
    fn wrong_kind<E: Error>(&self, found: &str) -> E {
        let wanted = match self.schema {
            Schema::List(_) => "a list",
            Schema::Map(_) | Schema::Struct(_) => "a map of names and values",
            _ => "a single value",
        };
        let hint = self.hint;
        self.reading.fail(self.at, &self.path, format!("wants {wanted}, not {found}{hint}"))
    }

    /// The schema and hint under a name.
    fn child<E: Error>(
        &self,
        at: Position,
        name: &str,
    ) -> Result<(&'static Schema, &'static str), E> {
        let fields = match self.schema {
            Schema::Struct(fields) => *fields,
            Schema::Map(schema) => return Ok((schema, "")),
            _ => &[],
        };
        if let Some(field) = fields.iter().find(|field| field.name == name) {
            return Ok((&field.schema, field.hint));
        }
        let path = Path::Name(&self.path, name);
        Err(self.reading.fail(at, &path, format!("unknown field{}", names(name, fields))))
    }

    /// Reads a map's entries; those of merge keys come apart, first come first kept.
    fn entries<'de, A: MapAccess<'de>>(
        &self,
        mut access: A,
    ) -> Result<Vec<(String, Node)>, A::Error> {
        let (mut own, mut merged, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
        while let Some((at, name)) = access.next_key_seed(NameSeed(self))? {
            if name == "<<" {
                merged.extend(access.next_value_seed(MergeSeed {
                    map: self,
                    at,
                    in_list: false,
                })?);
                continue;
            }
            let (schema, hint) = self.child(at, &name)?;
            let path = Path::Name(&self.path, &name);
            if !seen.insert(name.clone()) {
                return Err(self.reading.fail(at, &path, "stands here twice".to_owned()));
            }
            let child = NodeSeed { schema, hint, at, path, reading: self.reading };
            let value = access.next_value_seed(child)?;
            own.push((name, Node { at, value }));
        }
        own.extend(merged.into_iter().filter(|(name, _)| seen.insert(name.clone())));
        Ok(own)
    }
}

/// What to say about a name that is not one of the fields.
fn names(name: &str, fields: &[Field]) -> String {
    if let Some(nearest) = suggest::nearest(name, fields.iter().map(|field| field.name)) {
        return format!(", did you mean `{nearest}`?");
    }
    let is_of_use = |field: &&Field| !matches!(field.schema, Schema::Refused(_) | Schema::Ignored);
    let of_use: Vec<_> = fields.iter().filter(is_of_use).map(|field| field.name).collect();
    format!("; known here: {}", of_use.join(", "))
}

/// Reads a single value.
struct Single<'a>(NodeSeed<'a>);

impl<'de> Visitor<'de> for Single<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a single value")
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if matches!(self.0.schema, Schema::Ignored) {
            return IgnoredAny::deserialize(deserializer).map(|_| Value::Ignored);
        }
        let seed = self.0;
        let text = deserializer.deserialize_str(Text(self.0.reading));
        let text = text.map_err(|_| seed.wrong_kind::<D::Error>("a list or a map"))?;
        let expands = matches!(seed.schema, Schema::Text);
        Ok(Value::Text(text, if expands { Expansion::On } else { Expansion::Off }))
    }
}

/// Reads a scalar's text.
struct Text<'a>(&'a Reading);

impl Visitor<'_> for Text<'_> {
    type Value = Zeroizing<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a single value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        self.0.spend(text)?;
        Ok(Zeroizing::new(text.to_owned()))
    }
}

/// Reads a list or a map.
struct Collection<'a>(NodeSeed<'a>);

impl<'de> Visitor<'de> for Collection<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list or a map")
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<Value, A::Error> {
        match self.0.schema {
            Schema::Map(_) | Schema::Struct(_) => self.0.entries(access).map(Value::Map),
            _ => Err(self.0.wrong_kind("a map")),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let seed = self.0;
        let Schema::List(schema) = seed.schema else {
            return Err(seed.wrong_kind("a list"));
        };
        let mut items = Vec::new();
        loop {
            let at = seed.reading.next();
            let path = Path::Index(&seed.path, items.len());
            let item = NodeSeed { schema, at, path, ..seed };
            match access.next_element_seed(Aimed(item))? {
                Some(value) => {
                    seed.reading.spend("")?;
                    items.push(Node { at, value });
                }
                None => return Ok(Value::List(items)),
            }
        }
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Value, E> {
        Err(self.0.wrong_kind("a single value"))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Value, E> {
        Err(self.0.wrong_kind("a single value"))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Value, E> {
        Err(self.0.wrong_kind("a single value"))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Value, E> {
        Err(self.0.wrong_kind("a single value"))
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<Value, E> {
        Err(self.0.wrong_kind("a single value"))
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<Value, E> {
        Err(self.0.wrong_kind("a single value"))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Value, E> {
        Err(self.0.wrong_kind("a single value"))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<Value, A::Error> {
        Err(self.0.wrong_kind("a value with a YAML tag"))
    }
}

/// Reads a list's item, or fails there on purpose.
struct Aimed<'a>(NodeSeed<'a>);

impl<'de> DeserializeSeed<'de> for Aimed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if self.0.reading.ends_at(self.0.at) {
            return deserializer.deserialize_any(Stop).map(|()| Value::Null);
        }
        self.0.deserialize(deserializer)
    }
}

/// Reads a name in a map, or fails there on purpose.
struct NameSeed<'a>(&'a NodeSeed<'a>);

impl<'de> DeserializeSeed<'de> for NameSeed<'_> {
    type Value = (Position, String);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let NodeSeed { reading, path, .. } = self.0;
        let at = reading.next();
        if reading.ends_at(at) {
            deserializer.deserialize_any(Stop)?;
            return Err(D::Error::custom("stopped"));
        }
        let name = deserializer.deserialize_str(Text(reading)).map_err(|_| {
            let message = "a name in a map wants to be a single value, not a list or a map";
            reading.fail::<D::Error>(at, path, message.to_owned())
        })?;
        Ok((at, String::clone(&name)))
    }
}

/// Reads what stands under `<<`: a map, or a list of maps, of the map's own schema.
struct MergeSeed<'a> {
    map: &'a NodeSeed<'a>,
    at: Position,
    in_list: bool,
}

impl MergeSeed<'_> {
    fn refuse<E: Error>(&self) -> E {
        let message = "wants a map or a list of maps to merge".to_owned();
        self.map.reading.fail(self.at, &Path::Name(&self.map.path, "<<"), message)
    }
}

impl<'de> DeserializeSeed<'de> for MergeSeed<'_> {
    type Value = Vec<(String, Node)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let (map, at) = (self.map, self.at);
        deserializer.deserialize_any(self).inspect_err(|_| {
            // What failed further down has been remembered by then; wrong kinds have not. The
            // error itself goes up as it is, with its location.
            Self { map, at, in_list: false }.refuse::<D::Error>();
        })
    }
}

impl<'de> Visitor<'de> for MergeSeed<'_> {
    type Value = Vec<(String, Node)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map or a list of maps")
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<Self::Value, A::Error> {
        self.map.entries(access)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        if self.in_list {
            return Err(self.refuse());
        }
        let mut entries = Vec::new();
        let (map, at) = (self.map, self.at);
        while let Some(more) = access.next_element_seed(Self { map, at, in_list: true })? {
            entries.extend(more);
        }
        Ok(entries)
    }
}

/// Takes nothing: the library's error then tells the place.
pub(crate) struct Stop;

impl Visitor<'_> for Stop {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing")
    }
}
