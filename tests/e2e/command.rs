//! The client commands against servers: endpoints, credentials, trust, proxies, and `kes status`.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use kes_harness::{Credential, Finished, Server, Setup, finish, kes, pki};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

/// Runs the command line with this environment and no other.
async fn run(environment: &[(&str, &str)], arguments: &[&str]) -> Finished {
    finish(kes().command().env_clear().envs(environment.iter().copied()).args(arguments)).await
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are UTF-8")
}

/// Writes a file into the folder of a setup.
fn file(setup: &Setup, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
    let path = setup.folder().join(name);
    fs::write(&path, contents).expect("the folder is ours");
    path
}

/// Gives the server of a setup another certificate for 127.0.0.1.
fn serve_with(setup: &Setup, change: impl FnOnce(&mut CertificateParams)) {
    let key = KeyPair::generate().expect("ring makes P-256 keys");
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("it is a name");
    change(&mut params);
    let certificate = params.self_signed(&key).expect("the parameters are sound");
    file(setup, "server.crt", certificate.pem());
    file(setup, "server.key", key.serialize_pem());
}

/// A port that refuses connections as long as the socket is there.
fn closed() -> (TcpSocket, String) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("loopback has free ports");
    let url = format!("https://{}", socket.local_addr().expect("it was just bound"));
    (socket, url)
}

/// The environment of the admin who trusts the certificate of the setup.
fn admin<'a>(setup: &'a Setup, servers: &'a str, certificate: &'a Path) -> [(&'a str, &'a str); 3] {
    [
        ("MINIO_KES_SERVER", servers),
        ("MINIO_KES_API_KEY", setup.admin().api_key()),
        ("SSL_CERT_FILE", text(certificate)),
    ]
}

#[tokio::test]
async fn status_shows_every_server_and_fails_when_one_does_not_answer() {
    let setup = Setup::new();
    let (first, second) = (setup.start().await, setup.start().await);
    let (_closed, closed) = closed();
    let certificate = setup.certificate_file();
    let servers = format!("{},{closed},{}", first.url(), second.url());
    let all = admin(&setup, &servers, &certificate);

    let long = run(&all, &["status"]).await;
    let error = format!("{closed}: connection failed: Connection refused (os error 111)");
    assert_eq!(long.code, Some(1), "{long:?}");
    assert!(long.stderr.starts_with(&format!("Error: {error}\nHint: ")), "{long:?}");
    let blocks: Vec<_> = long.stdout.split("\n\n").collect();
    for (block, server) in blocks.iter().zip([first.url(), closed.clone(), second.url()]) {
        assert!(block.starts_with(&format!("Server      {server}\n")), "{long:?}");
    }
    assert_eq!(blocks.len(), 3, "{long:?}");
    assert!(
        blocks[1].ends_with("\nError       connection failed: Connection refused (os error 111)")
    );
    assert!(blocks[0].contains("\nKey store   online, "), "{long:?}");
    assert!(blocks[2].contains("\nCertificate valid until 4096-01-01T00:00:00Z, "), "{long:?}");

    let short = run(&all, &["status", "-s"]).await;
    assert_eq!(short.code, Some(1));
    let reason = "error: connection failed: Connection refused (os error 111)";
    let lines = format!("{} online\n{closed} {reason}\n{} online\n", first.url(), second.url());
    assert_eq!(short.stdout, lines);

    let finished = run(&all, &["status", "--json"]).await;
    assert_eq!(finished.code, Some(1));
    let list: Value = serde_json::from_str(&finished.stdout).expect("JSON alone");
    assert_eq!(list[0]["endpoint"], json!(first.url()));
    assert_eq!(list[1]["endpoint"], json!(closed));
    assert_eq!(list[1]["error"], json!("connection failed: Connection refused (os error 111)"));
    assert_eq!(list[2]["certificate_not_after"], json!("4096-01-01T00:00:00Z"));
    assert!(list[2]["version"].is_string() && list[2]["error"].is_null(), "{list}");

    let both = format!("{},{}", first.url(), second.url());
    let well = run(&all, &["status", "--short", "--server", &both]).await;
    let lines = format!("{} online\n{} online\n", first.url(), second.url());
    assert_eq!((well.code, well.stdout, well.stderr), (Some(0), lines, String::new()));
}

