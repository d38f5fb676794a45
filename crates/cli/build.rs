//! Sets the environment variable `KES_COMMIT` for the binary's build: the commit that it is built from.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=KES_COMMIT");
    println!("cargo::rerun-if-changed=build.rs");
    // Packagers build without a git checkout and set the variable themselves.
    let commit =
        given("KES_COMMIT").or_else(commit_of_checkout).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=KES_COMMIT={commit}");
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
