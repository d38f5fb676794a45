//! Parses the command line of `load`.

use std::env;
use std::str::FromStr;
use std::time::Duration;

use crate::floor::Floor;
use crate::load::Shape;
use crate::operation::Operation;
use crate::pair::Pair;
use crate::report::{Report, unknown_section};
use crate::soak::Soak;

const USAGE: &str = "\
usage:
  load report [--quick] [--only SECTION[,SECTION]] [--profile NAME] [--write FILE]
              sections: serial cpu handshake audit many memory start list storm open operations
  load pair   [--h1] [--connections N] [--streams N] [--rate N] [--rounds N] [--millis N]
              [--operation generate|decrypt|encrypt|status|handshake] [--bare] [--audit-stdout]
              [--plain-floor]
  load soak   [--minutes N]
  load floor  --cert FILE --key FILE [--one-task]

KES_BIN is the server's binary.
";

/// A subcommand of `load` with its options.
#[derive(Debug)]
pub(crate) enum Command {
    Floor(Floor),
    Pair(Pair),
    Report(Report),
    Soak(Soak),
}

/// Parses the arguments of this process.
pub(crate) fn parse() -> Result<Command, String> {
    let mut arguments = env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let mut options = Options(arguments.collect());
    let parsed = match command.as_str() {
        "floor" => Command::Floor(Floor {
            certificate: options.value("--cert")?.ok_or(USAGE)?.into(),
            key: options.value("--key")?.ok_or(USAGE)?.into(),
            in_one_task: options.flag("--one-task"),
        }),
        "pair" => Command::Pair(pair(&mut options)?),
        "report" => Command::Report(Report {
            is_quick: options.flag("--quick"),
            only: sections(options.value("--only")?)?,
            profile: options.value("--profile")?,
            write: options.value("--write")?.map(Into::into),
        }),
        "soak" => Command::Soak(Soak { minutes: options.number("--minutes", 60)? }),
        _ => return Err(USAGE.to_owned()),
    };
    match options.0.first() {
        None => Ok(parsed),
        Some(unknown) => Err(format!("unknown option {unknown}\n{USAGE}")),
    }
}

fn sections(only: Option<String>) -> Result<Option<String>, String> {
    match only.as_deref().and_then(unknown_section) {
        None => Ok(only),
        Some(unknown) => Err(format!("unknown section {unknown}\n{USAGE}")),
    }
}

fn pair(options: &mut Options) -> Result<Pair, String> {
    let shape = if options.flag("--h1") { Shape::BUSY_H1 } else { Shape::SERIAL };
    let mut shape = Shape {
        connections: options.number("--connections", 1)?,
        streams: options.number("--streams", 1)?,
        ..shape
    };
    let rate = options.number("--rate", 0)?;
    if rate > 0 {
        shape = shape.at(rate);
    }
    let operation = options.value("--operation")?;
    Ok(Pair {
        shape,
        operation: match operation.as_deref().unwrap_or("decrypt") {
            "handshake" => None,
            name => Some(Operation::parse(name).ok_or(USAGE)?),
        },
        rounds: options.number("--rounds", 8)?,
        length: Duration::from_millis(options.number("--millis", 1000)?),
        is_bare: options.flag("--bare"),
        audit_to_stdout: options.flag("--audit-stdout"),
        plain_floor: options.flag("--plain-floor"),
    })
}

struct Options(Vec<String>);

impl Options {
    fn flag(&mut self, name: &str) -> bool {
        let at = self.0.iter().position(|option| option == name);
        at.map(|at| self.0.remove(at)).is_some()
    }

    fn value(&mut self, name: &str) -> Result<Option<String>, String> {
        let Some(at) = self.0.iter().position(|option| option == name) else { return Ok(None) };
        if at + 1 == self.0.len() {
            return Err(format!("{name} needs a value\n{USAGE}"));
        }
        self.0.remove(at);
        Ok(Some(self.0.remove(at)))
    }

    fn number<N: FromStr>(&mut self, name: &str, default: N) -> Result<N, String> {
        match self.value(name)? {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| format!("{name}: '{text}' is not a number")),
        }
    }
}
