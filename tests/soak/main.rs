//! Long runs that are kept out of the ordinary ones: `just soak-vault`.

mod chaos;
mod counters;
mod load;
mod vault;
