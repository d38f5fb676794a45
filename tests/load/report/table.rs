//! Formats the table of results.

use crate::candidate::{Candidate, Turn};
use crate::number::text;

const HEAD: [&str; 7] = ["what", "kes", "against", "result", "target", "", "also"];

/// A row of the table: a result, and its target if it has one.
#[derive(Debug)]
pub(super) struct Row {
    what: String,
    kes: String,
    against: String,
    value: f64,
    unit: &'static str,
    max: Option<f64>,
    also: String,
}

impl Row {
    /// A figure of the key server.
    pub(super) fn new(what: &str, value: f64, unit: &'static str) -> Self {
        Self {
            what: what.to_owned(),
            kes: String::new(),
            against: String::new(),
            value,
            unit,
            max: None,
            also: String::new(),
        }
    }

    /// Adds the two figures of a comparison: the key server's and the other's.
    pub(super) fn of(mut self, (kes, against): (f64, f64), unit: &str) -> Self {
        self.kes = text(kes, unit);
        self.against = text(against, unit);
        self
    }

    /// The ratio of two candidates that were measured in alternation.
    pub(super) fn ratio(
        what: &str,
        (kes, against): (&Candidate, &Candidate),
        of: fn(&Turn) -> f64,
        unit: &str,
    ) -> Self {
        Self::new(what, kes.ratio_to(against, of), "")
            .of((kes.median(of), against.median(of)), unit)
    }

    /// Sets the target: the largest value that meets it.
    pub(super) fn at_most(self, max: f64) -> Self {
        Self { max: Some(max), ..self }
    }

    /// Sets the text of the column "also".
    pub(super) fn also(self, also: String) -> Self {
        Self { also, ..self }
    }

    fn cells(&self) -> [String; 7] {
        let verdict = self.max.map(|max| if self.value <= max { "met" } else { "MISSED" });
        [
            self.what.clone(),
            self.kes.clone(),
            self.against.clone(),
            text(self.value, self.unit),
            self.max.map(|max| format!("≤ {}", bound(max, self.unit))).unwrap_or_default(),
            verdict.unwrap_or_default().to_owned(),
            self.also.clone(),
        ]
    }
}

fn bound(max: f64, unit: &str) -> String {
    if unit.is_empty() { format!("{max:.2}") } else { format!("{max} {unit}") }
}

/// Formats the rows as a Markdown table with aligned columns.
pub(super) fn lines(rows: &[Row]) -> String {
    let cells: Vec<[String; 7]> = rows.iter().map(Row::cells).collect();
    let head = HEAD.map(str::to_owned);
    let widths: Vec<usize> = (0..HEAD.len())
        .map(|column| {
            let lengths = cells.iter().chain([&head]).map(|row| row[column].chars().count());
            lengths.max().unwrap_or(0).max(3)
        })
        .collect();
    let line = |row: &[String; 7]| {
        let padded = row.iter().zip(&widths).map(|(cell, width)| format!(" {cell:<width$} |"));
        format!("|{}", padded.collect::<String>())
    };
    let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let mut all = vec![line(&head), format!("| {} |", rules.join(" | "))];
    all.extend(cells.iter().map(line));
    all.join("\n")
}
