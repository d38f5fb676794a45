//! The audit log, the error log, and the folding of repeated lines.

pub(crate) mod audit;
pub(crate) mod failures;
pub(crate) mod fold;
pub(crate) mod folded;
pub(crate) mod line_buffer;
pub(crate) mod refusal;
pub(crate) mod refusals;
pub(crate) mod stream;
