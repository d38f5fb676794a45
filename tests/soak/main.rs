//! Long runs, which are not part of the ordinary tests: `just soak-vault`.

mod chaos;
mod counters;
mod load;
mod vault;
