//! Tests of `kes identity`.

use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use x509_parser::extensions::GeneralName;
use x509_parser::pem::parse_x509_pem;

use crate::{Answer, command, finish, kes, kes_in};

const API_KEY: &str = "kes:v1:AD9E7FSYWrMD+VjhI6q545cYT9YOyFxZb7UnjEepYDRc";
const IDENTITY: &str = "3ecfcdf38fcbe141ae26a1030f81e96b753365a46760ae6b578698a97c59fd22";

#[test]
fn the_identity_of_an_api_key_is_bare_when_piped() {
    for key in [API_KEY, &API_KEY["kes:v1:".len()..]] {
        let answer = kes(&["identity", "of", key]);
        let expected = Answer { code: Some(0), out: IDENTITY.to_owned(), err: String::new() };
        assert_eq!(answer, expected);
    }
    let json = kes(&["identity", "of", API_KEY, "--json"]).out;
    assert_eq!(json, format!("{{\"identity\":\"{IDENTITY}\"}}\n"));
}

#[test]
fn what_has_no_identity_is_refused_without_being_shown() {
    for credential in ["kes:v1:c2VjcmV0", "c2VjcmV0", "./no-such-file"] {
        let Answer { code, out, err } = kes(&["identity", "of", credential]);
        assert_eq!((code, out.as_str()), (Some(1), ""));
        assert!(!err.contains("c2VjcmV0"), "{err}");
    }
}

#[test]
fn the_identity_of_what_is_on_standard_input_or_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, contents: &str| fs::write(folder.path().join(name), contents).unwrap();
    let certificate =
        ["identity", "new", "--key", "a.key", "--cert", "a.crt", "--api-key", API_KEY];
    assert_eq!(kes_in(folder.path(), &[], &certificate).code, Some(0));
    write("key", &format!("{API_KEY}\n"));
    write("bare", &API_KEY["kes:v1:".len()..]);
    for file in ["a.crt", "key", "bare"] {
        for arguments in [&["identity", "of", "-"][..], &["identity", "-"], &["identity", file]] {
            let input = File::open(folder.path().join(file)).unwrap();
            let answer = finish(command(folder.path(), &[], arguments).stdin(input));
            let expected = Answer { code: Some(0), out: IDENTITY.to_owned(), err: String::new() };
            assert_eq!(answer, expected, "{file} {arguments:?}");
        }
    }
    write("large", &"x".repeat(1 << 21));
    write("cut", &API_KEY[..API_KEY.len() - 4]);
    for file in ["/dev/null", "large", "cut", "a.key"] {
        let input = File::open(folder.path().join(file)).unwrap();
        let answer = finish(command(folder.path(), &[], &["identity", "of", "-"]).stdin(input));
        assert_eq!((answer.code, answer.out.as_str()), (Some(1), ""), "{file}");
        assert!(answer.err.starts_with("Error: standard input: "), "{}", answer.err);
        assert!(!answer.err.contains("AD9E7F"), "{}", answer.err);
        assert_eq!(
            answer.err.contains("larger than 1048576 bytes"),
            file == "large",
            "{}",
            answer.err
        );
    }
}

#[test]
fn of_may_be_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let kes = |arguments: &[&str]| kes_in(folder.path(), &[], arguments);
    assert_eq!(kes(&["identity", API_KEY]), kes(&["identity", "of", API_KEY]));
    assert_eq!(kes(&["identity", API_KEY]).out, IDENTITY);
    let json = kes(&["identity", "--json", API_KEY]).out;
    assert_eq!(json, format!("{{\"identity\":\"{IDENTITY}\"}}\n"));
    assert_eq!(kes(&["--color=never", "identity", API_KEY, "--color", "never"]).out, IDENTITY);
    assert_eq!(kes(&["identity", "--color", "never", "new"]).code, Some(0));
    let json = kes(&["identity", "--json", "new"]).out;
    assert!(json.starts_with("{\"api_key\":"), "{json}");
    assert_eq!(kes(&["identity", API_KEY, "new"]).code, Some(2));
    let misspelt = kes(&["identity", "nwe"]);
    assert_eq!(misspelt.code, Some(1));
    assert!(misspelt.err.contains("Hint: 'kes identity --help'"), "{}", misspelt.err);
}

