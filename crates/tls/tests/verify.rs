//! Tests of the verification of server and client certificates by Go's rules.

#![expect(clippy::unwrap_used, reason = "a test ends where something cannot be done")]

use std::path::Path;
use std::time::Duration;

use kes_tls::{ClientVerifier, ServerVerifier, Side, TrustStore, explain, provider};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::ClientCertVerifier as _;

const SERVER: Side = Side::Client { trust: "ca", identity: "" };

fn unix(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

/// 2026-01-01.
fn now() -> UnixTime {
    unix(1_767_225_600)
}

/// 2040-01-01, for the certificates of OpenSSL, which are younger than these lines.
fn later() -> UnixTime {
    unix(2_208_988_800)
}

fn store(certificates: &[&[u8]]) -> TrustStore {
    let certificates: Vec<Vec<u8>> = certificates.iter().map(|der| der.to_vec()).collect();
    TrustStore::of(&certificates).unwrap()
}

/// The explanation for a server's certificate; `None` if it is accepted.
fn server_at(trust: &[&[u8]], chain: &[&[u8]], name: &str, at: UnixTime) -> String {
    let verifier = ServerVerifier::new(store(trust), &provider());
    let chain: Vec<_> = chain.iter().map(|der| CertificateDer::from(*der)).collect();
    let name = ServerName::try_from(name).unwrap();
    let result = verifier.verify_server_cert(&chain[0], &chain[1..], &name, &[], at);
    result.err().map(|error| explain(&error, SERVER).problem.into_owned()).unwrap_or_default()
}

fn server(trust: &[&[u8]], chain: &[&[u8]], name: &str) -> String {
    server_at(trust, chain, name, now())
}

/// The explanation for a client's certificate, sent in a handshake and forwarded; `None` if it is accepted.
fn client_at(trust: &[&[u8]], chain: &[&[u8]], at: UnixTime) -> String {
    let verifier = ClientVerifier::new(store(trust), &provider(), true);
    let forwarded: Vec<Vec<u8>> = chain.iter().map(|der| der.to_vec()).collect();
    let chain: Vec<_> = chain.iter().map(|der| CertificateDer::from(*der)).collect();
    let result = verifier.verify_client_cert(&chain[0], &chain[1..], at);
    assert_eq!(result.is_ok(), verifier.verify_chain(&forwarded, at).is_ok());
    result.err().map(|error| explain(&error, Side::Server).problem.into_owned()).unwrap_or_default()
}

fn client(trust: &[&[u8]], chain: &[&[u8]]) -> String {
    client_at(trust, chain, now())
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2027, 1, 1);
    params
}

fn marked_ca(mut params: CertificateParams) -> CertificateParams {
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn self_signed(params: &CertificateParams) -> Certificate {
    params.self_signed(&KeyPair::generate().unwrap()).unwrap()
}

struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        Self { certificate: params.self_signed(&key).unwrap(), issuer: Issuer::new(params, key) }
    }

    fn issue(&self, params: &CertificateParams) -> Certificate {
        params.signed_by(&KeyPair::generate().unwrap(), &self.issuer).unwrap()
    }

    fn subordinate(&self, params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    fn der(&self) -> &[u8] {
        self.certificate.der()
    }
}

/// A certificate of `tests/pem`.
fn pem(name: &str) -> CertificateDer<'static> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pem");
    CertificateDer::from_pem_file(folder.join(format!("{name}.crt"))).unwrap()
}

const UNKNOWN: &str = "certificate is signed by an unknown authority";

#[test]
fn a_certificate_of_the_list_is_trusted_any_client_signed_it_and_marked_ca_or_not() {
    let authority = Authority::new(marked_ca(params("authority")));
    let plain = self_signed(&params("vault"));
    let as_ca = self_signed(&marked_ca(params("vault")));
    let issued = authority.issue(&params("vault"));
    let issued_ca = authority.issue(&marked_ca(params("vault")));
    for certificate in [&plain, &as_ca, &issued, &issued_ca] {
        let der: &[u8] = certificate.der();
        assert_eq!(server(&[der], &[der], "vault"), "");
        assert_eq!(client(&[der], &[der]), "");
        // What else the peer sends does not matter.
        assert_eq!(server(&[der], &[der, authority.der()], "vault"), "");
        assert!(server(&[authority.der()], &[plain.der()], "vault").contains(UNKNOWN));
    }
}

