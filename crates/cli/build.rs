//! Tells the binary which commit it is built from, as `KES_COMMIT`, and lays the shipped one out.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=KES_COMMIT");
    println!("cargo::rerun-if-changed=build.rs");
    // A packager gives it, who builds without a checkout.
    let commit =
        given("KES_COMMIT").or_else(commit_of_checkout).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=KES_COMMIT={commit}");
    lay_out();
}

/// Has the linker put side by side what a serving process runs: the kernel maps 64 kB round each
/// function that runs, which is three quarters of a program whose functions lie as they come. For the
/// shipped profile alone, which `layout.ld` is made from, and for linkers that read it: GNU ld, LLD.
fn lay_out() {
    println!("cargo::rerun-if-changed=layout.ld");
    // The profile's folder is all that Cargo tells of a profile's name.
    let is_shipped = given("OUT_DIR").is_some_and(|path| path.contains("/dist/build/"));
    let system = ["CARGO_CFG_TARGET_OS", "CARGO_CFG_TARGET_ENV"].map(given);
    let is_gnu_linux = system.each_ref().map(Option::as_deref) == [Some("linux"), Some("gnu")];
    let reads_no_script = |flags: String| flags.contains("mold") || flags.contains("wild");
    if is_shipped
        && is_gnu_linux
        && !given("CARGO_ENCODED_RUSTFLAGS").is_some_and(reads_no_script)
        && let Some(folder) = given("CARGO_MANIFEST_DIR")
    {
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{folder}/layout.ld");
    }
}

/// A variable that is set and not empty.
#[expect(clippy::disallowed_methods, reason = "a build script's input is its environment")]
fn given(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The commit that is checked out; none without git or outside of a checkout.
fn commit_of_checkout() -> Option<String> {
    let commit = git(&["rev-parse", "HEAD"])?;
    // HEAD names a branch, and the branch's file or the packed references name the commit.
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    for name in ["HEAD", "packed-refs"].into_iter().chain(branch.as_deref()) {
        // Cargo would build again and again for a file that does not exist.
        if let Some(path) = git(&["rev-parse", "--git-path", name])
            && Path::new(&path).exists()
        {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    Some(commit)
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}
