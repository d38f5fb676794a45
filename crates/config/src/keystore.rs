//! Reads the section `keystore`: where the keys are stored.

use std::path::PathBuf;

use crate::aws::{self, AwsKeystore, AwsSection};
use crate::cursor::Cursor;
use crate::error::Fault;
use crate::findings::Findings;
use crate::schema::{Field, Schema};
use crate::section::{Setting, Shape as _, section};
use crate::vault::{self, VaultKeystore, VaultSection};

/// The key store of a server, with its settings.
#[derive(Clone, Debug)]
pub enum Keystore {
    /// Files in a folder.
    Fs(FsKeystore),
    /// `HashiCorp` Vault or `OpenBao`.
    Vault(Box<VaultKeystore>),
    /// AWS Secrets Manager.
    Aws(Box<AwsKeystore>),
}

/// Settings of the filesystem store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FsKeystore {
    /// The folder; relative to the working directory.
    pub path: PathBuf,
}

section! {
    /// The key store: one of these sections is filled in.
    struct KeystoreSection<'a> {
        fs: FsSection<'a>,
        vault: VaultSection<'a>,
        aws: AwsSection<'a>,
    }
    unread {
        // Stores of KES that this build does not have.
        "gcp": Schema::Opaque,
        "azure": Schema::Opaque,
        "fortanix": Schema::Opaque,
        "gemalto": Schema::Opaque,
        "entrust": Schema::Opaque,
        // Stores that older versions of KES had, or that its documents name.
        "encryptedfs": Schema::Opaque,
        "generic": Schema::Opaque,
        "credhub": Schema::Opaque,
        "mem": Schema::Opaque,
        "kes": Schema::Opaque,
    }

    /// The filesystem store.
    struct FsSection<'a> {
        /// The folder.
        path: Setting<'a>,
    }
}

/// The stores that KES has dropped.
const DROPPED: [&str; 5] = ["encryptedfs", "generic", "credhub", "mem", "kes"];

/// Reads the section `keystore`.
pub(crate) fn read(keystore: &KeystoreSection<'_>, findings: &mut Findings) -> Option<Keystore> {
    match choose(keystore) {
        Ok((name, place)) => read_store(keystore, name, &place, findings),
        Err(fault) => {
            // The faults in the sections of the stores are reported as well,
            for name in supported() {
                let place = keystore.field(name);
                if !place.is_blank() {
                    let mut inside = Findings::default();
                    read_store(keystore, name, &place, &mut inside);
                    // but not what is missing there.
                    findings.adopt(inside, |fault| fault.at != place.mark());
                }
            }
            findings.fault(fault);
            None
        }
    }
}

/// Returns the names of the stores that this build has.
fn supported() -> Vec<&'static str> {
    Field::of(*KeystoreSection::SCHEMA).known()
}

/// Reads the section of a store.
fn read_store(
    keystore: &KeystoreSection<'_>,
    name: &'static str,
    place: &Cursor<'_>,
    findings: &mut Findings,
) -> Option<Keystore> {
    if place.is_faulty() {
        None
    } else if place.is(&keystore.fs) {
        findings.keep(fs(&keystore.fs)).map(Keystore::Fs)
    } else if place.is(&keystore.vault) {
        vault::read(&keystore.vault, findings).map(Box::new).map(Keystore::Vault)
    } else if place.is(&keystore.aws) {
        aws::read(&keystore.aws, findings).map(Box::new).map(Keystore::Aws)
    } else {
        findings.keep(Err(unsupported(place, name)))
    }
}

/// Returns the one store that is configured. A section with empty texts only, as in reference files,
/// counts as absent unless it is the only one.
fn choose<'a>(keystore: &KeystoreSection<'a>) -> Result<(&'static str, Cursor<'a>), Fault> {
    let stores = KeystoreSection::SCHEMA.names().map(|name| (name, keystore.field(name)));
    let present: Vec<_> = stores.filter(|(_, place)| place.is_present()).collect();
    let filled: Vec<_> = present.iter().filter(|(_, place)| !place.is_blank()).collect();
    match (filled.as_slice(), present.as_slice()) {
        _ if keystore.is_faulty() => Err(Fault::known()),
        ([store], _) => Ok((*store).clone()),
        ([], [store]) => Ok(store.clone()),
        ([], _) if keystore.entries().iter().any(|(_, place)| place.is_faulty()) => {
            Err(Fault::known())
        }
        ([], _) => Err(keystore.fault(format!(
            "is missing; exactly one key store is wanted, and this build has {}",
            supported().join(", ")
        ))),
        _ => {
            let names: Vec<_> = filled.iter().map(|(name, _)| *name).collect();
            let names = names.join(" and ");
            Err(keystore.fault(format!("has {names}; exactly one key store is wanted")))
        }
    }
}

fn unsupported(place: &Cursor<'_>, name: &str) -> Fault {
    let what = if DROPPED.contains(&name) {
        "was dropped by KES itself; this build has"
    } else {
        "is not supported by this build, which has"
    };
    place.fault(format!("keystore '{name}' {what} fs, vault and aws (README, \"What works\")"))
}

fn fs(fs: &FsSection<'_>) -> Result<FsKeystore, Fault> {
    let path = fs.path.required("the path of the folder for the keys")?;
    Ok(FsKeystore { path: PathBuf::from(path.as_str()) })
}
