//! Parses YAML text to a tree with positions. The only module that names YAML libraries.
//!
//! One library decides whether the text is exactly one valid document, the other gives its parts with
//! their positions. What either refuses is refused.

use std::collections::HashMap;

use granit_parser::{ErrorKind, Event, Marker, Parser, ScalarStyle, ScanError};
use serde::de::{Deserialize as _, IgnoredAny};
use zeroize::Zeroizing;

use crate::error::{Fault, Mark};

/// A YAML document. Aliases are links to their anchors. The tree is flat, so that dropping a deep one
/// does not recurse. Not `Debug`: texts may be secrets.
pub(crate) struct Tree {
    branches: Vec<Branch>,
    root: Link,
}

/// A part of a document, and where it is used.
#[derive(Clone, Copy)]
pub(crate) struct Link {
    pub(crate) at: Mark,
    branch: usize,
}

/// A part of a document.
pub(crate) struct Branch {
    pub(crate) tag: Tag,
    pub(crate) content: Content,
    /// Whether its end was not parsed yet.
    is_open: bool,
}

/// The content of a part of a document.
pub(crate) enum Content {
    /// A single value, and whether it has no quotes.
    Scalar(Zeroizing<String>, IsPlain),
    /// A list.
    List(Vec<Link>),
    /// A map: names and values in the order of the file.
    Map(Vec<(Link, Link)>),
}

/// Whether a scalar has no quotes.
pub(crate) type IsPlain = bool;

/// The kind of tag of a part of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tag {
    /// None, or one of YAML's own like `!!str`.
    Usual,
    /// `!!null`.
    Null,
    /// One that begins with a single `!`.
    Local,
}

impl Tree {
    /// Returns the link to the whole document.
    pub(crate) fn root(&self) -> Link {
        self.root
    }

    /// Returns the part that a link refers to.
    pub(crate) fn follow(&self, link: Link) -> Option<&Branch> {
        self.branches.get(link.branch)
    }
}

impl Branch {
    /// Returns whether it is null: `~`, `null`, or no text at all, without quotes.
    pub(crate) fn is_null(&self) -> bool {
        match &self.content {
            Content::Scalar(text, true) => {
                text.is_empty() || ["~", "null", "Null", "NULL"].contains(&text.as_str())
            }
            _ => false,
        }
    }
}

/// Parses a text that is exactly one YAML document.
pub(crate) fn parse(text: &str) -> Result<Tree, Fault> {
    let tree = build(text);
    if let Err(NoTree { fault, is_too_deep: true, .. }) = tree {
        // The time of the other library is quadratic in the depth.
        return Err(fault);
    }
    let is_alone = check_syntax(text)?;
    let tree = tree.map_err(|error| error.fault)?;
    if is_alone { Ok(tree) } else { Err(Fault::of_file(SECOND_DOCUMENT)) }
}

/// The largest depth of lists and maps.
const DEPTH_MAX: usize = 1 << 14;

/// The reason why there is no tree.
struct NoTree {
    fault: Fault,
    /// Whether lists and maps are too deep.
    is_too_deep: bool,
    /// Whether a line in brackets begins with a tab.
    is_tabbed: bool,
}

impl From<Fault> for NoTree {
    fn from(fault: Fault) -> Self {
        Self { fault, is_too_deep: false, is_tabbed: false }
    }
}

impl From<ScanError> for NoTree {
    fn from(error: ScanError) -> Self {
        let line = error.marker().line();
        let is_too_deep = matches!(error.kind(), ErrorKind::RecursionLimitExceeded);
        let is_tabbed = matches!(error.kind(), ErrorKind::TabInBlockIndentation);
        let fault = if is_too_deep {
            Fault::of_line(line, "too many lists and maps stand in one another")
        } else {
            Fault::of_line(line, "is not valid YAML").because(error)
        };
        Self { fault, is_too_deep, is_tabbed }
    }
}

fn build(text: &str) -> Result<Tree, NoTree> {
    match build_strictly(text) {
        // Inside of brackets libyaml accepts tabs as blanks.
        Err(NoTree { is_tabbed: true, .. }) => build_strictly(&indented_by_blanks(text)),
        result => result,
    }
}

fn indented_by_blanks(text: &str) -> String {
    let mut blanks = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let rest = line.trim_start_matches([' ', '\t']);
        blanks.extend(std::iter::repeat_n(' ', line.len() - rest.len()));
        blanks.push_str(rest);
    }
    blanks
}

