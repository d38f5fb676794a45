//! Commands and configurations of the documentation, run as readers do.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use crate::program::kes;
use crate::repository;

/// A Markdown document of this repository.
#[derive(Clone, Debug)]
pub struct Document(String);

impl Document {
    /// Reads a document, by its path in the repository.
    ///
    /// # Panics
    /// If it is not there.
    pub fn read(path: &str) -> Self {
        let path = repository().join(path);
        Self(
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())),
        )
    }

    /// Returns the whole text.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Returns the section under a heading, with its subsections.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn section(&self, heading: &str) -> Self {
        let (_, rest) = self.0.split_once(heading).unwrap_or_else(|| panic!("no '{heading}'"));
        Self(rest.split("\n## ").next().unwrap_or_default().to_owned())
    }

    /// Returns the fenced blocks in a language, in their order.
    pub fn blocks(&self, language: &str) -> Vec<&str> {
        let fenced = self.0.split("```").skip(1).step_by(2);
        fenced.filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n')).collect()
    }

    /// Returns the one block of commands that has these words.
    ///
    /// # Panics
    /// If there is none or more than one.
    pub fn block(&self, words: &str) -> &str {
        let blocks = self.blocks("sh");
        let mut found = blocks.into_iter().filter(|block| block.contains(words));
        match (found.next(), found.next()) {
            (Some(block), None) => block,
            found => panic!("'{words}': {found:?}"),
        }
    }

    /// Returns the text between backquotes in sentences and tables.
    pub fn spans(&self) -> Vec<String> {
        let prose = self.0.split("```").step_by(2);
        let spans = prose.flat_map(|prose| prose.split('`').skip(1).step_by(2));
        spans.map(|span| span.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }
}

/// Returns a shell that runs a script in a folder, up to its first failure, with the binary under test and
/// the programs in the folder on its `PATH`, and with nothing of the machine's environment.
///
/// # Panics
/// If the folder cannot be written.
pub fn terminal(folder: &Path, script: &str) -> Command {
    let programs = folder.join("bin");
    fs::create_dir_all(&programs).expect("the folder can be written");
    if !programs.join("kes").exists() {
        symlink(kes().path(), programs.join("kes")).expect("the folder can be written");
    }
    let path = format!("{}:{}:/usr/bin:/bin", programs.display(), folder.display());
    let mut command = Command::new("sh");
    command
        .args(["-eu", "-c", script])
        .current_dir(folder)
        .env_clear()
        .env("PATH", path)
        .env("HOME", folder)
        .stdin(Stdio::null());
    command
}

/// Commands without those that build the binary, with the server that they end with in place of the
/// shell: it is the process then that a test starts and stops.
///
/// # Panics
/// If they start none.
pub fn serving(block: &str) -> String {
    let is_kept = |line: &&str| !line.starts_with("cargo ");
    let lines: String = block.lines().filter(is_kept).flat_map(|line| [line, "\n"]).collect();
    assert!(lines.contains("\nkes server "), "no server: {block}");
    lines.replace("\nkes server ", "\nexec kes server ")
}

/// A configuration with other fields in the section that starts with `head`, in place of those of
/// their names and of the one left out. `indent` is what stands before each of its fields.
///
/// # Panics
/// If `part` has no field.
pub fn changed(head: &str, indent: &str, configuration: &str, part: &str, without: &str) -> String {
    let part = fields(indent, part);
    assert!(!part.is_empty());
    let is_kept = |name: &String| name != without && part.iter().all(|(other, _)| other != name);
    let kept = fields(indent, configuration).into_iter().filter(|(name, _)| is_kept(name));
    let all = kept.chain(part.clone()).map(|(_, text)| text);
    format!("{head}{}", all.collect::<String>())
}

/// The fields of a section, each with its name.
fn fields(indent: &str, text: &str) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        let Some(field) = line.strip_prefix(indent) else { continue };
        if !field.starts_with(' ') {
            fields.push((field.split(':').next().unwrap_or_default().to_owned(), String::new()));
        }
        let (_, text) = fields.last_mut().expect("a section starts with a field");
        text.extend([line, "\n"]);
    }
    fields
}
