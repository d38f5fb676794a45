//! Lists keys page by page.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use kes_types::KeyName;

/// Selects the names on one page of a listing.
#[derive(Clone, Debug)]
pub struct ListQuery {
    /// The prefix of every returned name; an empty prefix matches all names.
    pub prefix: String,
    /// The first name to return, inclusive: `next` of the previous page.
    pub from: Option<KeyName>,
    /// The maximum number of names to return.
    pub limit: NonZeroUsize,
}

impl ListQuery {
    /// Returns whether `name` matches the prefix and does not precede `from`, so that it is on this
    /// page or a later one.
    pub fn wants(&self, name: &KeyName) -> bool {
        name.as_str().starts_with(&self.prefix)
            && self.from.as_ref().is_none_or(|from| name >= from)
    }
}

/// A page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Names in byte order, each of them once.
    pub names: Vec<KeyName>,
    /// The first name after this page; none on the last page.
    pub next: Option<KeyName>,
}

impl Page {
    /// Selects the page from all names of a backend that cannot page itself. The names may be in
    /// any order and repeated. At most `query.limit + 1` names are held at a time.
    pub fn select(names: impl IntoIterator<Item = KeyName>, query: &ListQuery) -> Self {
        let mut picked = BTreeSet::new();
        for name in names.into_iter().filter(|name| query.wants(name)) {
            picked.insert(name);
            if picked.len() > query.limit.get() + 1 {
                picked.pop_last();
            }
        }
        let next = if picked.len() > query.limit.get() { picked.pop_last() } else { None };
        Self { names: picked.into_iter().collect(), next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_join_into_the_whole_listing() {
        let names: Vec<KeyName> =
            ["b", "a", "my-2", "my-1", "a", "c"].map(|n| KeyName::parse(n).unwrap()).into();
        for limit in 1..7 {
            let mut query = ListQuery {
                prefix: String::new(),
                from: None,
                limit: NonZeroUsize::new(limit).unwrap(),
            };
            let mut all = Vec::new();
            loop {
                let page = Page::select(names.clone(), &query);
                assert!(page.names.len() <= limit);
                all.extend(page.names);
                match page.next {
                    Some(next) => query.from = Some(next),
                    None => break,
                }
            }
            assert_eq!(
                all.iter().map(KeyName::as_str).collect::<Vec<_>>(),
                ["a", "b", "c", "my-1", "my-2"]
            );
        }
    }
}
