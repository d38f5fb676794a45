//! Tests of which server certificates are accepted, and of the errors for the others.

use bytes::Bytes;
use kes_client::{Client, ClientError, ServerTrust, Timeouts};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};

use crate::peer::{Credential, Peer, Reply};

/// Makes the certificate that of an authority.
fn authority(params: &mut CertificateParams) {
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
}

/// Gives the certificate the defaults of `openssl req -x509`: CA:TRUE, no key usages.
fn openssl(params: &mut CertificateParams) {
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
}

/// Returns the certificate of an authority, and the issuer that signs with its key.
fn issuer() -> (Vec<u8>, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "an authority");
    authority(&mut params);
    let der = params.self_signed(&key).unwrap().der().to_vec();
    (der, Issuer::new(params, key))
}

/// Calls a server with this certificate through a client that trusts a list.
async fn call(server: Credential, trusted: Vec<Vec<u8>>) -> Result<(), ClientError> {
    call_with(server, ServerTrust::Certificates(trusted)).await
}

async fn call_with(server: Credential, trust: ServerTrust) -> Result<(), ClientError> {
    let credential = Credential::new();
    let peer = Peer::start_as(server, "h2", &credential, Reply::Answer(200, Bytes::new())).await;
    let client: Client =
        credential.client_of(vec![peer.endpoint.clone()], trust, Timeouts::default());
    let called = client.ready().await;
    assert_eq!(
        peer.seen().len(),
        usize::from(called.is_ok()),
        "a server that is not trusted is asked nothing"
    );
    called
}

/// Returns the error for a certificate that was refused.
fn refusal(called: Result<(), ClientError>) -> String {
    let error = called.unwrap_err();
    assert!(error.is_untrusted(), "{error:?}");
    let ClientError::Tls(attempts) = error else { panic!("{error:?}") };
    let text = attempts.0[0].error.to_string();
    assert!(!text.contains("Other"), "{text}");
    text
}

#[tokio::test]
async fn a_certificate_that_is_in_the_list_itself_is_trusted() {
    let (_, unknown) = issuer();
    for server in [
        Credential::new(),
        Credential::with(openssl),
        Credential::with(authority),
        Credential::with(|params| params.is_ca = IsCa::ExplicitNoCa),
        Credential::issued(&unknown, |_| {}),
        Credential::issued(&unknown, authority),
    ] {
        let listed = vec![Credential::new().certificate, server.certificate.clone()];
        call(server, listed).await.unwrap();
    }
}

#[tokio::test]
async fn a_certificate_of_a_listed_authority_is_trusted() {
    let (listed, known) = issuer();
    call(Credential::issued(&known, |_| {}), vec![listed.clone()]).await.unwrap();
    let trust = ServerTrust::SystemRootsAnd(vec![listed]);
    call_with(Credential::issued(&known, |_| {}), trust).await.unwrap();
}

#[tokio::test]
async fn a_certificate_of_an_unlisted_authority_is_refused() {
    let (_, unknown) = issuer();
    let (listed, _) = issuer();
    let words = "the server's certificate is signed by an unknown authority: add its CA, or a \
                 self-signed certificate itself, to the trusted certificates";
    for server in [Credential::new(), Credential::with(openssl)] {
        assert_eq!(refusal(call(server, vec![listed.clone()]).await), words);
    }
    // Its name is that of a listed authority, its key is not.
    let same_name = refusal(call(Credential::issued(&unknown, |_| {}), vec![listed]).await);
    let words = "the server's certificate names a trusted authority that has not signed it: ";
    assert!(same_name.starts_with(words), "{same_name}");
}

#[tokio::test]
async fn being_listed_cures_neither_the_name_nor_the_dates_nor_the_usage() {
    let other_name = |params: &mut CertificateParams| {
        params.subject_alt_names = vec![SanType::DnsName("vault.corp".try_into().unwrap())];
        openssl(params);
    };
    let expired = |params: &mut CertificateParams| {
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(2001, 1, 1);
    };
    let of_tomorrow = |params: &mut CertificateParams| {
        params.not_before = date_time_ymd(3000, 1, 1);
        params.not_after = date_time_ymd(3001, 1, 1);
    };
    let of_a_client = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    };
    for (server, words) in [
        (Credential::with(other_name), "is not valid for '127.0.0.1', but for vault.corp: "),
        (Credential::with(expired), "expired at 2001-01-01T00:00:00Z: renew it"),
        (Credential::with(of_tomorrow), "is not valid before 3000-01-01T00:00:00Z: "),
        (Credential::with(of_a_client), "is not for servers: "),
    ] {
        let listed = vec![server.certificate.clone()];
        let refusal = refusal(call(server, listed).await);
        let expected = format!("the server's certificate {words}");
        assert!(refusal.starts_with(&expected), "{refusal}");
    }
}

#[tokio::test]
async fn a_forged_certificate_with_another_key_is_refused() {
    for change in [openssl, authority, |_: &mut CertificateParams| {}] {
        let alike = |params: &mut CertificateParams| {
            params.distinguished_name.push(DnType::CommonName, "kes.corp");
            params.serial_number = Some(7.into());
            params.key_identifier_method = KeyIdMethod::PreSpecified(vec![7; 20]);
            params.use_authority_key_identifier_extension = true;
            change(params);
        };
        let (genuine, forged) = (Credential::with(alike), Credential::with(alike));
        refusal(call(forged, vec![genuine.certificate.clone()]).await);
        let listed = vec![genuine.certificate.clone()];
        call(genuine, listed).await.unwrap();
    }
}

#[tokio::test]
async fn a_certificate_without_its_private_key_is_refused_even_without_verification() {
    let (genuine, thief) = (Credential::with(openssl), Credential::new());
    for trust in
        [ServerTrust::Certificates(vec![genuine.certificate.clone()]), ServerTrust::Insecure]
    {
        let error = call_with(genuine.with_other_key(&thief), trust).await.unwrap_err();
        assert!(matches!(error, ClientError::Tls(_)), "{error:?}");
    }
}
