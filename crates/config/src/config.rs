//! The configuration as a whole.

use std::collections::HashSet;
use std::path::Path;

use kes_policy::PolicySet;
use kes_types::KeyName;

use crate::address::ListenAddress;
use crate::api::{self, ApiOverride};
use crate::cache::{self, CacheExpiry};
use crate::cursor::Cursor;
use crate::environment::Environment;
use crate::error::{ConfigError, Fault, Warning, Warnings};
use crate::file;
use crate::keystore::{self, Keystore};
use crate::log::{self, Log};
use crate::policies;
use crate::tls::{self, Tls};
use crate::yaml;

/// The longest configuration file, in bytes.
const FILE_BYTES_MAX: usize = 1 << 20;

/// A configuration that can be served from.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen.
    pub address: ListenAddress,
    /// Where the keys are.
    pub keystore: Keystore,
    /// Keys to create at start where they are missing; no name twice.
    pub keys: Vec<KeyName>,
    /// What can change while the server runs.
    pub live: Live,
    /// What is probably not meant as it is written, in the file's order of sections.
    pub warnings: Vec<Warning>,
}

/// What can change while the server runs.
#[derive(Clone, Debug)]
pub struct Live {
    /// Who may do what.
    pub policies: PolicySet,
    /// The server's certificate, and whom it believes.
    pub tls: Tls,
    /// Settings of single routes; no route twice.
    pub api: Vec<ApiOverride>,
    /// How long keys stay in memory.
    pub cache: CacheExpiry,
    /// What is logged.
    pub log: Log,
}

/// Reads a configuration file, the environment variables and the files that it names.
pub fn load(path: &Path, environment: &dyn Environment) -> Result<Config, ConfigError> {
    let refuse = |fault: Fault| fault.into_error(path, "");
    let limit = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX);
    let contents = file::read(path, limit).map_err(|error| match error.kind() {
        std::io::ErrorKind::FileTooLarge => refuse(too_large()),
        _ => refuse(Fault::of_file("cannot read the file").because(error)),
    })?;
    let text = std::str::from_utf8(&contents.bytes).map_err(|error| {
        let before = contents.bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = before.split(|byte| *byte == b'\n').count();
        let spot = crate::error::Spot::Line(line);
        refuse(Fault { spot, ..Fault::of_file("the file is not UTF-8") })
    })?;
    parse(text, path, environment)
}

/// Reads a configuration from the text of a file; errors and warnings name that file. Reads the
/// files that the text names.
pub fn parse(
    text: &str,
    file: &Path,
    environment: &dyn Environment,
) -> Result<Config, ConfigError> {
    // The byte order mark of some editors is no part of the text.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut warnings = Warnings::default();
    let config = read(text, environment, &mut warnings);
    let mut config = config.map_err(|fault| fault.into_error(file, text))?;
    config.warnings = warnings.resolve(file, text);
    Ok(config)
}

fn read(
    text: &str,
    environment: &dyn Environment,
    warnings: &mut Warnings,
) -> Result<Config, Fault> {
    if text.len() > FILE_BYTES_MAX {
        return Err(too_large());
    }
    let root = yaml::parse(text)?;
    let file = Cursor::root(&root, environment);
    version(&file.field("version"))?;
    let address = address(&file.field("address"))?;
    let roles = policies::read(&file, warnings)?;
    let api = api::read(&file.field("api"))?;
    let cache = cache::read(&file.field("cache"))?;
    let log = log::read(&file.field("log"))?;
    let keys = keys(&file.field("keys"))?;
    let keystore = keystore::read(&file.field("keystore"), warnings)?;
    // Last, since it reads other files: what this file says is checked before.
    let tls = tls::read(&file.field("tls"), &roles, warnings)?;
    let live = Live { policies: roles.policies, tls, api, cache, log };
    Ok(Config { address, keystore, keys, live, warnings: Vec::new() })
}

fn too_large() -> Fault {
    Fault::of_file("the file is larger than 1 MiB")
}

fn version(place: &Cursor<'_>) -> Result<(), Fault> {
    let text = place.text()?;
    if text.is_empty() || text.as_str() == "v1" {
        return Ok(());
    }
    Err(text.fault(format!("{} is not a version that is known; it wants v1", text.shown())))
}

fn address(place: &Cursor<'_>) -> Result<ListenAddress, Fault> {
    let text = place.text()?;
    if text.is_empty() {
        return Ok(ListenAddress::default());
    }
    text.as_str().parse().map_err(|invalid| {
        text.fault(format!("the server cannot listen on {}", text.shown())).because(invalid)
    })
}

fn keys(list: &Cursor<'_>) -> Result<Vec<KeyName>, Fault> {
    let (mut keys, mut seen) = (Vec::new(), HashSet::new());
    for item in list.items() {
        let text = item.field("name").required("the name of a key")?;
        let name = KeyName::parse(text.as_str()).map_err(|invalid| {
            text.fault(format!("{} is no key name", text.shown())).because(invalid)
        })?;
        // A key that is named twice is created once.
        if seen.insert(name.clone()) {
            keys.push(name);
        }
    }
    Ok(keys)
}