#[tokio::test]
async fn status_fails_without_a_key_store_or_without_permission() {
    let setup = Setup::new();
    let server = setup.start().await;
    let (url, certificate) = (server.url(), setup.certificate_file());
    let all = admin(&setup, &url, &certificate);
    let unknown = Credential::generate();
    let refused = run(&all, &["status", "-a", unknown.api_key()]).await;
    assert_eq!(refused.code, Some(1));
    let words = "Error: not authorized: insufficient permissions (403)\nHint: the caller is ";
    assert!(refused.stderr.starts_with(words), "{refused:?}");
    assert!(refused.stdout.contains(&url), "{refused:?}");

    fs::rename(setup.keys(), setup.folder().join("away")).expect("the folder is ours");
    let away = run(&all, &["status"]).await;
    assert_eq!(away.code, Some(1), "{away:?}");
    assert!(away.stdout.contains("\nKey store   unreachable\n"), "{away:?}");
    assert_eq!(away.stderr, format!("Error: the key store of {url} is unreachable\n"));
    let short = run(&all, &["status", "-s"]).await;
    assert_eq!((short.code, short.stdout), (Some(1), format!("{url} key store unreachable\n")));
    let finished = run(&all, &["status", "--json"]).await;
    let object: Value = serde_json::from_str(&finished.stdout).expect("JSON alone");
    assert_eq!(finished.code, Some(1));
    assert_eq!(object["keystore_unavailable"], json!(true), "{object}");
}

#[tokio::test]
async fn status_shows_the_routes_when_asked_to() {
    let setup = Setup::new();
    let server = setup.start().await;
    let (url, certificate) = (server.url(), setup.certificate_file());
    let all = admin(&setup, &url, &certificate);
    let shown = run(&all, &["status", "--api"]).await.ok();
    assert!(shown.contains("\nAPI         GET    /version "), "{shown}");
    assert!(shown.contains("PUT    /v1/key/encrypt/           1 MiB    15 s\n"), "{shown}");
    let object = run(&all, &["status", "--api", "--json"]).await.ok();
    let object: Value = serde_json::from_str(&object).expect("JSON alone");
    assert_eq!(object["api"][0]["path"], json!("/version"));
}

#[tokio::test]
async fn status_warns_of_a_certificate_that_expires_or_has() {
    let soon = Setup::new();
    serve_with(&soon, |params| {
        params.not_after = OffsetDateTime::now_utc() + Duration::hours(10 * 24 + 12);
    });
    let server = soon.start().await;
    let (url, certificate) = (server.url(), soon.certificate_file());
    let all = admin(&soon, &url, &certificate);
    let shown = run(&all, &["status"]).await.ok();
    assert!(shown.contains("\nCertificate WARN: valid until "), "{shown}");
    assert!(shown.ends_with(", 10 days left: renew it\n"), "{shown}");
    let short = run(&all, &["status", "-s"]).await;
    assert_eq!((short.code, short.stdout), (Some(0), format!("{url} online\n")));
    assert!(
        short.stderr.starts_with(&format!("Warning: the certificate of {url} is valid until "))
    );

    let over = Setup::new();
    serve_with(&over, |params| {
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(2001, 1, 1);
    });
    let server = over.start().await;
    let (url, certificate) = (server.url(), over.certificate_file());
    let all = admin(&over, &url, &certificate);
    let refused = run(&all, &["status"]).await;
    assert_eq!(refused.code, Some(1));
    let words = "the server's certificate expired at 2001-01-01T00:00:00Z: renew it";
    assert!(refused.stdout.contains(words) && refused.stderr.contains(words), "{refused:?}");
    let shown = run(&all, &["status", "-k"]).await.ok();
    let words = "\nCertificate WARN: expired since 2001-01-01T00:00:00Z: renew it\n";
    assert!(shown.contains(words), "{shown}");
}

