//! Tests of issuing and reading certificates.

#![expect(clippy::unwrap_used, reason = "what helps a test may fail it")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime};

use kes_crypto::pem::PrivateKeyKind;
use kes_crypto::{
    ApiKey, CertificateRequest, IssueError, SystemRandom, certificate_facts, certificate_identity,
    pem,
};
use x509_parser::prelude::*;

const ISSUED_AT: Duration = Duration::from_secs(1_700_000_000);
const DAY: Duration = Duration::from_hours(24);

fn api_key() -> ApiKey {
    ApiKey::generate(&SystemRandom::new()).unwrap()
}

fn request() -> CertificateRequest {
    CertificateRequest {
        subject: "localhost".to_owned(),
        dns_names: vec!["localhost".to_owned()],
        ip_addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)],
        not_before: SystemTime::UNIX_EPOCH + ISSUED_AT,
        validity: 30 * DAY,
    }
}

#[test]
fn a_client_certificate_has_the_form_that_clients_have_always_sent() {
    let (key, random) = (api_key(), SystemRandom::new());
    let now = SystemTime::UNIX_EPOCH + ISSUED_AT + Duration::from_millis(500);
    let issued = key.client_certificate(&random, now).unwrap();
    let (rest, certificate) = X509Certificate::from_der(issued.certificate_der()).unwrap();

    assert!(rest.is_empty());
    assert_eq!(certificate.version(), X509Version::V3);
    let name = format!("CN={}", key.identity());
    assert_eq!(certificate.subject().to_string(), name);
    assert_eq!(certificate.issuer().to_string(), name);
    assert_eq!(certificate.validity().not_before.timestamp(), 1_700_000_000);
    assert_eq!(certificate.validity().not_after.timestamp(), 1_700_000_000 + 90 * 24 * 60 * 60);
    assert!((13..=17).contains(&certificate.raw_serial().len()), "a random 128-bit serial");

    let usage = certificate.key_usage().unwrap().unwrap();
    assert!(usage.critical);
    assert_eq!(usage.value.flags, 1, "digitalSignature alone");
    let extended = certificate.extended_key_usage().unwrap().unwrap();
    assert!(!extended.critical);
    assert!(extended.value.client_auth && !extended.value.server_auth);
    let constraints = certificate.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && !constraints.value.ca);
    assert_eq!(certificate.extensions().len(), 3);
}

#[test]
fn a_certificate_identifies_its_api_key() {
    let (key, random) = (api_key(), SystemRandom::new());
    for issued in [
        key.client_certificate(&random, SystemTime::UNIX_EPOCH).unwrap(),
        key.certificate(&request(), &random).unwrap(),
    ] {
        let found = certificate_identity(issued.certificate_der()).unwrap();
        assert_eq!(found.identity, key.identity());
        assert!(!found.is_ca);
        let pem = issued.certificate_pem();
        assert_eq!(pem::certificates(pem.as_bytes()).unwrap(), [issued.certificate_der()]);
        let private_key = pem::private_key(issued.private_key_pem().expose(), None).unwrap();
        assert_eq!(private_key.kind(), PrivateKeyKind::Pkcs8);
        assert!(private_key.der() == issued.private_key().der());
    }
}

#[test]
fn a_server_certificate_names_its_hosts_and_serves_both_ends() {
    let issued = api_key().certificate(&request(), &SystemRandom::new()).unwrap();
    let (_, certificate) = X509Certificate::from_der(issued.certificate_der()).unwrap();
    assert_eq!(certificate.subject().to_string(), "CN=localhost");
    assert_eq!(certificate.validity().not_before.timestamp(), 1_700_000_000);
    assert_eq!(certificate.validity().not_after.timestamp(), 1_700_000_000 + 30 * 24 * 60 * 60);
    let extended = certificate.extended_key_usage().unwrap().unwrap();
    assert!(extended.value.client_auth && extended.value.server_auth);
    let names = &certificate.subject_alternative_name().unwrap().unwrap().value.general_names;
    let mut loopback_6 = [0; 16];
    loopback_6[15] = 1;
    assert_eq!(
        *names,
        [
            GeneralName::DNSName("localhost"),
            GeneralName::IPAddress(&[127, 0, 0, 1]),
            GeneralName::IPAddress(&loopback_6),
        ]
    );
}

