//! Explains why a peer ended the handshake with a fatal alert.

use std::borrow::Cow;

use rustls::AlertDescription;

use super::{Explanation, Side};

/// Explains a fatal alert of the peer.
pub(super) fn explain(alert: AlertDescription, side: Side) -> Explanation {
    let peer = side.peer();
    let refused = |text: &str| format!("the {peer} {text} (TLS alert {})", words(alert));
    let is_about_certificate = matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError
            | AlertDescription::UnrecognisedName
    );
    match (alert, side) {
        (AlertDescription::CertificateExpired, Side::Server) => Explanation::new(
            refused("says that the server's certificate has expired"),
            "renew tls.cert, or is the client's clock wrong?",
        ),
        (_, Side::Server) if is_about_certificate => Explanation::new(
            refused("does not trust the server's certificate"),
            "give the client the CA of tls.cert, or the certificate itself, and let it call the \
             server by a name in it",
        ),
        (AlertDescription::CertificateRequired, Side::Client { identity, .. }) => Explanation {
            problem: refused("wants a client certificate").into(),
            cure: set(identity),
        },
        (_, Side::Client { identity, .. }) if is_about_certificate => Explanation {
            problem: refused("does not accept our client certificate").into(),
            cure: set(identity),
        },
        // TLS 1.2 has no alert for a missing certificate.
        (AlertDescription::HandshakeFailure, Side::Client { identity, .. }) => Explanation {
            problem: refused("refused the handshake").into(),
            cure: set(identity)
                .map(|cure| format!("it may want a client certificate: {cure}").into()),
        },
        (AlertDescription::ProtocolVersion, _) => {
            Explanation::new(refused("speaks neither TLS 1.2 nor 1.3"), "bring it up to date")
        }
        (AlertDescription::UnrecognisedName, _) => Explanation::new(
            refused("does not know the name that was asked for"),
            "is the host name right?",
        ),
        _ => Explanation::new(refused("ended the handshake"), side.ask_peer()),
    }
}

fn set(identity: &'static str) -> Option<Cow<'static, str>> {
    (!identity.is_empty()).then(|| format!("set {identity}").into())
}

/// Formats `CertificateRequired` as `certificate required`.
fn words(alert: AlertDescription) -> String {
    let name = format!("{alert:?}");
    let mut words = String::with_capacity(name.len() + 4);
    let mut was_lower = false;
    for letter in name.chars() {
        if letter.is_uppercase() && was_lower {
            words.push(' ');
        }
        was_lower = letter.is_lowercase();
        words.extend(letter.to_lowercase());
    }
    words
}