fn build_strictly(text: &str) -> Result<Tree, NoTree> {
    let options = granit_parser::options! {
        flow_nesting_limit: DEPTH_MAX,
        block_nesting_limit: DEPTH_MAX,
        block_scalar_eof_without_line_feed: true,
        bom_inside_document_as_content: true,
    };
    let mut builder = Builder::default();
    let mut parser = Parser::new_from_str_with_options(text, options);
    while let Some(event) = parser.next_event() {
        let (event, span) = event?;
        builder.take(event, Mark::from(span.start))?;
    }
    let empty = || Fault::of_file("the file is empty");
    Ok(Tree { root: builder.root.ok_or_else(empty)?, branches: builder.branches })
}

/// Builds a tree from events.
#[derive(Default)]
struct Builder {
    branches: Vec<Branch>,
    root: Option<Link>,
    /// The lists and maps that are not at their end, innermost last; maps with the name whose value
    /// comes next.
    open: Vec<(Link, Option<Link>)>,
    /// The branches that have anchors, by the numbers of the anchors.
    anchors: HashMap<usize, usize>,
    /// Whether another document has begun.
    is_second_document: bool,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, at: Mark) -> Result<(), Fault> {
        let fault = |message| Err(Fault::new(Some(at), String::new(), message));
        let is_nothing = match &event {
            // What the parser gives for no text at all.
            Event::Scalar(text, ScalarStyle::Plain, ..) => text == "~",
            event => matches!(event, Event::DocumentEnd),
        };
        if self.is_second_document && !is_nothing {
            return fault(SECOND_DOCUMENT);
        }
        match event {
            // The next event has the line of what stands in it, unless that is nothing.
            Event::DocumentStart(..) => self.is_second_document = self.root.is_some(),
            Event::Scalar(text, style, anchor, tag) => {
                let text = Zeroizing::new(text.into_owned());
                let content = Content::Scalar(text, style == ScalarStyle::Plain);
                let link = self.add(at, content, tag.as_deref(), anchor);
                self.attach(link);
            }
            Event::SequenceStart(_, anchor, tag) => {
                let link = self.add(at, Content::List(Vec::new()), tag.as_deref(), anchor);
                self.open(link);
            }
            Event::MappingStart(_, anchor, tag) => {
                let link = self.add(at, Content::Map(Vec::new()), tag.as_deref(), anchor);
                self.open(link);
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => match self.anchors.get(&anchor).copied() {
                Some(branch) if !self.is_open(branch) => self.attach(Link { at, branch }),
                _ => return fault("an alias stands inside of what it stands for"),
            },
            _ => {}
        }
        Ok(())
    }

    fn add(
        &mut self,
        at: Mark,
        content: Content,
        tag: Option<&granit_parser::Tag>,
        anchor: usize,
    ) -> Link {
        let branch = self.branches.len();
        self.branches.push(Branch { tag: Tag::of(tag), content, is_open: false });
        // Zero is no anchor.
        if anchor != 0 {
            self.anchors.insert(anchor, branch);
        }
        Link { at, branch }
    }

    fn open(&mut self, link: Link) {
        self.set_open(link, true);
        self.open.push((link, None));
    }

    fn close(&mut self) {
        if let Some((link, _)) = self.open.pop() {
            self.set_open(link, false);
            self.attach(link);
        }
    }

    fn set_open(&mut self, link: Link, is_open: bool) {
        if let Some(branch) = self.branches.get_mut(link.branch) {
            branch.is_open = is_open;
        }
    }

    fn is_open(&self, branch: usize) -> bool {
        self.branches.get(branch).is_some_and(|branch| branch.is_open)
    }

    /// Adds a part to the list or map that is open.
    fn attach(&mut self, link: Link) {
        let Some((parent, name)) = self.open.last_mut() else {
            self.root = Some(link);
            return;
        };
        match self.branches.get_mut(parent.branch).map(|branch| &mut branch.content) {
            Some(Content::List(items)) => items.push(link),
            Some(Content::Map(entries)) => match name.take() {
                None => *name = Some(link),
                Some(name) => entries.push((name, link)),
            },
            Some(Content::Scalar(..)) | None => {}
        }
    }
}

impl From<Marker> for Mark {
    fn from(marker: Marker) -> Self {
        Self { line: marker.line(), column: marker.col() }
    }
}

impl Tag {
    fn of(tag: Option<&granit_parser::Tag>) -> Self {
        match tag.map(|tag| format!("{}{}", tag.handle(), tag.suffix())) {
            Some(tag) if tag == "tag:yaml.org,2002:null" => Self::Null,
            Some(tag) if tag.starts_with('!') => Self::Local,
            _ => Self::Usual,
        }
    }
}

const SECOND_DOCUMENT: &str = "a second YAML document starts here; a configuration is one document";