#[test]
fn the_facts_of_a_certificate_are_those_that_it_was_made_with() {
    let issued = api_key().certificate(&request(), &SystemRandom::new()).unwrap();
    let facts = certificate_facts(issued.certificate_der()).unwrap();
    assert_eq!(facts.subject, "CN=localhost");
    assert_eq!(facts.names, ["localhost", "127.0.0.1", "::1"]);
    assert_eq!(facts.not_before.to_string(), "2023-11-14T22:13:20Z");
    assert_eq!(facts.not_after.to_string(), "2023-12-14T22:13:20Z");
    assert!(certificate_facts(b"x").is_err());
}

#[test]
fn a_certificate_is_signed_by_its_own_key() {
    let issued = api_key().client_certificate(&SystemRandom::new(), SystemTime::UNIX_EPOCH);
    let issued = issued.unwrap();
    let (_, certificate) = X509Certificate::from_der(issued.certificate_der()).unwrap();
    let public_key = &certificate.public_key().subject_public_key.data;
    ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, public_key)
        .verify(certificate.tbs_certificate.as_ref(), &certificate.signature_value.data)
        .unwrap();
}

#[test]
fn serials_differ() {
    let key = api_key();
    let serial = || {
        let issued = key.client_certificate(&SystemRandom::new(), SystemTime::UNIX_EPOCH).unwrap();
        let (_, certificate) = X509Certificate::from_der(issued.certificate_der()).unwrap();
        certificate.raw_serial().to_vec()
    };
    assert_ne!(serial(), serial());
}

#[test]
fn requests_that_no_certificate_can_express_are_refused() {
    let issue = |request: &CertificateRequest| {
        api_key().certificate(request, &SystemRandom::new()).unwrap_err()
    };
    let centuries = 400 * 365 * DAY;
    let early = SystemTime::UNIX_EPOCH - DAY;
    assert!(matches!(
        issue(&CertificateRequest { not_before: early, ..request() }),
        IssueError::Validity
    ));
    assert!(matches!(
        issue(&CertificateRequest { validity: 25 * centuries, ..request() }),
        IssueError::Validity
    ));
    assert!(matches!(
        issue(&CertificateRequest { validity: Duration::MAX, ..request() }),
        IssueError::Validity
    ));
    for name in ["", "höst", "a b", "*.*"] {
        let request = CertificateRequest { dns_names: vec![name.to_owned()], ..request() };
        assert!(matches!(issue(&request), IssueError::DnsName(refused) if refused == name));
    }
}

#[test]
fn what_is_not_exactly_one_certificate_has_no_identity() {
    let issued = api_key().client_certificate(&SystemRandom::new(), SystemTime::UNIX_EPOCH);
    let der = issued.unwrap().certificate_der().to_vec();
    for end in 0..der.len() {
        assert!(certificate_identity(&der[..end]).is_err(), "cut at {end}");
    }
    assert!(certificate_identity(&[&der[..], b"x"].concat()).is_err());
}

#[test]
fn basic_constraints_that_cannot_be_read_are_not_taken_for_none() {
    let issued = api_key().client_certificate(&SystemRandom::new(), SystemTime::UNIX_EPOCH);
    let mut der = issued.unwrap().certificate_der().to_vec();
    // The extension's value, an empty SEQUENCE, becomes an empty OCTET STRING.
    let extension = [0x06, 0x03, 0x55, 0x1d, 0x13, 0x01, 0x01, 0xff, 0x04, 0x02, 0x30, 0x00];
    let at = der.windows(extension.len()).position(|window| window == extension).unwrap();
    der[at + 10] = 0x04;
    assert!(certificate_identity(&der).is_err());
}
