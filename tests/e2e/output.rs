//! Standard output has audit events only, and the banner shows the settings in force.

use std::process::Stdio;

use kes_harness::{Credential, Lines, Server, Setup, b64, kes, terminal};
use serde_json::{Value, json};

/// Does something on every route that changes keys, and on some that do not. Gives the paths of the
/// changes.
async fn use_keys(setup: &Setup, server: &Server) -> Vec<&'static str> {
    let mut admin = server.connect(setup.admin()).await;
    let import = json!({ "key": b64([1; 32]), "cipher": "AES256" }).to_string();
    admin.call("POST", "/v1/key/create/k").await.ok_empty();
    assert_eq!(admin.call("PUT", "/v1/key/create/k").await.status, 400);
    admin.post("/v1/key/import/i", &import).await.ok_empty();
    admin.post("/v1/key/generate/k", "{}").await.ok();
    admin.get("/v1/key/describe/k").await.ok();
    admin.get("/v1/status").await.ok();
    admin.get("/version").await.ok();
    admin.call("DELETE", "/v1/key/delete/k").await.ok_empty();
    assert_eq!(admin.call("DELETE", "/v1/key/delete/none").await.status, 404);
    let mut unknown = server.connect(&Credential::generate()).await;
    assert_eq!(unknown.call("POST", "/v1/key/create/x").await.status, 403);
    assert_eq!(unknown.get("/v1/key/describe/x").await.status, 403);
    vec![
        "200 POST /v1/key/create/k",
        "400 PUT /v1/key/create/k",
        "200 POST /v1/key/import/i",
        "200 DELETE /v1/key/delete/k",
        "404 DELETE /v1/key/delete/none",
        "403 POST /v1/key/create/x",
    ]
}

/// The events of a standard output, of which every line must be one.
fn events(stdout: &str) -> Vec<String> {
    let event = |line: &str| {
        let event: Value = serde_json::from_str(line).expect("every line is JSON");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let (method, path) = (text(&event["method"]), text(&event["request"]["path"]));
        format!("{} {method} {path}", event["response"]["code"])
    };
    stdout.lines().map(event).collect()
}

#[tokio::test]
async fn by_default_changes_of_keys_are_on_standard_output_and_nothing_else() {
    for log in [json!({}), json!({ "audit": "changes" }), json!({ "error": "debug" })] {
        let setup = Setup::new().with(json!({ "log": log }));
        let server = setup.start().await;
        let changes = use_keys(&setup, &server).await;
        let (stdout, _) = server.stop_and_read().await;
        assert_eq!(events(&stdout), changes, "{log}");
    }
}

#[tokio::test]
async fn with_the_audit_log_on_all_requests_are_on_standard_output_and_with_off_none() {
    for (audit, count) in [("on", 10), ("info", 10), ("debug", 10), ("off", 0), ("warn", 0)] {
        let setup = Setup::new().with(json!({ "log": { "audit": audit } }));
        let server = setup.start().await;
        use_keys(&setup, &server).await;
        let (stdout, _) = server.stop_and_read().await;
        assert_eq!(events(&stdout).len(), count, "{audit}: {stdout}");
    }
}

#[tokio::test]
async fn the_banner_is_one_line_of_the_log_with_the_levels_in_force() {
    for (log, levels) in [
        (json!({}), "error=warn audit=changes"),
        (json!({ "error": "on", "audit": "on" }), "error=warn audit=on"),
        (json!({ "error": "off", "audit": "error" }), "error=off audit=off"),
        (json!({ "error": "warn+2", "audit": "info" }), "error=warn+2 audit=on"),
    ] {
        let setup = Setup::new().with(json!({ "log": log }));
        let server = setup.start().await;
        let (url, admin) = (server.url(), setup.admin().identity().to_owned());
        let keys = setup.keys().display().to_string();
        let (stdout, stderr) = server.stop_and_read().await;
        assert_eq!(stdout, "");
        let banner: Vec<_> = stderr.lines().filter(|line| line.contains("Endpoints")).collect();
        let [banner] = banner[..] else { panic!("{stderr}") };
        for words in [url.as_str(), &admin, &keys, levels, "version=", "commit=", "mlock="] {
            assert!(banner.contains(words), "{words}: {banner}");
        }
    }
}

#[tokio::test]
async fn on_a_terminal_the_banner_is_on_standard_output() {
    let setup = Setup::new();
    let (ours, of_program) = terminal();
    let mut command = setup.command();
    command.stdout(Stdio::from(of_program)).stderr(Stdio::null());
    let child = command.spawn().expect("the server starts");
    drop(command);
    let shown = Lines::of(tokio::fs::File::from_std(ours.into()));
    for start in [
        "Version",
        "Endpoints   https://127.0.0.1:",
        "Address     127.0.0.1:",
        "Logs        error=warn audit=changes",
    ] {
        assert!(shown.find(|line| line.starts_with(start)).await.is_some(), "{start}");
    }
    drop(child);
}

#[tokio::test]
async fn with_dev_the_banner_is_on_standard_output() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = kes().command();
    command.args(["server", "--dev", "--addr", "127.0.0.1:0"]).env("TMPDIR", folder.path());
    let server = Server::launch(command, std::path::Path::new("")).await;
    server.dev_api_key().await;
    let (stdout, stderr) = server.stop_and_read().await;
    assert!(stdout.contains("Endpoints ") && stdout.contains("error=warn audit=changes"));
    assert!(!stderr.contains("Endpoints"), "{stderr}");
}
