//! Rules of the architecture that a machine can check, each stated here alone.
//!
//! An allow-list holds exactly what there is: an entry that nothing needs any more fails the test
//! until it is removed.

mod compatibility;
mod files;
mod words;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// What each of our packages depends on of ours; what only its tests use is in [`FOR_TESTS`].
const DIRECTIONS: [(&str, &[&str]); 17] = [
    ("kes-fair", &[]),
    ("kes-types", &[]),
    ("kes-crypto", &["kes-types"]),
    ("kes-policy", &["kes-types"]),
    ("kes-store", &["kes-types"]),
    ("kes-config", &["kes-crypto", "kes-policy", "kes-tls", "kes-types"]),
    ("kes-store-aws", &["kes-config", "kes-outbound", "kes-store", "kes-tls", "kes-types"]),
    ("kes-store-fs", &["kes-store", "kes-types"]),
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
    (
        "kes",
        &[
            "kes-client",
            "kes-config",
            "kes-crypto",
            "kes-keyring",
            "kes-outbound",
            "kes-policy",
            "kes-server",
            "kes-store",
            "kes-store-aws",
            "kes-store-fs",
            "kes-store-vault",
            "kes-types",
        ],
    ),
    ("kes-harness", &[]),
    ("kes-tests", &["kes-harness"]),
];

/// What of ours the tests of a package depend on beyond that: the conformance suite and the harness.
const FOR_TESTS: [(&str, &[&str]); 6] = [
    ("kes-crypto", &["kes-harness"]),
    ("kes-store", &["kes-crypto", "kes-store"]),
    ("kes-store-aws", &["kes-crypto", "kes-harness", "kes-store"]),
    ("kes-store-fs", &["kes-crypto", "kes-store"]),
    ("kes-store-vault", &["kes-crypto", "kes-harness", "kes-store"]),
    ("kes-server", &["kes-harness"]),
];

/// Dependencies that have owners: no other package depends on them.
const OWNERS: [(&str, &[&str]); 18] = [
    ("axum", &["kes-server"]),
    ("rustls", &["kes-tls", "kes-outbound", "kes-server", "kes-harness", "kes-tests"]),
    ("tokio-rustls", &["kes-server", "kes-harness", "kes-tests"]),
    ("rustls-pemfile", &["kes-crypto"]),
    ("rustls-webpki", &["kes-tls"]),
    ("serde_yaml", &["kes-config"]),
    ("aws-config", &["kes-store-aws"]),
    ("aws-credential-types", &["kes-store-aws"]),
    ("aws-sdk-kms", &["kes-store-aws"]),
    ("aws-sdk-secretsmanager", &["kes-store-aws"]),
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

/// How the names of dependencies begin that such packages do not have.
const ASYNC: [&str; 7] = ["tokio", "async-", "futures", "hyper", "http", "axum", "tower"];

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

/// Returns what a package is built from, or what only its tests use.
fn dependencies(package: &Package, of_tests: bool) -> BTreeSet<&str> {
    package
        .dependencies
        .iter()
        .filter(|it| (it.kind == DependencyKind::Development) == of_tests)
        .map(|dependency| dependency.name.as_str())
        .collect()
}

fn is_ours(package: &str) -> bool {
    package == "kes" || package.starts_with("kes-")
}

/// Asserts that `table` says which packages of ours each package depends on.
fn assert_table(table: &[(&str, &[&str])], of_tests: bool) {
    let metadata = metadata();
    let packages = metadata.workspace_packages();
    let members: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    for (name, _) in table {
        assert!(members.contains(name), "{name} is no package");
    }
    for package in packages {
        let allowed = table.iter().find(|(name, _)| *name == package.name.as_str());
        let allowed = allowed.map(|(_, allowed)| allowed.iter().copied().collect());
        let mut ours = dependencies(package, of_tests);
        ours.retain(|dependency| is_ours(dependency));
        assert_eq!(ours, allowed.unwrap_or_default(), "{}", package.name);
    }
}

#[test]
fn dependencies_point_downwards() {
    assert_table(&DIRECTIONS, false);
}

#[test]
fn only_tests_of_stores_and_the_benchmark_use_other_packages_of_ours() {
    assert_table(&FOR_TESTS, true);
}

#[test]
fn each_dependency_with_an_owner_is_named_by_its_owners_alone() {
    let metadata = metadata();
    for (dependency, owners) in OWNERS {
        let users: BTreeSet<&str> = metadata
            .workspace_packages()
            .into_iter()
            .filter(|package| dependencies(package, false).contains(dependency))
            .map(|package| package.name.as_str())
            .collect();
        assert_eq!(users, owners.iter().copied().collect(), "who depends on {dependency}");
    }
}

#[test]
fn types_crypto_policy_and_configuration_know_no_tasks_and_no_http() {
    let metadata = metadata();
    for name in SYNC {
        let packages = metadata.workspace_packages();
        let package = packages.into_iter().find(|package| package.name.as_str() == name);
        let package = package.unwrap_or_else(|| panic!("{name} is no package"));
        for dependency in dependencies(package, false) {
            let is_async = ASYNC.iter().any(|banned| dependency.starts_with(banned));
            assert!(!is_async, "{name} → {dependency}");
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

/// Returns the files with an extension in a folder and below, in order.
fn files_of(folder: &Path, wanted: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.is_dir() && !hidden {
            files.append(&mut files_of(&path, wanted));
        } else if path.extension().is_some_and(|extension| extension == wanted) {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns a path as it is written in the repository.
fn in_repository(path: &Path) -> String {
    path.strip_prefix(root()).expect("a file of the repository").to_string_lossy().into_owned()
}
