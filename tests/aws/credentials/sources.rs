//! Each source of AWS credentials works by itself.

use std::sync::Arc;
use std::time::Duration;

use kes_harness::aws::identity::{Issued, Source};
use kes_harness::aws::{Moto, Signer};
use kes_harness::caller::{decrypt, generate};
use serde_json::json;
use tokio::task::JoinSet;

use super::fixture::{Fixture, Proof, emulator};
use crate::fixture::{REGION, create, keystore, signer};

/// Where a server finds its credentials.
#[derive(Clone, Copy, Debug)]
enum Origin {
    /// In variables, for ever.
    Environment,
    /// In variables, with a session token.
    Session,
    /// In `~/.aws/credentials`.
    Home,
    /// In the file of `AWS_SHARED_CREDENTIALS_FILE`, in the profile of `AWS_PROFILE`.
    Profile,
    /// In what the process of a profile says.
    Process,
    /// From STS.
    WebIdentity,
    /// From the agent of ECS, with the token in a variable.
    Container,
    /// From the agent of EKS, with the token in a file.
    Pod,
    /// From EC2.
    Instance,
}

const ORIGINS: [Origin; 9] = [
    Origin::Environment,
    Origin::Session,
    Origin::Home,
    Origin::Profile,
    Origin::Process,
    Origin::WebIdentity,
    Origin::Container,
    Origin::Pod,
    Origin::Instance,
];

/// What a server has found.
enum Found {
    /// The same for ever.
    Fixed(Issued),
    /// The credentials that this source issues.
    From(Source),
}

impl Found {
    /// What no line of a log may have.
    fn secrets(&self) -> Vec<String> {
        let issued = match self {
            Self::Fixed(issued) => vec![issued.clone()],
            Self::From(source) => source.issued(),
        };
        assert_eq!(issued.len(), 1, "they are asked for once");
        issued.into_iter().flat_map(|issued| [issued.secret_key, issued.token]).collect()
    }
}

impl Origin {
    /// The fixture of a server that finds them there.
    async fn fixture(self, moto: &Moto) -> (Fixture, Found) {
        match self {
            Self::WebIdentity => {
                let source = Source::sts().await;
                (Fixture::with(moto, &source, Some(&Proof::WEB)).await, Found::From(source))
            }
            Self::Pod => {
                let source = Source::container().await;
                (Fixture::with(moto, &source, Some(&Proof::POD)).await, Found::From(source))
            }
            Self::Container => {
                let source = Source::container().await;
                source.accept("basic Zm9v");
                let fixture = Fixture::with(moto, &source, None).await;
                let fixture = fixture.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN", "basic Zm9v");
                (fixture, Found::From(source))
            }
            Self::Instance => {
                let source = Source::imds().await;
                (Fixture::with(moto, &source, None).await, Found::From(source))
            }
            Self::Environment | Self::Session | Self::Home | Self::Profile | Self::Process => {
                let issued = Issued::new(Duration::from_hours(1));
                let fixture = self.fixed(Fixture::new(moto).await, &issued);
                let mut signer = issued.signer(REGION);
                if matches!(self, Self::Environment | Self::Home) {
                    signer.token = None;
                }
                fixture.demand(signer);
                (fixture, Found::Fixed(issued))
            }
        }
    }

    fn fixed(self, fixture: Fixture, issued: &Issued) -> Fixture {
        let Issued { access_key, secret_key, token, .. } = issued;
        let pair =
            format!("aws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n");
        let path = |name: &str, text: &str| fixture.file(name, text).display().to_string();
        match self {
            Self::Home => {
                path(".aws/credentials", &format!("[default]\n{pair}"));
                fixture
            }
            Self::Profile => {
                let text =
                    format!("[other]\nx = y\n[storage]\n{pair}aws_session_token = {token}\n");
                let file = path("elsewhere", &text);
                fixture
                    .variable("AWS_SHARED_CREDENTIALS_FILE", &file)
                    .variable("AWS_PROFILE", "storage")
            }
            Self::Process => {
                let said = path("said", &process(issued));
                let text = format!("[profile storage]\ncredential_process = cat {said}\n");
                let file = path("config", &text);
                fixture.variable("AWS_CONFIG_FILE", &file).variable("AWS_PROFILE", "storage")
            }
            _ => {
                let fixture = fixture
                    .variable("AWS_ACCESS_KEY_ID", access_key)
                    .variable("AWS_SECRET_ACCESS_KEY", secret_key);
                if matches!(self, Self::Environment) {
                    return fixture;
                }
                fixture.variable("AWS_SESSION_TOKEN", token)
            }
        }
    }
}

