//! Writes the audit log and the error log, and folds repeated lines.

pub(crate) mod audit;
mod audit_line;
pub(crate) mod failures;
pub(crate) mod fold;
pub(crate) mod folded;
mod line_buffer;
mod line_writer;
pub(crate) mod refusal;
pub(crate) mod refusals;
pub(crate) mod stream;