#[tokio::test]
async fn minio_s_own_variables_are_enough() {
    let client = Credential::generate();
    let setup = Setup::new().policy("list", &["/v1/key/list/*"], &[], &[&client]);
    // What `openssl req -x509` makes by default.
    serve_with(&setup, |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    let server = setup.start().await;
    let url = server.url();
    let key = file(&setup, "minio.key", client.key_pem());
    let cert = file(&setup, "minio.crt", client.chain_pem());
    let folder = setup.folder().join("CAs");
    fs::create_dir(&folder).expect("the folder is ours");
    fs::copy(setup.certificate_file(), folder.join("kes.crt")).expect("the folder is ours");
    fs::write(folder.join("README"), "no certificate").expect("the folder is ours");
    let with = |ca: PathBuf| {
        let (url, key, cert) = (url.clone(), text(&key).to_owned(), text(&cert).to_owned());
        async move {
            let minio = [
                ("MINIO_KMS_KES_ENDPOINT", url.as_str()),
                ("MINIO_KMS_KES_KEY_FILE", &key),
                ("MINIO_KMS_KES_CERT_FILE", &cert),
                ("MINIO_KMS_KES_CAPATH", text(&ca)),
            ];
            run(&minio, &["key", "ls"]).await
        }
    };
    with(setup.certificate_file()).await.ok();
    with(folder).await.ok();
    let empty = setup.folder().join("empty");
    fs::create_dir(&empty).expect("the folder is ours");
    for (ca, words) in [
        (key.clone(), "holds no certificate"),
        (setup.folder().join("nothing"), "No such file"),
        (empty, "holds a certificate"),
    ] {
        let refused = with(ca).await;
        assert_eq!(refused.code, Some(1));
        assert!(refused.stderr.starts_with("Error: MINIO_KMS_KES_CAPATH: "), "{refused:?}");
        assert!(refused.stderr.contains(words), "{refused:?}");
    }
    let other = file(&setup, "other.crt", pki::server(&["127.0.0.1"]).chain_pem());
    let untrusted = with(other).await;
    assert!(
        untrusted.stderr.starts_with(&format!(
            "Error: no secure connection to a key server: {url}: the server's certificate is signed \
             by an unknown authority: add its CA, or a self-signed certificate itself, to the \
             trusted certificates\nHint: "
        )),
        "{untrusted:?}"
    );
}

#[tokio::test]
async fn an_api_key_can_be_in_a_file() {
    let setup = Setup::new();
    let server = setup.start().await;
    let (url, certificate) = (server.url(), setup.certificate_file());
    let key = file(&setup, "key", format!("{}\n", setup.admin().api_key()));
    let bad = file(&setup, "bad", "kes:v1:c2VjcmV0\n");
    let with = |key| {
        [
            ("KES_SERVER", url.as_str()),
            ("SSL_CERT_FILE", text(&certificate)),
            ("MINIO_KES_API_KEY_FILE", key),
        ]
    };
    run(&with(text(&key)), &["key", "create", "my-key"]).await.ok();
    let refused = run(&with(text(&bad)), &["key", "ls"]).await;
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains(text(&bad)), "{refused:?}");
    assert!(!refused.stderr.contains("c2VjcmV0"), "{refused:?}");
}