/// What a process of a profile says.
pub(super) fn process(issued: &Issued) -> String {
    json!({
        "Version": 1,
        "AccessKeyId": issued.access_key,
        "SecretAccessKey": issued.secret_key,
        "SessionToken": issued.token,
        "Expiration": issued.expiration(),
    })
    .to_string()
}

async fn serves(origin: Origin, moto: Arc<Moto>) {
    let (mut fixture, found) = origin.fixture(&moto).await;
    // The environment says where credentials are; where AWS is, the configuration says.
    fixture = fixture
        .variable("AWS_REGION", "us-west-1")
        .variable("AWS_DEFAULT_REGION", "us-west-1")
        .variable("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
    fixture.setup = fixture.setup.with(json!({ "log": { "error": "debug" } }));
    let server = fixture.setup.start().await;
    let mut admin = fixture.admin(&server).await;
    admin.get("/v1/ready").await.ok();
    let name = format!("my-key-{origin:?}");
    create(&mut admin, &name).await.ok();
    let made = generate(&mut admin, &name).await.ok();
    decrypt(&mut admin, &name, &made).await.ok();
    admin.get("/v1/key/list/").await.ok();
    generate(&mut admin, "my-absent").await.refused(404, "key does not exist");
    fixture.was_asked_well();
    let output = [server.stdout().so_far(), server.stderr().so_far()].concat().join("\n");
    let is_logged = found.secrets().iter().any(|secret| output.contains(secret));
    assert!(!is_logged, "secrets of {origin:?} are in the log");
    server.stop().await;
}

#[tokio::test]
async fn credentials_of_every_source_sign_every_request() {
    let Some(moto) = emulator().await else { return };
    let moto = Arc::new(moto);
    let mut servers = JoinSet::new();
    for origin in ORIGINS {
        servers.spawn(serves(origin, Arc::clone(&moto)));
    }
    servers.join_all().await;
}

#[tokio::test]
async fn the_environment_comes_first_and_the_configuration_before_it() {
    let Some(moto) = emulator().await else { return };
    let (web, instance) = (Source::sts().await, Source::imds().await);
    let mut fixture = Fixture::with(&moto, &web, Some(&Proof::WEB)).await;
    for (name, value) in instance.environment() {
        fixture = fixture.variable(name, &value);
    }
    let of_file = "[default]\naws_access_key_id = AKIAFILE\naws_secret_access_key = of-the-file\n";
    fixture.file(".aws/credentials", of_file);
    let of_environment = Signer {
        key_id: "AKIAENVIRONMENT".to_owned(),
        secret: "of the environment".to_owned(),
        token: None,
        region: REGION.to_owned(),
    };
    fixture = fixture
        .variable("AWS_ACCESS_KEY_ID", &of_environment.key_id)
        .variable("AWS_SECRET_ACCESS_KEY", &of_environment.secret);
    for (signer, section) in
        [(of_environment, None), (signer(), Some(keystore(&fixture.proxy, json!({}))))]
    {
        fixture.demand(signer);
        if let Some(section) = section {
            fixture.setup = fixture.setup.aws(section);
        }
        let server = fixture.setup.start().await;
        create(&mut fixture.admin(&server).await, &format!("my-key-{}", server.pid())).await.ok();
        server.stop().await;
    }
    fixture.was_asked_well();
    assert_eq!((web.asked(), instance.asked()), (0, 0));
}
