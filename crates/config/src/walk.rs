//! Checks a YAML tree against the schema, and continues after faults.
//!
//! Every scalar is read as its text, whatever its type in YAML is: a key named `123` or `1e5`
//! is that name. Aliases and merge keys (`<<`) work. Unknown and repeated names and values of the
//! wrong kind are faults; the rest of their map or list is read.

use std::collections::HashSet;
use std::fmt;

use zeroize::Zeroizing;

use crate::error::{Fault, Mark};
use crate::findings::Findings;
use crate::schema::{Field, Schema};
use crate::suggest;
use crate::value::{Expansion, Node, Value};
use crate::yaml::{Branch, Content, Link, Tag, Tree};

/// The largest size of all texts and names after aliases are followed, in bytes.
const EXPANDED_BYTES_MAX: usize = 8 << 20;

/// The largest depth of merge keys.
const MERGES_MAX: usize = 64;

/// Reads the tree of a file. A fault of the whole file is returned, those of its parts are added.
pub(crate) fn read(
    tree: &Tree,
    schema: &'static Schema,
    findings: &mut Findings,
) -> Result<Value, Fault> {
    let field = Field::of(*schema);
    let mut walk = Walk { tree, findings, bytes: 0 };
    match walk.value(&Spot { link: tree.root(), at: None, path: Path::Root, field })? {
        Value::Null => Err(Fault::of_file("the file is empty")),
        value => Ok(value),
    }
}

/// A part of the tree, and what the schema has there.
struct Spot<'a> {
    link: Link,
    /// The position in messages.
    at: Option<Mark>,
    path: Path<'a>,
    field: Field,
}

impl Spot<'_> {
    fn fault(&self, message: impl Into<String>) -> Fault {
        Fault::new(self.at, self.path.to_string(), message)
    }
}

/// The state of one pass over the tree.
struct Walk<'t, 'f> {
    tree: &'t Tree,
    findings: &'f mut Findings,
    /// The bytes of text that were read.
    bytes: usize,
}

