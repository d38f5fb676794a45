//! Rules of the architecture that a machine can check.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// Words that the field does not use, and what it uses instead.
const PRIVATE_WORDS: [(&str, &str); 12] = [
    ("bell", "wake flag"),
    ("cured", "recovered"),
    ("departure", "leader"),
    ("exam", "suite"),
    ("greet", "ping"),
    ("keeper", "refresher"),
    ("lane", "concurrency limit"),
    ("landing", "result"),
    ("luck", "jitter"),
    ("nudge", "wake"),
    ("sequel", "next step"),
    ("stranger", "identity without a policy, unauthenticated peer"),
];

/// What each of our packages may depend on of ours. `kes` may depend on everything.
const DIRECTIONS: [(&str, &[&str]); 16] = [
    ("kes-fair", &[]),
    ("kes-types", &[]),
    ("kes-crypto", &["kes-types"]),
    ("kes-policy", &["kes-types"]),
    ("kes-store", &["kes-types"]),
    ("kes-config", &["kes-crypto", "kes-policy", "kes-types"]),
    ("kes-store-aws", &["kes-config", "kes-outbound", "kes-store", "kes-tls", "kes-types"]),
    ("kes-store-fs", &["kes-config", "kes-store", "kes-types"]),
    ("kes-store-vault", &["kes-config", "kes-outbound", "kes-store", "kes-tls", "kes-types"]),
    ("kes-tls", &["kes-crypto", "kes-types"]),
    ("kes-outbound", &["kes-tls"]),
    ("kes-keyring", &["kes-crypto", "kes-fair", "kes-policy", "kes-store", "kes-types"]),
    ("kes-client", &["kes-outbound", "kes-tls", "kes-types"]),
    (
        "kes-server",
        &[
            "kes-config",
            "kes-crypto",
            "kes-fair",
            "kes-keyring",
            "kes-policy",
            "kes-store",
            "kes-tls",
            "kes-types",
        ],
    ),
    ("kes-tests", &["kes-client", "kes-store", "kes-types"]),
    ("kes", ANY),
];

/// Who alone may depend on a package.
const ONLY: [(&str, &[&str]); 17] = [
    ("axum", &["kes-server"]),
    ("rustls", &["kes-tls", "kes-outbound", "kes-server", "kes-tests"]),
    ("tokio-rustls", &["kes-server", "kes-tests"]),
    ("rustls-webpki", &["kes-tls"]),
    ("aws-config", &["kes-store-aws"]),
    ("aws-credential-types", &["kes-store-aws"]),
    ("aws-sdk-kms", &["kes-store-aws"]),
    ("aws-sdk-secretsmanager", &["kes-store-aws"]),
    ("aws-smithy-http-client", &["kes-store-aws"]),
    ("aws-smithy-runtime-api", &["kes-store-aws"]),
    ("kes-store-aws", &["kes"]),
    ("kes-store-fs", &["kes"]),
    ("kes-store-vault", &["kes"]),
    ("vaultrs", &["kes-store-vault"]),
    ("rustify", &["kes-store-vault"]),
    ("reqwest", &["kes-outbound", "kes-client", "kes-store-aws", "kes-store-vault"]),
    ("kes-server", &["kes"]),
];

/// Packages without I/O and without tasks.
const SYNC: [&str; 4] = ["kes-types", "kes-crypto", "kes-policy", "kes-config"];

const ANY: &[&str] = &["*"];
const FILE_LINES_MAX: usize = 600;
const NO_NOUNS: [&str; 4] = ["util", "helpers", "common", "misc"];

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo describes the workspace")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// What a package is built from; what only its tests use does not count.
fn dependencies(package: &Package) -> BTreeSet<&str> {
    let built = package.dependencies.iter().filter(|it| it.kind != DependencyKind::Development);
    built.map(|dependency| dependency.name.as_str()).collect()
}

#[test]
fn dependencies_point_downwards() {
    let metadata = metadata();
    for package in metadata.workspace_packages() {
        let allowed = DIRECTIONS.iter().find(|(name, _)| *name == package.name.as_str());
        let (_, allowed) = allowed
            .unwrap_or_else(|| panic!("{}: say in DIRECTIONS what it may depend on", package.name));
        if *allowed == ANY {
            continue;
        }
        for dependency in dependencies(package) {
            let ours = dependency == "kes" || dependency.starts_with("kes-");
            assert!(!ours || allowed.contains(&dependency), "{} → {dependency}", package.name);
        }
    }
}