/// Checks the syntax of the first YAML document; returns whether it is the only one.
fn check_syntax(text: &str) -> Result<bool, Fault> {
    let invalid = |error: serde_yaml::Error| {
        let line = error.location().map(|at| at.line());
        let is_tab = line.is_some_and(|line| is_indented_by_tab(text, line));
        let hint = if is_tab { "; indent with blanks, not with tabs" } else { "" };
        let message = format!("is not valid YAML{hint}");
        let fault = match line {
            Some(line) => Fault::of_line(line, message),
            None => Fault::of_file(message),
        };
        fault.because(error)
    };
    let mut documents = serde_yaml::Deserializer::from_str(text);
    if let Some(document) = documents.next() {
        IgnoredAny::deserialize(document).map_err(invalid)?;
    }
    Ok(documents.next().is_none())
}

fn is_indented_by_tab(text: &str, line: usize) -> bool {
    let line = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    line.chars().take_while(|character| character.is_whitespace()).any(|blank| blank == '\t')
}

#[cfg(test)]
mod tests {
    use serde_yaml::Value;

    use super::*;

    /// Whether the tree is what the other library reads; numbers and such are not looked into.
    fn is_same(tree: &Tree, link: Link, value: &Value) -> bool {
        let branch = tree.follow(link).unwrap();
        match (&branch.content, value) {
            (_, Value::Tagged(_)) => branch.tag == Tag::Local,
            (Content::Scalar(text, _), Value::String(other)) => text.as_str() == other,
            (Content::Scalar(_, is_plain), Value::Null) => *is_plain && branch.is_null(),
            (Content::Scalar(_, is_plain), Value::Bool(_) | Value::Number(_)) => *is_plain,
            (Content::List(items), Value::Sequence(others)) => {
                let mut pairs = items.iter().zip(others);
                items.len() == others.len()
                    && pairs.all(|(item, other)| is_same(tree, *item, other))
            }
            (Content::Map(entries), Value::Mapping(others)) => {
                let mut pairs = entries.iter().zip(others);
                entries.len() == others.len()
                    && pairs.all(|((name, value), (other_name, other_value))| {
                        is_same(tree, *name, other_name) && is_same(tree, *value, other_value)
                    })
            }
            _ => false,
        }
    }

    #[test]
    fn both_libraries_read_the_same() {
        for text in [
            "a: {\n  b: c\n}\nd: {\n}\ne: [\n]\n",
            "a:\n  b:\n    c: [\n      x,\n      y\n  ]\n",
            "a: [\n{ b: c },\n{ b: d }\n]\n",
            "{\n\t\"a\": {\n\t\t\"b\": [\n\t\t\t\"c\"\n\t\t]\n\t}\n}\n",
            "a: {\n\tb: c,\n\td: [\n\t\te ]\n}\nf: g\n",
            "a:\tb\nc: d\t# e\n",
            "a: \"b\nc\"\nd:\n  e: \"f\n  g\"\n",
            "{\"a\":b, c: d, e,}\n",
            "a:\n- b\n- c: d\n  e: f\n-\n- - g\n  - h\n",
            "a: |\n  b\n\n  c\nd: >-\n  e\n  f\ng: |2\n    h\ni: |+\n  j\n\n",
            "a: |\n  b",
            "? a\n: b\n",
            "a: &b\n  c: d\ne:\n  <<: *b\nf: [ *b ]\n",
            "a: &b c\n*b : d\ne: { f: *b }\n",
            "a: !!str b\nc: !d e\n",
            "%YAML 1.1\n--- # a\nb: c\n...\n",
            "a: b\r\nc:\r\n  d: e\r\n",
            "a: 'b''c'\nd: \"\\x41\\u0041\\/\\e\"\n",
            "a: b#c\nd: e #f\ng: http://h:1/i?j#k\nl: [http://m:1/n?o]\n",
            "a: :7373\nb: -c\nd: ?e\nf: <g>\nh: ${I}\nj: [ /v1/key/* ]\n",
            "a: ~\nb:\nc: null\nd: \"\"\ne: 'null'\n1: 0123\non: 1e5\n",
        ] {
            let value: Value = serde_yaml::from_str(text).unwrap();
            let tree = parse(text).unwrap_or_else(|fault| panic!("{text}: {fault:?}"));
            assert!(is_same(&tree, tree.root(), &value), "{text}");
        }
    }

    #[test]
    fn places_are_those_of_the_text() {
        let tree = parse("# a\nb:\r\n- c\n- &d { e: f }\n- *d\n").unwrap();
        let Content::Map(entries) = &tree.follow(tree.root()).unwrap().content else { panic!() };
        assert_eq!((entries[0].0.at.line, entries[0].0.at.column), (2, 0));
        let Content::List(items) = &tree.follow(entries[0].1).unwrap().content else { panic!() };
        let places: Vec<_> = items.iter().map(|item| (item.at.line, item.at.column)).collect();
        assert_eq!(places, [(3, 2), (4, 5), (5, 2)]);
    }
}
