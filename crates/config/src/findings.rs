//! Collects the faults and warnings of a configuration file.

use std::collections::HashSet;
use std::path::Path;

use crate::error::{ConfigError, ConfigErrors, Fault, Mark, Warning};

/// The faults and warnings of a file, each once: those of an anchor occur again at every alias.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    faults: Vec<Fault>,
    warnings: Vec<Fault>,
    /// The position, field and message of each.
    seen: HashSet<(Mark, String, String)>,
}

impl Findings {
    /// Adds a fault.
    pub(crate) fn fault(&mut self, fault: Fault) {
        if !fault.is_known && self.is_new(&fault) {
            self.faults.push(fault);
        }
    }

    /// Adds a warning.
    pub(crate) fn warn(&mut self, warning: Fault) {
        if self.is_new(&warning) {
            self.warnings.push(warning);
        }
    }

    /// Returns the value; adds the fault that is there instead.
    pub(crate) fn keep<T>(&mut self, result: Result<T, Fault>) -> Option<T> {
        result.map_err(|fault| self.fault(fault)).ok()
    }

    /// Adds those faults of another collection that a predicate selects.
    pub(crate) fn adopt(&mut self, others: Self, is_wanted: impl Fn(&Fault) -> bool) {
        for fault in others.faults.into_iter().filter(is_wanted) {
            self.fault(fault);
        }
    }

    /// Returns whether there are faults.
    pub(crate) fn are_faulty(&self) -> bool {
        !self.faults.is_empty()
    }

    /// Returns the faults as the error of a file, in the order of the file.
    pub(crate) fn into_errors(mut self, file: &Path) -> ConfigErrors {
        sort(&mut self.faults);
        let error = |fault| ConfigError::new(file, fault);
        ConfigErrors::new(self.faults.into_iter().map(error).collect())
    }

    /// Returns the warnings, in the order of the file.
    pub(crate) fn into_warnings(mut self, file: &Path) -> Vec<Warning> {
        sort(&mut self.warnings);
        self.warnings.into_iter().map(|warning| Warning::new(file, warning)).collect()
    }

    fn is_new(&mut self, fault: &Fault) -> bool {
        match fault.at {
            Some(at) => {
                let field = fault.path.rsplit('.').next().unwrap_or_default().to_owned();
                self.seen.insert((at, field, fault.message.clone()))
            }
            None => true,
        }
    }
}

/// The result of reading a value.
pub(crate) trait Reading<T> {
    /// Returns the value; adds the fault that is there instead.
    fn reported(self, findings: &mut Findings) -> Option<T>;
}

impl<T> Reading<T> for Result<T, Fault> {
    fn reported(self, findings: &mut Findings) -> Option<T> {
        findings.keep(self)
    }
}

impl<T> Reading<T> for Option<T> {
    fn reported(self, _: &mut Findings) -> Self {
        self
    }
}

/// Reads every field of a struct, also after faults of others; returns the struct, or none after a
/// fault. An expression can use the fields before it, which are options there.
macro_rules! read_fields {
    ($findings:ident => $Struct:ident { $($field:ident: $value:expr),* $(,)? }) => {{
        $(let $field = $crate::findings::Reading::reported($value, $findings);)*
        Some($Struct { $($field: $field?),* })
    }};
}
pub(crate) use read_fields;

/// Sorts by the order of the file; faults without a position come last.
fn sort(faults: &mut [Fault]) {
    faults.sort_by_key(|fault| (fault.at.is_none(), fault.at));
}

/// Reads a section that is a file of its own; the error has a line for each fault.
#[cfg(test)]
pub(crate) fn of_section<T>(
    text: &str,
    schema: &'static crate::schema::Schema,
    environment: &dyn crate::environment::Environment,
    read: impl FnOnce(crate::cursor::Cursor<'_>, &mut Findings) -> Option<T>,
) -> Result<T, String> {
    let mut findings = Findings::default();
    let tree = crate::yaml::parse(text).map_err(|fault| fault.message)?;
    let root = crate::walk::read(&tree, schema, &mut findings).map_err(|fault| fault.message)?;
    let value = read(crate::cursor::Cursor::root(&root, environment), &mut findings);
    let line = |fault: &Fault| format!("{}: {}", fault.path, fault.message);
    let lines: Vec<_> = findings.faults.iter().map(line).collect();
    value.filter(|_| lines.is_empty()).ok_or_else(|| lines.join("\n"))
}
