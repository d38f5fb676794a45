//! One pass over a configuration file: what was met, and what is wrong.

use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::Error;

use crate::error::{Fault, Spot};
use crate::suggest;
use crate::yaml::Node;

/// Texts and names may come to so many bytes once aliases are followed.
const EXPANDED_BYTES_MAX: usize = 8 << 20;

/// The ordinal of something in the file, in the order of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position(usize);

impl Position {
    /// The file as a whole.
    pub(crate) const ROOT: Self = Self(0);
}

/// The state of one pass over the text.
#[derive(Default)]
pub(crate) struct Reading {
    /// How many places were met.
    count: Cell<usize>,
    /// How many bytes of text were met.
    bytes: Cell<usize>,
    /// Where to fail on purpose.
    target: Option<Position>,
    /// The first thing that is wrong.
    failure: RefCell<Option<Fault>>,
}

impl Reading {
    /// A pass that ends where that is.
    pub(crate) fn toward(position: Position) -> Self {
        Self { target: Some(position), ..Self::default() }
    }

    /// The first thing that was wrong.
    pub(crate) fn into_failure(self) -> Option<Fault> {
        self.failure.into_inner()
    }

    /// Whether this is the place to fail on purpose.
    pub(crate) fn ends_at(&self, at: Position) -> bool {
        self.target == Some(at)
    }

    /// The place of what is met next.
    pub(crate) fn next(&self) -> Position {
        self.count.set(self.count.get() + 1);
        Position(self.count.get())
    }

    /// Counts a text, or an item of a list.
    pub(crate) fn spend<E: Error>(&self, text: &str) -> Result<(), E> {
        self.bytes.set(self.bytes.get() + text.len() + size_of::<Node>());
        if self.bytes.get() > EXPANDED_BYTES_MAX {
            let message = "aliases make the file larger than 8 MiB";
            self.failure.borrow_mut().get_or_insert_with(|| Fault::of_file(message));
            return Err(E::custom(message));
        }
        Ok(())
    }

    /// Remembers what is wrong; of several errors on the way up the first counts.
    pub(crate) fn fail<E: Error>(&self, at: Position, path: &Path<'_>, message: String) -> E {
        let spot = if at == Position::ROOT { Spot::Nowhere } else { Spot::At(at) };
        let error = E::custom(&message);
        let fault = Fault { spot, path: path.to_string(), message, source: None };
        self.failure.borrow_mut().get_or_insert(fault);
        error
    }
}

/// A YAML path, without allocating on the way down.
#[derive(Clone, Copy)]
pub(crate) enum Path<'a> {
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