/// Returns the value under a heading: a line between two empty lines.
fn under<'a>(heading: &str, out: &'a str) -> &'a str {
    let lines: Vec<_> = out.lines().collect();
    let headings: Vec<_> =
        lines.iter().enumerate().filter(|(_, line)| **line == heading).map(|(at, _)| at).collect();
    let [at] = headings[..] else { panic!("not one {heading} in {out}") };
    let [_, "", value, ""] = lines[at..at + 4] else { panic!("{out}") };
    let value = value.strip_prefix("   ").unwrap();
    assert!(!value.contains(char::is_whitespace), "{value}");
    // Otherwise it occurs in commands only.
    let is_elsewhere = |line: &&&str| line.contains(value) && !line.starts_with("    ");
    assert_eq!(lines.iter().filter(is_elsewhere).count(), 1, "{out}");
    value
}

/// Returns the commands, which are indented by four blanks between empty lines; the last one is the last line.
fn commands(out: &str) -> Vec<&str> {
    let last = out.lines().next_back().unwrap();
    assert!(last.starts_with("    "), "{out}");
    let commands: Vec<_> = out.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    assert!(commands.iter().all(|line| out.contains(&format!("\n\n    {line}\n"))), "{out}");
    commands
}

/// Runs a command line, split into words as a shell does.
fn shell(folder: &Path, line: &str) -> Answer {
    let line = line.strip_prefix("kes ").unwrap();
    let line = format!("{} {line}", env!("CARGO_BIN_EXE_kes"));
    finish(Command::new("sh").args(["-c", &line]).current_dir(folder))
}

#[test]
fn a_new_api_key_and_its_identity_stand_where_scripts_look_for_them() {
    for arguments in [&["identity", "new"][..], &["identity", "new", "minio", "--ip", "::1", "-f"]]
    {
        let Answer { code, out, err } = kes(arguments);
        assert_eq!((code, err.as_str()), (Some(0), ""));
        assert!(out.starts_with("Your API key:\n\n   kes:v1:"), "{out}");
        let (key, identity) = (under("Your API key:", &out), under("Your Identity:", &out));
        // Nor in a command, which the list of processes would show.
        assert_eq!(out.matches("kes:v1:").count(), 1, "{out}");
        assert_eq!(out.to_lowercase().matches("api key:").count(), 1, "{out}");
        assert_eq!(commands(&out), ["kes identity of -"]);
        let again = format!("kes identity of - <<'END'\n{key}\nEND");
        assert_eq!(shell(Path::new("."), &again).out, identity);
        assert!(out.contains("in the list of processes"), "{out}");
        assert_eq!(kes(&["identity", "of", key]).out, identity);
        assert_ne!(kes(arguments).out, out);
    }
    let json = kes(&["identity", "new", "--json", "--api-key", API_KEY]).out;
    assert_eq!(json, format!("{{\"api_key\":\"{API_KEY}\",\"identity\":\"{IDENTITY}\"}}\n"));
}

#[test]
fn colours_change_the_headings_alone() {
    let new = ["identity", "new", "--api-key", API_KEY];
    let plain = kes(&new).out;
    let colored = kes(&[&new[..], &["--color", "always"]].concat()).out;
    for heading in ["Your API key:", "Your Identity:"] {
        assert!(colored.contains(&format!("\u{1b}[1m{heading}\u{1b}[0m\n\n   ")), "{colored}");
    }
    assert_eq!(colored.replace("\u{1b}[1m", "").replace("\u{1b}[0m", ""), plain);
}

