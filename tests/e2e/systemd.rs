//! `deploy/systemd/kes.service`, installed by the steps that stand in it, with `config/fs.yaml` as it
//! is.
//!
//! The steps install below a folder instead of `/`, and for a user id that nothing else has. The
//! server is then started as systemd does it: as that user, in the unit's working directory, with
//! the unit's environment and mask. This takes root.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};

use kes_harness::caller::generate;
use kes_harness::guide::terminal;
use kes_harness::repository;
use kes_harness::{Credential, Finished, Server, finish, kes, skipped, tool};
use rustix::process::geteuid;
use tempfile::TempDir;
use tokio::process::Command;

/// A user and group that no machine has.
const UID: u32 = 61_373;

/// Where the steps install, in place of what is there.
const FOLDERS: [&str; 4] = ["/usr/local/bin", "/etc/kes", "/etc/systemd/system", "/var/lib/kes"];

const UNIT: &str = "deploy/systemd/kes.service";

/// The unit's fields.
struct Unit(BTreeMap<String, String>);

impl Unit {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).expect("the unit is there");
        let fields = text.lines().filter(|line| !line.starts_with('#'));
        let fields = fields.filter_map(|line| line.split_once('='));
        Self(fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    fn field(&self, name: &str) -> &str {
        self.0.get(name).unwrap_or_else(|| panic!("no {name}"))
    }
}

/// The commands in the unit's first lines.
fn steps() -> String {
    let unit = fs::read_to_string(repository().join(UNIT)).expect("the unit is there");
    let head = unit.lines().take_while(|line| line.starts_with('#'));
    head.filter_map(|line| line.strip_prefix("#   ")).flat_map(|line| [line, "\n"]).collect()
}

/// A machine as the steps leave it, in a folder.
struct Machine(TempDir);

