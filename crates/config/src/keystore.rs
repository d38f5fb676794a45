//! Where the keys are kept.

use std::path::PathBuf;

use crate::aws::{self, AwsKeystore};
use crate::cursor::Cursor;
use crate::error::{Fault, Warnings};
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

/// The stores that this build has. The others are read, where they can be, and refused.
const SUPPORTED: [&str; 3] = ["fs", "vault", "aws"];

/// The stores that a configuration can name.
const KNOWN: [&str; 8] = ["fs", "vault", "aws", "gcp", "azure", "fortanix", "gemalto", "entrust"];

/// Reads the section `keystore`.
pub(crate) fn read(keystore: &Cursor<'_>, warnings: &mut Warnings) -> Result<Keystore, Fault> {
    let present = |name: &&&str| keystore.field(name).is_present();
    let present: Vec<_> = KNOWN.iter().filter(present).copied().collect();
    let name = match present.as_slice() {
        [] => {
            return Err(keystore.fault(format!(
                "is missing; exactly one key store is wanted, and this build has {}",
                SUPPORTED.join(", ")
            )));
        }
        [name] => *name,
        [..] => {
            return Err(keystore
                .fault(format!("has {}; exactly one key store is wanted", present.join(" and "))));
        }
    };
    let place = keystore.field(name);
    if !SUPPORTED.contains(&name) {
        return Err(unsupported(&place, name));
    }
    match name {
        "fs" => fs(&place).map(Keystore::Fs),
        "vault" => vault::read(&place, warnings).map(Box::new).map(Keystore::Vault),
        "aws" => aws::read(&place).map(Box::new).map(Keystore::Aws),
        _ => Err(unsupported(&place, name)),
    }
}

fn unsupported(place: &Cursor<'_>, name: &str) -> Fault {
    place.fault(format!("keystore '{name}' is not supported by this build"))
}

fn fs(fs: &Cursor<'_>) -> Result<FsKeystore, Fault> {
    let path = fs.field("path").required("the path of the folder for the keys")?;
    Ok(FsKeystore { path: PathBuf::from(path.as_str()) })
}
