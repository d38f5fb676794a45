//! The Go client in `clients/go`: another TLS and HTTP stack, with the behaviour of `MinIO`'s.

use std::ffi::OsStr;

use tokio::process::Command;

use crate::need::tool;
use crate::pki::Credential;
use crate::program::{finish, prepare};
use crate::server::Server;

/// Runs checks of the Go client over h2 and HTTP/1.1, TLS 1.2 and 1.3; does nothing without
/// Go.
///
/// # Panics
/// If a check fails.
pub async fn check(server: &Server, credential: &Credential, checks: &[&str]) {
    check_with(server, credential, &[], checks).await;
}

/// Runs checks of the Go client with variables in its environment.
///
/// # Panics
/// If a check fails.
pub async fn check_with(
    server: &Server,
    credential: &Credential,
    environment: &[(&str, &OsStr)],
    checks: &[&str],
) {
    let what = format!("Go client: {}", checks.join(", "));
    let Some(go) = tool("go", None, &what) else { return };
    let mut command = Command::new(go.path());
    prepare(&mut command);
    command
        .args(["run", ".", "-endpoint", &server.url(), "-ca"])
        .arg(server.certificate_file().as_os_str())
        .args(checks.iter().map(OsStr::new))
        .current_dir(crate::repository().join("tests/clients/go"))
        .env("KES_API_KEY", credential.api_key())
        .env("GOFLAGS", "-mod=readonly")
        .env("GOTOOLCHAIN", "local")
        .envs(environment.iter().copied());
    let finished = finish(&mut command).await;
    let (stdout, stderr) = (&finished.stdout, &finished.stderr);
    assert_eq!(finished.code, Some(0), "{what}\n{stdout}\n{stderr}");
    let passed = stdout.lines().filter(|line| line.starts_with("ok ")).count();
    assert!(passed >= checks.len(), "{what}: too few checks ran\n{stdout}");
}
