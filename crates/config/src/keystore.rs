//! Where the keys are kept.

use std::path::PathBuf;

use crate::aws::{self, AwsKeystore};
use crate::cursor::Cursor;
use crate::error::Fault;
use crate::findings::Findings;
use crate::vault::{self, VaultKeystore};

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

/// The stores that this build has.
const SUPPORTED: [&str; 3] = ["fs", "vault", "aws"];

/// The stores of KES that this build does not have.
const UNSUPPORTED: [&str; 5] = ["gcp", "azure", "fortanix", "gemalto", "entrust"];

/// The stores that KES has no longer.
const DROPPED: [&str; 5] = ["encryptedfs", "generic", "credhub", "mem", "kes"];

/// Reads the section `keystore`.
pub(crate) fn read(keystore: &Cursor<'_>, findings: &mut Findings) -> Option<Keystore> {
    let name = match choose(keystore) {
        Ok(name) => name,
        Err(fault) => {
            // What is wrong in the stores of which one is to go is told as well.
            for name in SUPPORTED {
                let place = keystore.field(name);
                if !place.is_blank() {
                    let mut inside = Findings::default();
                    read_store(keystore, name, &mut inside);
                    // But not what is missing in it.
                    findings.adopt(inside, |fault| fault.at != place.mark());
                }
            }
            findings.fault(fault);
            return None;
        }
    };
    read_store(keystore, name, findings)
}

/// Reads the section of a store.
fn read_store(
    keystore: &Cursor<'_>,
    name: &'static str,
    findings: &mut Findings,
) -> Option<Keystore> {
    let place = keystore.field(name);
    if place.is_faulty() {
        return None;
    }
    match name {
        "fs" => findings.keep(fs(&place)).map(Keystore::Fs),
        "vault" => vault::read(&place, findings).map(Box::new).map(Keystore::Vault),
        "aws" => aws::read(&place, findings).map(Box::new).map(Keystore::Aws),
        _ => findings.keep(Err(unsupported(&place, name))),
    }
}

/// The one store that is configured. A section that is blank throughout, as reference files have
/// it, is as good as none, unless it is the only one.
fn choose(keystore: &Cursor<'_>) -> Result<&'static str, Fault> {
    let is_present = |name: &&str| keystore.field(name).is_present();
    let known = SUPPORTED.into_iter().chain(UNSUPPORTED).chain(DROPPED);
    let present: Vec<_> = known.filter(is_present).collect();
    let is_filled = |name: &&&str| !keystore.field(name).is_blank();
    let filled: Vec<_> = present.iter().filter(is_filled).copied().collect();
    match (filled.as_slice(), present.as_slice()) {
        _ if keystore.is_faulty() => Err(Fault::known()),
        ([name], _) | ([], [name]) => Ok(name),
        ([], _) if keystore.entries().iter().any(|(_, place)| place.is_faulty()) => {
            Err(Fault::known())
        }
        ([], _) => Err(keystore.fault(format!(
            "is missing; exactly one key store is wanted, and this build has {}",
            SUPPORTED.join(", ")
        ))),
        _ => Err(keystore
            .fault(format!("has {}; exactly one key store is wanted", filled.join(" and ")))),
    }
}

fn unsupported(place: &Cursor<'_>, name: &str) -> Fault {
    let what = if DROPPED.contains(&name) {
        "was dropped by KES itself; this build has"
    } else {
        "is not supported by this build, which has"
    };
    let [others @ .., last] = SUPPORTED;
    let stores = format!("{} and {last}", others.join(", "));
    place.fault(format!("keystore '{name}' {what} {stores} (README, \"What works\")"))
}

fn fs(fs: &Cursor<'_>) -> Result<FsKeystore, Fault> {
    let path = fs.field("path").required("the path of the folder for the keys")?;
    Ok(FsKeystore { path: PathBuf::from(path.as_str()) })
}