#[test]
fn files_of_a_given_api_key_have_its_identity() {
    let folder = tempfile::tempdir().unwrap();
    let kes = |arguments: &[&str]| kes_in(folder.path(), &[], arguments);
    for certificate in ["a.crt", "-a $(b) 'c'.crt"] {
        let cert = format!("--cert={certificate}");
        let files = ["identity", "new", "-f", "--key", "a.key", &cert];
        let answer = kes(&[&files[..], &["--api-key", API_KEY]].concat());
        assert_eq!((answer.code, answer.err.as_str()), (Some(0), ""));
        assert_eq!(under("Your API key:", &answer.out), API_KEY);
        assert_eq!(under("Your Identity:", &answer.out), IDENTITY);
        let [again] = commands(&answer.out)[..] else { panic!("{}", answer.out) };
        let again = shell(folder.path(), again);
        assert_eq!(again.out, IDENTITY, "{}", again.err);
    }
    assert_eq!(mode(&folder.path().join("a.key")), 0o600);

    let certificate = fs::read(folder.path().join("a.crt")).unwrap();
    let pem = parse_x509_pem(&certificate).unwrap().1;
    let certificate = pem.parse_x509().unwrap();
    assert_eq!(certificate.subject().to_string(), format!("CN={IDENTITY}"));
}

#[test]
fn an_api_key_for_files_is_read_from_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, contents: &str| {
        fs::write(folder.path().join(name), contents).unwrap();
        File::open(folder.path().join(name)).unwrap()
    };
    let new = ["identity", "new", "--key=a.key", "--cert=a.crt", "--json", "--api-key", "-"];
    let run = |input| finish(command(folder.path(), &[], &new).stdin(input));
    for contents in ["", "kes:v1:c2VjcmV0\n", "c2VjcmV0", &format!("{API_KEY} {API_KEY}")] {
        let Answer { code, out, err } = run(file("wrong", contents));
        assert_eq!((code, out.as_str()), (Some(1), ""), "{contents}");
        assert!(err.starts_with("Error: standard input: "), "{err}");
        assert!(!err.contains("c2VjcmV0") && !err.contains("AD9E7F"), "{err}");
        assert!(!folder.path().join("a.key").exists());
    }
    let Answer { code, out, err } = run(file("right", &format!(" {API_KEY}\r\n")));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let made: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&made["api_key"], &made["identity"]), (&json!(API_KEY), &json!(IDENTITY)));
    assert_eq!(kes_in(folder.path(), &[], &["identity", "of", "a.crt"]).out, IDENTITY);
}

#[test]
fn a_new_certificate_says_what_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let kes = |arguments: &[&str]| kes_in(folder.path(), &[], arguments);
    let Answer { code, out, err } = kes(&[
        "identity",
        "new",
        "--key",
        "b.key",
        "--cert",
        "b.crt",
        "--ip",
        "127.0.0.1",
        "--ip",
        "::1",
        "--dns",
        "localhost",
        "--expiry",
        "1h30m",
        "--json",
        "My Server",
    ]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let identity = kes(&["identity", "of", "b.crt"]).out;
    let json: Value = serde_json::from_str(&out).unwrap();
    let api_key = json["api_key"].as_str().unwrap();
    let expected = json!({
        "key": "b.key", "cert": "b.crt", "api_key": api_key, "identity": identity
    });
    assert_eq!(json, expected);
    assert_eq!(kes(&["identity", "of", api_key]).out, identity);

    let pem = fs::read(folder.path().join("b.crt")).unwrap();
    let pem = parse_x509_pem(&pem).unwrap().1;
    let certificate = pem.parse_x509().unwrap();
    assert_eq!(certificate.subject().to_string(), "CN=My Server");
    let validity = certificate.validity();
    let seconds = validity.not_after.timestamp() - validity.not_before.timestamp();
    assert_eq!(seconds, 90 * 60);
    let usage = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && usage.server_auth);
    let names = &certificate.subject_alternative_name().unwrap().unwrap().value.general_names;
    let local = std::net::Ipv6Addr::LOCALHOST.octets();
    assert!(names.contains(&GeneralName::DNSName("localhost")));
    assert!(names.contains(&GeneralName::IPAddress(&[127, 0, 0, 1])));
    assert!(names.contains(&GeneralName::IPAddress(&local)));
}