#[test]
fn names_dates_and_usages_of_a_certificate_of_the_list_are_checked() {
    let usage = |usage| {
        let mut params = marked_ca(params("vault"));
        params.extended_key_usages = vec![usage];
        self_signed(&params)
    };
    let good = self_signed(&marked_ca(params("vault")));
    let wrong = server(&[good.der()], &[good.der()], "other");
    assert_eq!(wrong, "the server's certificate is not valid for 'other', but for vault");
    let mut expired = params("vault");
    expired.not_after = date_time_ymd(2025, 6, 1);
    let mut future = params("vault");
    future.not_before = date_time_ymd(2026, 6, 1);
    for (params, words) in [(expired, "expired at 2025-06-01"), (future, "before 2026-06-01")] {
        let certificate = self_signed(&params);
        let der: &[u8] = certificate.der();
        assert!(server(&[der], &[der], "vault").contains(words));
        assert!(client(&[der], &[der]).contains(words));
    }
    let for_servers = usage(ExtendedKeyUsagePurpose::ServerAuth);
    let for_clients = usage(ExtendedKeyUsagePurpose::ClientAuth);
    let for_mail = usage(ExtendedKeyUsagePurpose::EmailProtection);
    let for_all = usage(ExtendedKeyUsagePurpose::Any);
    for (certificate, is_server, is_client) in [
        (&for_servers, true, false),
        (&for_clients, false, true),
        (&for_mail, false, false),
        (&for_all, true, true),
    ] {
        let der: &[u8] = certificate.der();
        assert_eq!(server(&[der], &[der], "vault").is_empty(), is_server);
        assert_eq!(client(&[der], &[der]).is_empty(), is_client);
    }
}

#[test]
fn a_forged_certificate_with_all_but_the_key_of_a_listed_one_is_refused() {
    let mut params = marked_ca(params("vault"));
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(vec![7; 20]);
    params.serial_number = Some(rcgen::SerialNumber::from_slice(&[1, 2, 3]));
    let (listed, forged) = (Authority::new(params.clone()), Authority::new(params.clone()));
    for chain in [vec![forged.der()], vec![forged.der(), listed.der()]] {
        assert!(server(&[listed.der()], &chain, "vault").contains("has not signed it"));
        assert!(client(&[listed.der()], &chain).contains("did not sign the certificate"));
    }
    // One that the forger issues, with its own issuer sent along.
    let leaf = forged.issue(&self::params("vault"));
    assert_ne!(server(&[listed.der()], &[leaf.der(), forged.der()], "vault"), "");
    // The same bytes but for the last one, which belongs to the signature.
    let mut changed = listed.der().to_vec();
    *changed.last_mut().unwrap() ^= 1;
    assert_ne!(server(&[listed.der()], &[&changed], "vault"), "");
}

#[test]
fn a_listed_certificate_that_is_no_ca_issues_nothing() {
    // A program with the key of a listed server must not be able to issue certificates for others.
    let listed = Authority::new(params("listed"));
    let leaf = listed.issue(&params("vault"));
    assert!(server(&[listed.der()], &[leaf.der()], "vault").contains(UNKNOWN));
    assert!(client(&[listed.der()], &[leaf.der()]).contains(UNKNOWN));
    let mut no_signer = marked_ca(params("listed"));
    no_signer.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let no_signer = Authority::new(no_signer);
    let leaf = no_signer.issue(&params("vault"));
    assert!(server(&[no_signer.der()], &[leaf.der()], "vault").contains(UNKNOWN));
}

#[test]
fn a_leaf_that_is_marked_ca_is_accepted_below_a_trusted_authority() {
    let root = Authority::new(marked_ca(params("root")));
    let middle = root.subordinate(marked_ca(params("middle")));
    let leaf = middle.issue(&marked_ca(params("vault")));
    assert_eq!(server(&[root.der()], &[leaf.der(), middle.der()], "vault"), "");
    assert_eq!(client(&[root.der()], &[leaf.der(), middle.der()]), "");
    assert!(server(&[root.der()], &[leaf.der()], "vault").contains(UNKNOWN));
    assert!(server(&[root.der()], &[leaf.der(), middle.der()], "other").contains("not valid for"));
    let foreign = Authority::new(marked_ca(params("middle")));
    assert_ne!(server(&[root.der()], &[leaf.der(), foreign.der()], "vault"), "");
    let mut expired = marked_ca(params("vault"));
    expired.not_after = date_time_ymd(2025, 6, 1);
    let expired = middle.issue(&expired);
    assert!(server(&[root.der()], &[expired.der(), middle.der()], "vault").contains("expired"));
}