impl<'t> Walk<'t, '_> {
    /// Reads a value. An error ends the pass, faults do not.
    fn value(&mut self, spot: &Spot<'_>) -> Result<Value, Fault> {
        let Some(branch) = self.tree.follow(spot.link) else { return Ok(Value::Null) };
        match spot.field.schema {
            Schema::Text(expansion) => self.text(spot, branch, expansion),
            Schema::Opaque => {
                let is_blank = self.is_blank(spot.link)?;
                Ok(if branch.is_null() { Value::Null } else { Value::Opaque { is_blank } })
            }
            Schema::Skipped => Ok(Value::Null),
            Schema::NoEffect => {
                self.findings.warn(
                    spot.fault("has no effect and can be removed; KES does not read it either"),
                );
                Ok(Value::Null)
            }
            Schema::Refused(message) => Ok(self.faulty(spot.fault(message))),
            Schema::List(_) | Schema::Map(_) | Schema::Struct(_) => self.collection(spot, branch),
        }
    }

    fn text(
        &mut self,
        spot: &Spot<'_>,
        branch: &Branch,
        expansion: Expansion,
    ) -> Result<Value, Fault> {
        let Content::Scalar(text, _) = &branch.content else {
            return Ok(self.wrong_kind(spot, "a list or a map"));
        };
        if branch.is_null() {
            return Ok(Value::Null);
        }
        if branch.tag == Tag::Null {
            return Ok(self.faulty(spot.fault("has a YAML tag that does not fit it")));
        }
        self.spend(text)?;
        Ok(Value::Text(Zeroizing::clone(text), expansion))
    }

    fn collection(&mut self, spot: &Spot<'_>, branch: &Branch) -> Result<Value, Fault> {
        if branch.is_null() {
            return Ok(Value::Null);
        }
        if branch.tag == Tag::Local {
            return Ok(self.wrong_kind(spot, "a value with a YAML tag"));
        }
        match (&branch.content, spot.field.schema) {
            (Content::List(items), Schema::List(item)) => self.items(spot, items, item),
            (Content::Map(_), Schema::Map(_) | Schema::Struct(_)) => {
                self.entries(spot, branch, 0).map(Value::Map)
            }
            (Content::List(_), _) => Ok(self.wrong_kind(spot, "a list")),
            (Content::Map(_), _) => Ok(self.wrong_kind(spot, "a map")),
            (Content::Scalar(..), _) => Ok(self.wrong_kind(spot, "a single value")),
        }
    }

    fn items(
        &mut self,
        spot: &Spot<'_>,
        links: &[Link],
        schema: &'static Schema,
    ) -> Result<Value, Fault> {
        let field = Field { schema: *schema, ..spot.field };
        let mut items = Vec::with_capacity(links.len());
        for (index, link) in links.iter().enumerate() {
            let path = Path::Index(&spot.path, index);
            let item = Spot { link: *link, at: Some(link.at), path, field };
            self.spend("")?;
            items.push(Node { at: link.at, value: self.value(&item)? });
        }
        Ok(Value::List(items))
    }

    /// Reads the entries of a map, then those of its merge keys; the first of a name counts.
    fn entries(
        &mut self,
        spot: &Spot<'_>,
        branch: &Branch,
        merges: usize,
    ) -> Result<Vec<(String, Node)>, Fault> {
        let Content::Map(pairs) = &branch.content else { return Ok(Vec::new()) };
        let (mut own, mut others, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
        for (name_link, link) in pairs {
            let at = name_link.at;
            let Some(name) = self.name(spot, *name_link)? else { continue };
            let path = Path::Name(&spot.path, name);
            let Some(field) = spot.field.child(name) else {
                if name == "<<" {
                    let merge = Spot { link: *link, at: Some(at), path, field: spot.field };
                    others.extend(self.merge(spot, &merge, merges)?);
                } else {
                    others.push(self.unknown(spot, at, name));
                }
                continue;
            };
            let child = Spot { link: *link, at: Some(at), path, field };
            let value = self.value(&child)?;
            if !seen.insert(name.to_owned()) {
                self.findings.fault(child.fault("stands here twice"));
                continue;
            }
            if !field.maps_go_to.is_empty() && self.is_map(*link) {
                let node = Node { at, value: Value::Faulty };
                others.push((field.maps_go_to.to_owned(), node));
            }
            own.push((name.to_owned(), Node { at, value }));
        }
        own.extend(others.into_iter().filter(|(name, _)| seen.insert(name.clone())));
        Ok(own)
    }

    /// Reads a name in a map; none, and a fault, if it is a list or a map.
    fn name(&mut self, map: &Spot<'_>, link: Link) -> Result<Option<&'t str>, Fault> {
        if let Some(Branch { content: Content::Scalar(name, _), .. }) = self.tree.follow(link) {
            self.spend(name)?;
            return Ok(Some(name));
        }
        let message = "a name in a map wants to be a single value, not a list or a map";
        self.findings.fault(Fault::new(Some(link.at), map.path.to_string(), message));
        Ok(None)
    }

    /// Refuses a name that is not one of the fields. The field that is probably meant gets a value, so
    /// that it is not reported as missing.
    fn unknown(&mut self, map: &Spot<'_>, at: Mark, name: &str) -> (String, Node) {
        let known = map.field.known();
        let nearest = suggest::nearest(name, known.iter().copied());
        let message = match nearest {
            Some(nearest) => format!("unknown field, did you mean `{nearest}`?"),
            None => format!("unknown field; known here: {}", known.join(", ")),
        };
        let path = Path::Name(&map.path, name).to_string();
        self.findings.fault(Fault::new(Some(at), path, message));
        (nearest.unwrap_or(name).to_owned(), Node { at, value: Value::Faulty })
    }

    /// Reads the value of `<<`: a map, or a list of maps, of the map's own schema.
    fn merge(
        &mut self,
        map: &Spot<'_>,
        merge: &Spot<'_>,
        merges: usize,
    ) -> Result<Vec<(String, Node)>, Fault> {
        if merges == MERGES_MAX {
            return Err(merge.fault("stands in too many other merge keys"));
        }
        let parts = match self.tree.follow(merge.link) {
            Some(Branch { content: Content::List(parts), tag: Tag::Usual, .. }) => parts.as_slice(),
            _ => std::slice::from_ref(&merge.link),
        };
        let mut entries = Vec::new();
        for part in parts {
            self.spend("")?;
            match self.tree.follow(*part) {
                Some(branch) if self.is_map(*part) => {
                    entries.extend(self.entries(map, branch, merges + 1)?);
                }
                _ => {
                    self.findings.fault(merge.fault("wants a map or a list of maps to merge"));
                }
            }
        }
        Ok(entries)
    }

    fn is_map(&self, link: Link) -> bool {
        let branch = self.tree.follow(link);
        branch.is_some_and(|it| matches!(it.content, Content::Map(_)) && it.tag != Tag::Local)
    }

    /// Returns whether there is nothing but empty texts.
    fn is_blank(&mut self, link: Link) -> Result<bool, Fault> {
        let mut links = vec![link];
        while let Some(branch) = links.pop().and_then(|link| self.tree.follow(link)) {
            self.spend("")?;
            match &branch.content {
                Content::Scalar(text, _) if text.is_empty() || branch.is_null() => {}
                Content::Scalar(..) => return Ok(false),
                Content::List(items) => links.extend(items),
                Content::Map(entries) => links.extend(entries.iter().map(|(_, value)| value)),
            }
        }
        Ok(true)
    }

    /// Counts the size of a text, or of an item of a list.
    fn spend(&mut self, text: &str) -> Result<(), Fault> {
        self.bytes += text.len() + size_of::<Node>();
        if self.bytes > EXPANDED_BYTES_MAX {
            return Err(Fault::of_file("aliases make the file larger than 8 MiB"));
        }
        Ok(())
    }

    fn wrong_kind(&mut self, spot: &Spot<'_>, found: &str) -> Value {
        let wanted = match spot.field.schema {
            Schema::List(_) => "a list",
            Schema::Map(_) | Schema::Struct(_) => "a map of names and values",
            _ => "a single value",
        };
        let hint = spot.field.hint;
        self.faulty(spot.fault(format!("wants {wanted}, not {found}{hint}")))
    }

    fn faulty(&mut self, fault: Fault) -> Value {
        self.findings.fault(fault);
        Value::Faulty
    }
}

/// A YAML path, without allocating on the way down.
#[derive(Clone, Copy)]
enum Path<'a> {
    Root,
    Name(&'a Self, &'a str),
    Index(&'a Self, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Name(Self::Root, name) => f.write_str(&suggest::shown(name)),
            Self::Name(parent, name) => write!(f, "{parent}.{}", suggest::shown(name)),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}