#[test]
fn each_dependency_with_an_owner_is_named_by_its_owner_alone() {
    let metadata = metadata();
    for package in metadata.workspace_packages() {
        for (dependency, owners) in ONLY {
            if dependencies(package).contains(dependency) {
                assert!(owners.contains(&package.name.as_str()), "{} → {dependency}", package.name);
            }
        }
    }
}

#[test]
fn words_rules_material_and_configuration_know_no_tasks_and_no_http() {
    let metadata = metadata();
    for package in metadata.workspace_packages() {
        if !SYNC.contains(&package.name.as_str()) {
            continue;
        }
        for dependency in dependencies(package) {
            for banned in ["tokio", "async-", "futures", "hyper", "http", "axum", "tower"] {
                assert!(!dependency.starts_with(banned), "{} → {dependency}", package.name);
            }
        }
    }
}

#[test]
fn each_package_has_the_workspace_s_license_and_lints() {
    let metadata = metadata();
    for package in metadata.workspace_packages() {
        assert_eq!(package.license.as_deref(), Some("Apache-2.0"), "{}", package.name);
        let manifest = read(package.manifest_path.as_std_path());
        assert!(manifest.contains("[lints]\nworkspace = true"), "{}", package.name);
        assert!(manifest.contains("license.workspace = true"), "{}", package.name);
        assert!(package.description.is_some(), "{}", package.name);
    }
}

#[test]
fn each_folder_of_crates_is_a_member() {
    let metadata = metadata();
    let members: BTreeSet<PathBuf> = metadata
        .workspace_packages()
        .iter()
        .filter_map(|package| package.manifest_path.parent().map(|at| at.as_std_path().to_owned()))
        .collect();
    for entry in fs::read_dir(root().join("crates")).expect("crates are there") {
        let path = entry.expect("an entry").path();
        assert!(members.contains(&path), "{} is not a member", path.display());
    }
}

#[test]
fn files_are_short_and_named_after_nouns() {
    for path in sources() {
        let lines = read(&path).lines().count();
        assert!(lines <= FILE_LINES_MAX, "{}: {lines} lines", path.display());
        for part in path.iter().filter_map(|part| Path::new(part).file_stem()?.to_str()) {
            assert!(!NO_NOUNS.contains(&part), "{}: '{part}' says nothing", path.display());
        }
    }
}

#[test]
fn words_are_those_of_the_field() {
    let crates = sources();
    let docs = files_of(&root().join("docs"), "md").into_iter();
    for path in crates.chain(docs).chain([root().join("ARCHITECTURE.md")]) {
        for (at, line) in read(&path).lines().enumerate() {
            let line = line.to_lowercase();
            let mut words = line.split(|c: char| !c.is_alphanumeric());
            let private = words.find_map(|word| PRIVATE_WORDS.iter().find(|(not, _)| *not == word));
            if let Some((not, but)) = private {
                panic!("{}:{}: not '{not}', but {but}", path.display(), at + 1);
            }
        }
    }
}

#[test]
fn nothing_unwraps_outside_of_tests() {
    let shipped = |path: &PathBuf| path.iter().any(|part| part == "src") && !is_of_tests(path);
    for path in sources().filter(shipped) {
        let text = read(&path);
        let shipped = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        for (at, line) in shipped.lines().enumerate() {
            let code = line.trim_start();
            let unwraps = code.contains(".unwrap()") && !code.starts_with("//");
            assert!(!unwraps, "{}:{}: {line}", path.display(), at + 1);
        }
    }
}

#[test]
fn each_row_of_the_checklist_has_a_test() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e");
    let mut tests = String::new();
    for path in files_of(&folder, "rs") {
        tests.push_str(&read(&path));
    }
    // 50 is about reloading.
    for row in (1..=54).filter(|row| *row != 50) {
        assert!(tests.contains(&format!("fn row_{row}_")), "row {row} has no test");
    }
}

/// Whether a file is a module that only tests have.
fn is_of_tests(path: &Path) -> bool {
    let (Some(stem), Some(folder)) = (path.file_stem(), path.parent()) else { return false };
    let declaration = format!("#[cfg(test)]\nmod {};", stem.to_string_lossy());
    ["lib.rs", "main.rs", "mod.rs"]
        .iter()
        .map(|name| folder.join(name))
        .any(|module| module.is_file() && read(&module).contains(&declaration))
}

/// Rust files of our crates.
fn sources() -> impl Iterator<Item = PathBuf> {
    files_of(&root().join("crates"), "rs").into_iter()
}

/// Files with this extension in a folder and below.
fn files_of(folder: &Path, wanted: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.append(&mut files_of(&path, wanted));
        } else if path.extension().is_some_and(|extension| extension == wanted) {
            files.push(path);
        }
    }
    files
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
