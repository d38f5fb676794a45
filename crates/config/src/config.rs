//! Reads the configuration as a whole.

use std::collections::HashSet;
use std::path::Path;

use kes_policy::PolicySet;
use kes_types::KeyName;

use crate::address::ListenAddress;
use crate::api::{self, ApiOverride, RouteSection};
use crate::cache::{self, CacheExpiry, CacheSection};
use crate::cursor::Cursor;
use crate::environment::Environment;
use crate::error::{ConfigErrors, Fault, Warning};
use crate::file;
use crate::findings::{Findings, read_fields};
use crate::keystore::{self, Keystore, KeystoreSection};
use crate::limits::{self, Limits, LimitsSection};
use crate::log::{self, Log, LogSection};
use crate::policies::{self, AdminSection, PolicySection, Roles};
use crate::schema::Schema;
use crate::section::{List, Literal, Map, Opaque, Setting, Shape as _, section};
use crate::tls::{self, PROXY_ELSEWHERE, Tls, TlsSection};
use crate::{walk, yaml};

/// The longest configuration file, in bytes.
const FILE_BYTES_MAX: usize = 1 << 20;

section! {
    /// The whole file.
    struct FileSection<'a> {
        /// The version of the file's format.
        version: Literal<'a> = "v1",
        /// Where to listen, `host:port`.
        address: Setting<'a> = "0.0.0.0:7373",
        admin: AdminSection<'a>,
        /// What older files have in place of `admin.identity`.
        root: Opaque<'a>,
        tls: TlsSection<'a>,
        /// Settings of single routes, by path.
        api: Map<'a, RouteSection<'a>>,
        /// Policies, by name.
        policy: Map<'a, PolicySection<'a>>,
        cache: CacheSection<'a>,
        log: LogSection<'a>,
        limits: LimitsSection<'a>,
        /// Keys to create at start.
        keys: List<'a, KeySection<'a>> [
            hint: "; a key is written `- name: my-key`, and a key store belongs under `keystore`",
            maps_go_to: "keystore"
        ],
        keystore: KeystoreSection<'a>,
    }
    unread {
        "proxy": Schema::Refused(PROXY_ELSEWHERE),
        "enclave": Schema::NoEffect,
        // Anchors stand there, as in compose files.
        "x-*": Schema::Skipped,
    }

    /// A key to create at start.
    struct KeySection<'a> {
        name: Setting<'a>,
    }
}

/// A complete and valid configuration of a server.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address to listen on.
    pub address: ListenAddress,
    /// The key store.
    pub keystore: Keystore,
    /// Keys to create at start if they are missing; no name twice.
    pub keys: Vec<KeyName>,
    /// Limits on the resources and the time that clients can use.
    pub limits: Limits,
    /// The settings that can change while the server runs.
    pub live: Live,
    /// Warnings about probable mistakes, in the order of the file.
    pub warnings: Vec<Warning>,
}

/// The settings that can change while the server runs.
#[derive(Clone, Debug)]
pub struct Live {
    /// The admin and the policies.
    pub policies: PolicySet,
    /// The server's certificate, and the client certificates that it trusts.
    pub tls: Tls,
    /// Settings of single routes; no route twice.
    pub api: Vec<ApiOverride>,
    /// The expiry of cached keys.
    pub cache: CacheExpiry,
    /// The log levels.
    pub log: Log,
}

/// Reads a configuration file, the environment variables and the files that it names.
pub fn load(path: &Path, environment: &dyn Environment) -> Result<Config, ConfigErrors> {
    let refuse = |fault: Fault| {
        let mut findings = Findings::default();
        findings.fault(fault);
        findings.into_errors(path)
    };
    let limit = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX);
    let contents = file::read(path, limit).map_err(|error| {
        if error.kind() == std::io::ErrorKind::FileTooLarge {
            return refuse(too_large());
        }
        let message = format!("cannot read the file{}", file::relative_to(path));
        refuse(Fault::of_file(message).because(error))
    })?;
    let text = std::str::from_utf8(&contents.bytes).map_err(|error| {
        let before = contents.bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = before.split(|byte| *byte == b'\n').count();
        refuse(Fault::of_line(line, "the file is not UTF-8"))
    })?;
    parse(text, path, environment)
}

/// Reads a configuration from the text of a file; errors and warnings name that file. Reads the
/// files that the text names.
pub fn parse(
    text: &str,
    file: &Path,
    environment: &dyn Environment,
) -> Result<Config, ConfigErrors> {
    // The byte order mark of some editors is no part of the text.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut findings = Findings::default();
    match read(text, environment, &mut findings) {
        Some(config) if !findings.are_faulty() => {
            Ok(Config { warnings: findings.into_warnings(file), ..config })
        }
        _ => Err(findings.into_errors(file)),
    }
}

/// Reads all sections and reports all faults: a fault in one section
/// does not stop the others from being read.
fn read(text: &str, environment: &dyn Environment, findings: &mut Findings) -> Option<Config> {
    let size = if text.len() > FILE_BYTES_MAX { Err(too_large()) } else { Ok(()) };
    findings.keep(size)?;
    let tree = findings.keep(yaml::parse(text))?;
    let root = walk::read(&tree, FileSection::SCHEMA, findings);
    let root = findings.keep(root)?;
    let file = FileSection::at(Cursor::root(&root, environment));
    let version = findings.keep(version(&file.version));
    let (roles, policies) = policies::read(&file, findings);
    let config = read_fields!(findings => Config {
        address: address(&file.address),
        keystore: keystore::read(&file.keystore, findings),
        keys: Some(keys(&file.keys, findings)),
        limits: limits::read(&file.limits, findings),
        live: live(&file, &roles, policies, findings),
        warnings: Some(Vec::new()),
    });
    version.and(config)
}

fn live(
    file: &FileSection<'_>,
    roles: &Roles,
    policies: Option<PolicySet>,
    findings: &mut Findings,
) -> Option<Live> {
    read_fields!(findings => Live {
        policies: policies,
        api: Some(api::read(&file.api, findings)),
        cache: cache::read(&file.cache, findings),
        log: log::read(&file.log, findings),
        tls: tls::read(&file.tls, roles, findings),
    })
}

fn too_large() -> Fault {
    Fault::of_file("the file is larger than 1 MiB")
}

fn version(place: &Cursor<'_>) -> Result<(), Fault> {
    let text = place.text()?;
    if text.as_str() == "v1" {
        return Ok(());
    }
    Err(text.invalid("is not a version that is known; it wants v1"))
}

fn address(place: &Cursor<'_>) -> Result<ListenAddress, Fault> {
    let text = place.text()?;
    text.as_str().parse().map_err(|invalid| {
        text.fault(format!("the server cannot listen on {}", text.shown())).because(invalid)
    })
}

fn keys<'a>(list: &List<'a, KeySection<'a>>, findings: &mut Findings) -> Vec<KeyName> {
    let (mut keys, mut seen) = (Vec::new(), HashSet::new());
    for item in list.items() {
        // A key that is named twice is created once.
        if let Some(name) = findings.keep(key_name(&item.name))
            && seen.insert(name.clone())
        {
            keys.push(name);
        }
    }
    keys
}

fn key_name(place: &Cursor<'_>) -> Result<KeyName, Fault> {
    let text = place.required("the name of a key")?;
    KeyName::parse(text.as_str()).map_err(|invalid| text.invalid("is no key name").because(invalid))
}