impl Machine {
    /// Follows the steps; none without root.
    async fn install() -> Option<Self> {
        if !geteuid().is_root() {
            skipped("the systemd unit: only root can start a server as another user");
            return None;
        }
        let machine = Self(TempDir::new().expect("a temporary folder can be made"));
        machine.allow("", 0o755);
        for folder in ["usr/local/bin", "etc/systemd/system", "var/lib", "work/bin"] {
            fs::create_dir_all(machine.at(folder)).expect("the folder is ours");
        }
        let work = machine.at("work");
        for folder in ["config", "deploy"] {
            symlink(repository().join(folder), work.join(folder)).expect("the folder is ours");
        }
        fs::create_dir_all(work.join("target/release")).expect("the folder is ours");
        symlink(kes().path(), work.join("target/release/kes")).expect("the folder is ours");
        for name in ["useradd", "systemctl"] {
            machine.write(
                &format!("work/bin/{name}"),
                "#!/bin/sh\necho \"$(basename $0) $*\" >> done\n",
            );
            machine.allow(&format!("work/bin/{name}"), 0o755);
        }
        let script = machine.here(&steps());
        finish(&mut terminal(&work, &format!("umask 022\n{script}"))).await.ok();
        Some(machine)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path.trim_start_matches('/'))
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.at(path), text).expect("the folder is ours");
    }

    fn allow(&self, path: &str, mode: u32) {
        fs::set_permissions(self.at(path), fs::Permissions::from_mode(mode)).expect("it is ours");
    }

    fn own(&self, path: &str, uid: u32) {
        chown(self.at(path), Some(uid), Some(uid)).expect("root may do that");
    }

    /// A text with this machine's paths and user.
    fn here(&self, text: &str) -> String {
        let text = FOLDERS.iter().fold(text.to_owned(), |text, folder| {
            text.replace(folder, &self.at(folder).display().to_string())
        });
        let id = UID.to_string();
        text.replace("-o kes ", &format!("-o {id} ")).replace("-g kes ", &format!("-g {id} "))
    }

    /// Owner and permissions.
    fn mode(&self, path: &str) -> (u32, u32) {
        let metadata =
            fs::metadata(self.at(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        (metadata.uid(), metadata.mode() & 0o7777)
    }

    fn unit(&self) -> Unit {
        Unit::read(&self.at("/etc/systemd/system/kes.service"))
    }

    /// What systemd runs, on a port of its own.
    fn command(&self) -> Command {
        let unit = self.unit();
        assert_eq!((unit.field("User"), unit.field("Group")), ("kes", "kes"));
        let mut command = Command::new("sh");
        command
            .args(["-c", "umask \"$0\" && exec \"$@\" --addr 127.0.0.1:0", unit.field("UMask")])
            .args(self.here(unit.field("ExecStart")).split(' '))
            .current_dir(self.at(unit.field("WorkingDirectory")))
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .envs(self.environment(unit.field("EnvironmentFile")))
            .uid(UID)
            .gid(UID);
        command
    }

    /// What root reads from a file that may be missing when `-` stands before it.
    fn environment(&self, file: &str) -> Vec<(String, String)> {
        let text = match (fs::read_to_string(self.at(file.trim_start_matches('-'))), file) {
            (Ok(text), _) => text,
            (Err(_), file) if file.starts_with('-') => String::new(),
            (Err(error), _) => panic!("{file}: {error}"),
        };
        let lines = text.lines().filter_map(|line| line.split_once('='));
        lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    async fn start(&self) -> Server {
        Server::launch(self.command(), &self.at("/var/lib/kes/server.cert")).await
    }

    async fn refused(&self) -> Finished {
        let started = Server::try_launch(self.command(), Path::new("")).await;
        started.expect_err("it does not start")
    }

    async fn minio(&self) -> Credential {
        let file = |name: &str| self.at("work").join(name);
        let identity = ["identity".into(), "of".into(), file("minio.crt")];
        let identity = kes().run(&identity).await.ok();
        Credential::from_files(&file("minio.crt"), &file("minio.key"), &identity)
    }
}

#[tokio::test]
async fn the_unit_runs_as_installed() {
    let Some(machine) = Machine::install().await else { return };
    for (path, wanted) in [
        ("/etc/kes", (0, 0o750)),
        ("/etc/kes/config.yaml", (0, 0o640)),
        ("/etc/kes/environment", (0, 0o600)),
        ("/var/lib/kes", (UID, 0o700)),
        ("/var/lib/kes/server.key", (UID, 0o600)),
        ("/var/lib/kes/server.cert", (UID, 0o644)),
    ] {
        assert_eq!(machine.mode(path), wanted, "{path}");
    }
    assert!(!machine.at("work/server.key").exists());
    let done = fs::read_to_string(machine.at("work/done")).expect("the steps call both");
    assert!(done.starts_with("useradd --system") && done.ends_with("enable --now kes\n"), "{done}");

    let server = machine.start().await;
    let mut minio = server.connect(&machine.minio().await).await;
    generate(&mut minio, "minio-default-key").await.ok();
    let mut probe = server.dial().connect().await.expect("no certificate is needed");
    probe.get("/v1/ready").await.ok();
    assert_eq!(machine.mode("/var/lib/kes/keys"), (UID, 0o700));
    assert_eq!(machine.mode("/var/lib/kes/keys/minio-default-key"), (UID, 0o600));
    server.stop().await;
    // It starts again on what it has.
    machine.start().await.stop().await;
}

#[tokio::test]
async fn the_server_writes_nowhere_but_below_the_state_directory() {
    let Some(machine) = Machine::install().await else { return };
    let unit = machine.unit();
    let state = format!("/var/lib/{}", unit.field("StateDirectory"));
    assert!(Path::new(unit.field("WorkingDirectory")).starts_with(&state));
    assert_eq!(machine.mode(&state), (UID, 0o700));
    assert_eq!(unit.field("StateDirectoryMode"), "0700");
    assert_eq!(unit.field("ProtectSystem"), "strict");
    assert_eq!(unit.field("CapabilityBoundingSet"), "");
    let files = |folder: &Path| {
        let entries = fs::read_dir(folder).expect("the folder is there");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    };
    machine.start().await.stop().await;
    assert_eq!(files(&machine.at("/etc/kes")), ["config.yaml", "environment"]);
    assert_eq!(files(&machine.at(&state)), ["keys", "server.cert", "server.key"]);
}

#[tokio::test]
async fn files_of_another_owner_end_the_start_with_their_names() {
    let Some(machine) = Machine::install().await else { return };
    machine.start().await.stop().await;
    for path in ["/var/lib/kes/server.key", "/etc/kes/config.yaml", "/var/lib/kes/keys"] {
        let (owner, mode) = machine.mode(path);
        machine.own(path, 0);
        machine.allow(path, if path.ends_with("keys") { 0o700 } else { 0o600 });
        let refused = machine.refused().await;
        assert_eq!(refused.code, Some(1), "{refused:?}");
        let name = path.rsplit('/').next().expect("a name");
        let errors: Vec<&str> =
            refused.stderr.lines().filter(|line| line.starts_with("Error: ")).collect();
        assert!(errors.iter().any(|line| line.contains(name)), "{path}: {refused:?}");
        assert!(refused.stderr.contains("Permission denied"), "{path}: {refused:?}");
        machine.own(path, if path.starts_with("/etc") { 0 } else { owner });
        machine.allow(path, mode);
        if path.starts_with("/etc") {
            chown(machine.at(path), Some(0), Some(UID)).expect("root may do that");
        }
    }
    machine.start().await.stop().await;
}

#[tokio::test]
async fn a_missing_identity_is_named() {
    let Some(machine) = Machine::install().await else { return };
    fs::remove_file(machine.at("/etc/kes/environment")).expect("it is there");
    let refused = machine.refused().await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("MINIO_KES_IDENTITY"), "{refused:?}");
}

#[tokio::test]
async fn systemd_finds_nothing_wrong_with_the_unit() {
    let Some(analyze) = tool("systemd-analyze", None, "the systemd unit") else { return };
    let unit = fs::read_to_string(repository().join(UNIT)).expect("the unit is there");
    let program = kes().path().display().to_string();
    let folder = TempDir::new().expect("a temporary folder can be made");
    let file = folder.path().join("kes.service");
    // It fails if the program is not there.
    let unit = unit.replace("/usr/local/bin/kes server", &format!("{program} server"));
    let with_secret = unit.replace("#LoadCredential=", "LoadCredential=");
    let with_secret = with_secret.replace("#Environment=", "Environment=");
    for unit in [unit, with_secret] {
        fs::write(&file, unit).expect("the folder is ours");
        let mut command = Command::new(analyze.path());
        let finished = finish(command.arg("verify").arg(&file)).await;
        assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{finished:?}");
    }
}