#[test]
fn files_are_replaced_only_when_reported_to() {
    let folder = tempfile::tempdir().unwrap();
    let (key, cert) = (folder.path().join("c.key"), folder.path().join("c.crt"));
    let new = |more: &[&str]| {
        let files = ["identity", "new", "--key", "c.key", "--cert", "c.crt"];
        kes_in(folder.path(), &[], &[&files, more].concat())
    };
    fs::write(&cert, "precious").unwrap();
    let Answer { code, out, err } = new(&[]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert_eq!(err, "Error: 'c.crt' already exists\nHint: -f replaces files that exist\n");
    assert_eq!(fs::read_to_string(&cert).unwrap(), "precious");
    assert!(!key.exists());

    assert_eq!(new(&["-f"]).code, Some(0));
    let first = fs::read(&key).unwrap();
    assert_eq!(new(&[]).code, Some(1));
    assert_eq!(fs::read(&key).unwrap(), first);
    assert_eq!(new(&["-f"]).code, Some(0));
    assert_ne!(fs::read(&key).unwrap(), first);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn pipes_folders_and_links_are_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    assert!(Command::new("mkfifo").arg(path("fifo")).status().unwrap().success());
    fs::create_dir(path("folder")).unwrap();
    symlink("fifo", path("pipe")).unwrap();
    symlink("nothing", path("dangling")).unwrap();
    let new = |key: &str, cert: &str| {
        kes_in(folder.path(), &[], &["identity", "new", "-f", "--key", key, "--cert", cert])
    };
    for (special, reason) in [
        ("fifo", "not a file"),
        ("folder", "not a file"),
        ("pipe", "not a file"),
        ("dangling", "a symbolic link to a file that does not exist"),
    ] {
        let expected = format!("Error: '{special}' is {reason}\n");
        for answer in [new("key", special), new(special, "cert")] {
            assert_eq!((answer.code, answer.out.as_str()), (Some(1), ""));
            assert_eq!(answer.err, expected);
        }
    }
    assert!(fs::metadata(path("fifo")).unwrap().file_type().is_fifo());
    assert_eq!(fs::read_link(path("pipe")).unwrap(), Path::new("fifo"));
    assert!(!path("key").exists() && !path("cert").exists() && !path("nothing").exists());

    fs::write(path("target"), "old").unwrap();
    symlink("target", path("link")).unwrap();
    assert_eq!(new("link", "cert").code, Some(0));
    assert_eq!(fs::read_link(path("link")).unwrap(), Path::new("target"));
    assert_eq!(mode(&path("target")), 0o600);
    assert!(fs::read_to_string(path("target")).unwrap().contains("PRIVATE KEY"));
}

#[test]
fn what_a_file_holds_in_place_of_a_certificate_is_reported() {
    let pem = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/tests/pem");
    for (file, holds, right) in [
        (
            "p256-cert.der",
            "holds a certificate in DER",
            "`openssl x509 -inform der -in FILE -out NEW`",
        ),
        ("p256.p12", "holds a PKCS#12 archive", "`openssl pkcs12 -in FILE -nokeys -out NEW`"),
        ("p256.csr", "holds a certificate request (CSR)", "the certificate that a CA makes of it"),
        (
            "p256.key",
            "holds no certificate, but a private key",
            "the certificate that goes with it",
        ),
        ("README.md", "no certificate can be taken from it", "-----BEGIN CERTIFICATE-----"),
    ] {
        let named = kes_in(&pem, &[], &["identity", "of", file]);
        assert_eq!((named.code, named.out.as_str()), (Some(1), ""));
        assert!(named.err.starts_with(&format!("Error: '{file}'")), "{}", named.err);
        assert!(named.err.contains(holds), "{}", named.err);
        assert!(named.err.contains(&right.replace("FILE", file)), "{}", named.err);
        let input = File::open(pem.join(file)).unwrap();
        let piped = finish(command(&pem, &[], &["identity", "of", "-"]).stdin(input));
        assert!(piped.err.starts_with("Error: standard input: "), "{}", piped.err);
        assert!(piped.err.contains(holds) && piped.err.contains(right), "{}", piped.err);
    }
}

#[test]
fn an_address_among_the_host_names_is_warned_about() {
    let folder = tempfile::tempdir().unwrap();
    let files = ["identity", "new", "--key", "e.key", "--cert", "e.crt"];
    let names = ["--dns", "10.0.0.1", "--dns", "*.example.com"];
    let answer = kes_in(folder.path(), &[], &[&files[..], &names].concat());
    assert_eq!(answer.code, Some(0));
    let warning =
        "Warning: clients do not look for IP addresses among DNS names: use --ip 10.0.0.1\n";
    assert_eq!(answer.err, warning);
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}