#[tokio::test]
async fn the_password_of_a_key_file_can_be_in_the_environment() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/crypto/tests/fixtures");
    let fixture = |name: &str| fs::read_to_string(fixtures.join(name)).expect("it is there");
    let plain = KeyPair::from_pem(&fixture("ed25519.pem")).expect("it is PKCS#8");
    let params = CertificateParams::new(Vec::new()).expect("no name is wrong");
    let certificate = params.self_signed(&plain).expect("the parameters are sound");
    let setup = Setup::new();
    let server = setup.start().await;
    let (url, trusted) = (server.url(), setup.certificate_file());
    let cert = file(&setup, "client.crt", certificate.pem());
    let key = fixtures.join("ed25519-pbkdf2-sha256-aes256.pem");
    let with = |password| {
        [
            ("MINIO_KES_SERVER", url.as_str()),
            ("SSL_CERT_FILE", text(&trusted)),
            ("MINIO_KES_KEY_FILE", text(&key)),
            ("MINIO_KES_CERT_FILE", text(&cert)),
            ("MINIO_KMS_KES_KEY_PASSWORD", password),
        ]
    };
    // The server knows whose key it is, and has no policy for it.
    let known = run(&with("correct horse"), &["key", "ls"]).await;
    assert!(known.stderr.starts_with("Error: not authorized: insufficient permissions (403)\n"));
    let wrong = run(&with("wrong horse"), &["key", "ls"]).await;
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.stderr.contains("the password does not decrypt the private key\n"), "{wrong:?}");
    assert!(wrong.stderr.ends_with("Hint: the password is that of MINIO_KMS_KES_KEY_PASSWORD\n"));
    assert!(!wrong.stderr.contains("wrong horse"), "{wrong:?}");
}

/// An HTTP proxy that connects to one server, whatever is asked for; it ends when it is dropped.
struct Proxy {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
    _accepting: JoinSet<()>,
}

impl Proxy {
    async fn to(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let url = format!("http://{}", listener.local_addr().expect("it was just bound"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let mut accepting = JoinSet::new();
        let (target, heads) = (server.address(), Arc::clone(&asked));
        accepting.spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = client.read_u8().await else { break };
                    head.push(byte);
                }
                let first = String::from_utf8_lossy(&head).lines().next().map(str::to_owned);
                heads.lock().expect("no holder panics").extend(first);
                let mut server = TcpStream::connect(target).await.expect("it listens");
                // Errors of the connection do not matter here.
                let _ = client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
                let _ = copy_bidirectional(&mut client, &mut server).await;
            }
        });
        Self { url, asked, _accepting: accepting }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no holder panics").clone()
    }
}

#[tokio::test]
async fn the_proxies_of_the_environment_are_used() {
    let setup = Setup::new();
    let named = pki::server(&["kes.test", "127.0.0.1"]);
    file(&setup, "server.crt", named.chain_pem());
    file(&setup, "server.key", named.key_pem());
    let server = setup.start().await;
    let proxy = Proxy::to(&server).await;
    let (url, certificate) = (server.url(), setup.certificate_file());
    let remote = "https://kes.test:7373";
    let with = |server, variables: &[(&'static str, &'static str)], name| {
        let mut all = admin(&setup, server, &certificate).to_vec();
        all.extend_from_slice(variables);
        all.push((name, proxy.url.as_str()));
        all
    };
    for name in ["HTTPS_PROXY", "https_proxy"] {
        let shown = run(&with(remote, &[], name), &["status", "-s"]).await.ok();
        assert_eq!(shown, "https://kes.test:7373 online\n");
    }
    assert_eq!(proxy.asked(), ["CONNECT kes.test:7373 HTTP/1.1"; 2]);
    let shown = run(&with(remote, &[], "HTTPS_PROXY"), &["status"]).await.ok();
    assert!(shown.contains("\nCertificate not known: it is behind a proxy\n"), "{shown}");

    run(&with(&url, &[], "HTTPS_PROXY"), &["key", "ls"]).await.ok();
    run(&with(&url, &[], "HTTP_PROXY"), &["key", "ls"]).await.ok();
    for (name, hosts) in [("NO_PROXY", "kes.test"), ("no_proxy", "other, .test")] {
        let direct = run(&with(remote, &[(name, hosts)], "HTTPS_PROXY"), &["key", "ls"]).await;
        assert_eq!(direct.code, Some(1));
        let words =
            "Error: no key server can be reached: https://kes.test:7373: connection failed: ";
        assert!(direct.stderr.starts_with(words), "{direct:?}");
        let hint =
            "\nHint: HTTPS_PROXY is set; NO_PROXY names the servers that are reached directly\n";
        assert!(direct.stderr.ends_with(hint), "{direct:?}");
    }
    assert_eq!(proxy.asked().len(), 3);
}
