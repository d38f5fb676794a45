//! Test fixture: an AWS that accepts the credentials of one source only, and servers that use that source.

use std::fs;
use std::path::PathBuf;

use kes_harness::aws::identity::{Issued, Source};
use kes_harness::aws::{Moto, Signer, error, is_action, key_id, moto, signed_at, verify};
use kes_harness::proxy::{Asked, Fault, Proxy};
use kes_harness::{Connection, Server, Setup};
use serde_json::json;
use time::OffsetDateTime;

use crate::fixture::{REGION, demand_signatures};

/// A proxy and a setup for servers whose credentials are not in their configuration. Several
/// may share an emulator.
pub(super) struct Fixture {
    pub(super) proxy: Proxy,
    pub(super) setup: Setup,
}

impl Fixture {
    /// Servers here find nothing: a home without files, no metadata service.
    pub(super) async fn new(moto: &Moto) -> Self {
        let proxy = Proxy::to(moto.address()).await;
        proxy.one_at_a_time(|asked| is_action(asked, "CreateSecret"));
        let section = json!({ "endpoint": proxy.url(), "region": REGION });
        let setup = Setup::new().aws(section).uncached();
        let home = setup.folder().display().to_string();
        let setup = setup
            .variable("HOME", &home)
            // The process that a profile may name is started by a shell.
            .variable("PATH", "/usr/bin:/bin")
            .variable("AWS_EC2_METADATA_DISABLED", "true");
        Self { proxy, setup }
    }

    /// Servers are led to that source, and AWS takes what it has handed out until that expires. The
    /// file that has what must be shown there, if there is one, has `proof`.
    pub(super) async fn with(moto: &Moto, source: &Source, proof: Option<&Proof>) -> Self {
        let fixture = Self::new(moto).await.variable("AWS_EC2_METADATA_DISABLED", "false");
        fixture.take(source.finder());
        let environment = source.environment().into_iter();
        let fixture =
            environment.fold(fixture, |fixture, (name, value)| fixture.variable(name, &value));
        let Some(proof) = proof else { return fixture };
        let file = fixture.show(source, proof.text);
        fixture.variable(proof.variable, &file.display().to_string())
    }

    /// Puts what must be shown to a source into its file, and has nothing else accepted there.
    pub(super) fn show(&self, source: &Source, proof: &str) -> PathBuf {
        let file = self.file("token", proof);
        source.accept(proof);
        file
    }

    /// AWS takes these, found by the access key's id, until they expire, and no others.
    pub(super) fn take(&self, find: impl Fn(&str) -> Option<Issued> + Send + Sync + 'static) {
        self.proxy.demand(error::expired_token(), move |asked| {
            let now = OffsetDateTime::now_utc();
            let issued = find(key_id(asked)).ok_or("signed by a key that was not issued")?;
            // The time in transit depends on the machine, so it does not count.
            if signed_at(asked).is_none_or(|at| issued.expires <= at) {
                return Err(format!("{} has expired at {}", issued.access_key, issued.expires));
            }
            verify(asked, &issued.signer(REGION), now)
        });
    }

    /// AWS takes these and no others.
    pub(super) fn demand(&self, signer: Signer) {
        demand_signatures(&self.proxy, signer);
    }

    /// Sets an environment variable for servers; the last one of a name counts.
    pub(super) fn variable(mut self, name: &str, value: &str) -> Self {
        self.setup = self.setup.variable(name, value);
        self
    }

    /// Puts a file into the servers' home, at once and whole.
    pub(super) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.setup.folder().join(name);
        let fresh = path.with_extension("fresh");
        fs::create_dir_all(path.parent().expect("it is in a folder")).expect("the folder is ours");
        fs::write(&fresh, text).expect("the folder is ours");
        fs::rename(fresh, &path).expect("the folder is ours");
        path
    }

    /// A connection of the admin.
    pub(super) async fn admin(&self, server: &Server) -> Connection {
        server.connect(self.setup.admin()).await
    }

    /// Asserts that AWS was asked something, each time with valid credentials and a valid signature.
    pub(super) fn was_asked_well(&self) {
        assert_eq!(self.proxy.failures(), Vec::<String>::new());
        assert!(!self.proxy.asked().is_empty(), "AWS was not asked");
    }

    /// Waits until AWS was asked with these.
    pub(super) async fn until_used(&self, issued: &Issued) {
        let id = issued.access_key.clone();
        self.proxy.seen(move |asked| key_id(asked) == id).await;
    }

    /// AWS does not know these any more.
    pub(super) fn revoke(&self, issued: &Issued) {
        let id = issued.access_key.clone();
        let is_it = move |asked: &Asked| key_id(asked) == id;
        self.proxy.inject(Fault::Answer(error::expired_token()), is_it);
    }
}

/// What a client must show to a source, in a file.
pub(super) struct Proof {
    /// The variable that names the file.
    pub(super) variable: &'static str,
    /// What is in it at first.
    pub(super) text: &'static str,
}

impl Proof {
    /// A web identity.
    pub(super) const WEB: Self =
        Self { variable: "AWS_WEB_IDENTITY_TOKEN_FILE", text: "header.claims-1.signature" };

    /// A pod's identity.
    pub(super) const POD: Self =
        Self { variable: "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", text: "header.pod-1.signature" };
}

/// The emulator, if the machine has one.
pub(super) async fn emulator() -> Option<Moto> {
    Some(Moto::start(&moto()?).await)
}