#[test]
fn a_listed_authority_has_its_dates_and_its_usages() {
    let mut expired = marked_ca(params("old"));
    expired.not_after = date_time_ymd(2025, 6, 1);
    let mut future = marked_ca(params("young"));
    future.not_before = date_time_ymd(2026, 6, 1);
    let mut for_servers = marked_ca(params("servers"));
    for_servers.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    for (params, server_s, client_s) in [
        (expired, "authority above the server's certificate expired at 2025-06-01", "expired at"),
        (future, "is not valid before 2026-06-01", "is not valid before 2026-06-01"),
        (for_servers, "", "is not for clients"),
    ] {
        let authority = Authority::new(params);
        // One that webpki takes, and one that it does not.
        for leaf in [self::params("vault"), marked_ca(self::params("vault"))] {
            let leaf = authority.issue(&leaf);
            let said = server(&[authority.der()], &[leaf.der()], "vault");
            assert!(said.contains(server_s) && said.is_empty() == server_s.is_empty(), "{said}");
            let said = client(&[authority.der()], &[leaf.der()]);
            assert!(said.contains(client_s), "{said}");
        }
    }
}

#[test]
fn an_authority_that_was_renewed_may_be_listed_with_its_old_certificate() {
    let mut old = marked_ca(params("authority"));
    old.not_after = date_time_ymd(2025, 6, 1);
    let key = KeyPair::generate().unwrap();
    let old = old.self_signed(&key).unwrap();
    let renewed = marked_ca(params("authority")).self_signed(&key).unwrap();
    let issuer = Issuer::new(marked_ca(params("authority")), key);
    let leaf = params("vault").signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
    for list in [[old.der(), renewed.der()], [renewed.der(), old.der()]] {
        let list: Vec<&[u8]> = list.iter().map(AsRef::as_ref).collect();
        assert_eq!(server(&list, &[leaf.der()], "vault"), "");
    }
    assert!(server(&[old.der()], &[leaf.der()], "vault").contains("expired at"));
}

#[test]
fn a_client_for_any_usage_is_accepted_and_one_for_servers_alone_is_not() {
    let root = Authority::new(marked_ca(params("root")));
    for (usages, is_accepted) in [
        (vec![ExtendedKeyUsagePurpose::Any], true),
        (vec![ExtendedKeyUsagePurpose::EmailProtection, ExtendedKeyUsagePurpose::Any], true),
        (vec![ExtendedKeyUsagePurpose::ClientAuth], true),
        (vec![], true),
        (vec![ExtendedKeyUsagePurpose::ServerAuth], false),
        (vec![ExtendedKeyUsagePurpose::CodeSigning], false),
    ] {
        let mut params = params("client");
        params.extended_key_usages = usages.clone();
        let said = client(&[root.der()], &[root.issue(&params).der()]);
        assert_eq!(said.is_empty(), is_accepted, "{usages:?}: {said}");
        assert!(is_accepted || said.contains("is not for clients"), "{said}");
    }
}

#[test]
fn clients_of_version_1_are_accepted_as_go_accepts_them() {
    let [ca, middle, below] = ["ca", "middle", "below"].map(pem);
    let v1 = |name: &str, further: &[&[u8]]| {
        let leaf = pem(name);
        client_at(&[&ca], &[&[&leaf[..]], further].concat(), later())
    };
    assert_eq!(v1("v1", &[]), "");
    assert_eq!(v1("v1-middle", &[&middle]), "");
    assert!(v1("v1-middle", &[]).contains(UNKNOWN));
    // Longer than the pathlen of the one in between permits.
    assert!(v1("v1-below", &[&below, &middle]).contains("longer"));
    let [not_ca, limited, server_ca] = ["notca", "limited", "serverca"].map(pem);
    assert!(v1("v1-notca", &[&not_ca]).contains("no CA"));
    assert!(v1("v1-limited", &[&limited]).contains("name constraints"));
    assert!(v1("v1-serverca", &[&server_ca]).contains("not for clients"));
    // Itself in the list; and signed by another authority of the same name.
    let leaf = pem("v1");
    assert_eq!(client_at(&[&leaf], &[&leaf], later()), "");
    assert_ne!(v1("v1-forged", &[]), "");
    assert_ne!(client_at(&[&pem("other-ca")], &[&leaf], later()), "");
    // It has no names, so that it cannot be a server's.
    assert!(server_at(&[&ca], &[&leaf], "v1", later()).contains("not valid for the name"));
    let ends = unix(8_000_000_000);
    assert!(client_at(&[&ca], &[&leaf], ends).contains("expired at"));
    assert!(client_at(&[&ca], &[&leaf], unix(0)).contains("before"));
}

#[test]
fn damaged_certificates_are_no_trusted_ones_and_no_peers() {
    assert!(TrustStore::of(&[b"nonsense".to_vec()]).is_err());
    let certificate = self_signed(&params("vault"));
    let mut longer = certificate.der().to_vec();
    longer.push(0);
    assert!(TrustStore::of(&[longer.clone()]).is_err());
    let der: &[u8] = certificate.der();
    for end in 0..der.len() {
        assert_ne!(server(&[der], &[&der[..end]], "vault"), "");
    }
    assert_ne!(server(&[der], &[&longer], "vault"), "");
}
