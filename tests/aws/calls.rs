//! The calls that the server makes to AWS: their signatures, their number and the endpoints they use.

use std::fs;

use kes_harness::aws::{Moto, Signer, is_action, moto, verify};
use kes_harness::caller::{decrypt, generate, until_ready};
use kes_harness::pki::{self, Authority};
use kes_harness::proxy::{Asked, Fault, Gate, Proxy, Reply};
use kes_harness::{Relay, Setup};
use serde_json::json;
use time::OffsetDateTime;
use tokio::task::JoinSet;

use crate::fixture::{
    Fixture, KEY_ID, REGION, SECRET, action, action_on, create, delete, demand_signatures,
    keystore, names, signer, stored,
};

#[tokio::test]
async fn every_request_is_signed_for_the_key_the_region_the_service_and_the_token() {
    let Some(fixture) = Fixture::new().await else { return };
    let token = "FwoGZXIvYXdzEDoaDFakeSessionToken/+==".to_owned();
    let with_token = Signer { token: Some(token.clone()), ..signer() };
    demand_signatures(&fixture.proxy, with_token.clone());
    let (id, _) = fixture.api().make_key("ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT").await;
    let credentials = json!({ "accesskey": KEY_ID, "secretkey": SECRET, "token": token });
    let setup = fixture.another(json!({ "credentials": credentials, "kmskey": id, "tags": {} }));
    let server = setup.start().await;
    let mut admin = server.connect(setup.admin()).await;
    create(&mut admin, "my-key").await.ok_empty();
    let made = generate(&mut admin, "my-key").await.ok();
    decrypt(&mut admin, "my-key", &made).await.ok();
    assert_eq!(names(&mut admin, "my-").await, ["my-key"]);
    create(&mut admin, "my-key").await.refused(400, "key already exists");
    generate(&mut admin, "my-other").await.refused(404, "key does not exist");
    delete(&mut admin, "my-key").await.ok_empty();
    server.stop().await;
    assert_eq!(fixture.proxy.failures(), Vec::<String>::new());
    let asked = fixture.proxy.asked();
    for action in [
        "CreateSecret",
        "DeleteSecret",
        "DescribeKey",
        "DescribeSecret",
        "GetSecretValue",
        "ListSecrets",
    ] {
        assert!(asked.iter().any(|asked| is_action(asked, action)), "{action}");
    }
    // The proxy would have failed: each signature is wrong for any other credentials.
    let others = [
        Signer { region: "us-east-1".to_owned(), ..with_token.clone() },
        Signer { secret: "x".to_owned(), ..with_token.clone() },
        Signer { key_id: "AKIAOTHER".to_owned(), ..with_token.clone() },
        Signer { token: None, ..with_token },
    ];
    let now = OffsetDateTime::now_utc();
    let is_wrong = |asked: &Asked| others.iter().all(|other| verify(asked, other, now).is_err());
    assert!(asked.iter().all(is_wrong));
    // Values are in bodies alone, and the connection is not opened anew each time.
    assert!(
        asked.iter().all(|asked| (asked.method.as_str(), asked.path.as_str()) == ("POST", "/"))
    );
    assert!(
        fixture.proxy.accepted() < asked.len(),
        "{} of {}",
        fixture.proxy.accepted(),
        asked.len()
    );
}

#[tokio::test]
async fn readiness_is_an_authenticated_call_and_in_good_times_one_in_ten_seconds() {
    let Some(fixture) = Fixture::new().await else { return };
    let server = fixture.setup.start().await;
    let lists = || fixture.proxy.count(action("ListSecrets"));
    let before = lists();
    let mut clients = JoinSet::new();
    for _ in 0..50 {
        let mut admin = fixture.admin(&server).await;
        clients.spawn(async move {
            for _ in 0..4 {
                admin.get("/v1/ready").await.ok();
            }
        });
    }
    clients.join_all().await;
    // The machine may be slow: ten seconds can pass meanwhile, but not often.
    assert!(lists() - before <= 3, "{}", lists() - before);
    // A failed call is checked again at once.
    fixture.proxy.inject(Fault::Reset, |_| true);
    let mut admin = fixture.admin(&server).await;
    generate(&mut admin, "my-key").await.refused(502, "failed to read key");
    assert_eq!(admin.get("/v1/ready").await.status, 504);
    server.stop().await;
}

#[tokio::test]
async fn an_outage_is_noticed_without_any_request_for_a_key() {
    let Some(fixture) = Fixture::new().await else { return };
    let server = fixture.setup.start().await;
    let mut admin = fixture.admin(&server).await;
    assert_eq!(admin.get("/v1/ready").await.status, 200);
    fixture.proxy.turn(None);
    server.log_has(&["ERROR", "the key store cannot be used", "secretsmanager:ListSecrets"]).await;
    assert_eq!(admin.get("/v1/ready").await.status, 504);
    fixture.proxy.turn(Some(fixture.moto.address()));
    until_ready(&mut admin).await;
    server.stop().await;
}

#[tokio::test]
async fn a_hundred_clients_that_miss_one_key_cause_one_read() {
    let Some(fixture) = Fixture::new().await else { return };
    let server = fixture.setup.start().await;
    create(&mut fixture.admin(&server).await, "my-key").await.ok_empty();
    server.stop().await;
    let setup = Setup::new().aws(keystore(&fixture.proxy, json!({})));
    let server = setup.start().await;
    let before = fixture.proxy.count(action("GetSecretValue"));
    let mut clients = JoinSet::new();
    for _ in 0..100 {
        let mut connection = server.connect(setup.admin()).await;
        clients.spawn(async move { generate(&mut connection, "my-key").await.status });
    }
    assert_eq!(clients.join_all().await, [200; 100]);
    assert_eq!(fixture.proxy.count(action("GetSecretValue")) - before, 1);
    server.stop().await;
}

#[tokio::test]
async fn a_self_signed_certificate_is_trusted_where_it_is_itself_in_the_list() {
    let Some(need) = moto() else { return };
    let moto = Moto::start(&need).await;
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let roots = folder.path().join("roots.crt");
    for own in [pki::server_marked_ca(&["127.0.0.1"]), pki::server(&["127.0.0.1"])] {
        let tls = Proxy::with_certificate(moto.address(), &own).await;
        let forged = pki::server_marked_ca(&["127.0.0.1"]);
        for (list, status) in [(own.chain_pem(), 200), (forged.chain_pem(), 504)] {
            fs::write(&roots, list).expect("the folder is ours");
            let setup = Setup::new().aws(keystore(&tls, json!({}))).uncached();
            let setup = setup.variable("SSL_CERT_FILE", &roots.display().to_string());
            let server = setup.start().await;
            let mut admin = server.connect(setup.admin()).await;
            assert_eq!(admin.get("/v1/ready").await.status, status);
            server.stop().await;
        }
    }
}

#[tokio::test]
async fn endpoints_may_have_a_scheme_and_https_is_checked() {
    let Some(need) = moto() else { return };
    let moto = Moto::start(&need).await;
    let (authority, other) = (Authority::new(), Authority::new());
    let tls = Proxy::with_tls(moto.address(), &authority).await;
    demand_signatures(&tls, signer());
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = |name: &str, authority: &Authority| {
        let path = folder.path().join(name);
        fs::write(&path, authority.pem()).expect("the folder is ours");
        path.display().to_string()
    };
    let (right, wrong) = (file("right.crt", &authority), file("wrong.crt", &other));
    let bare = tls.address().to_string();
    for (endpoint, roots, is_right) in [
        (tls.url(), &right, true),
        (format!("{}/", tls.url()), &right, true),
        (bare.clone(), &right, true),
        (tls.url(), &wrong, false),
        (bare, &wrong, false),
    ] {
        let section = keystore(&tls, json!({ "endpoint": endpoint }));
        let setup = Setup::new().aws(section).uncached().variable("SSL_CERT_FILE", roots);
        let server = setup.start().await;
        let mut admin = server.connect(setup.admin()).await;
        if is_right {
            assert_eq!(admin.get("/v1/ready").await.status, 200, "{endpoint}");
            let name = format!("my-key-{}", endpoint.len());
            create(&mut admin, &name).await.ok_empty();
        } else {
            assert_eq!(admin.get("/v1/ready").await.status, 504, "{endpoint}");
            server
                .log_has(&[
                    "WARN",
                    "AWS cannot be used now",
                    "names a trusted authority that has not signed it",
                    "SSL_CERT_FILE",
                ])
                .await;
        }
        server.stop().await;
    }
    assert_eq!(tls.failures(), Vec::<String>::new());
}

#[tokio::test]
async fn kms_may_have_an_endpoint_of_its_own() {
    let Some(fixture) = Fixture::new().await else { return };
    let kms = Proxy::to(fixture.moto.address()).await;
    demand_signatures(&kms, signer());
    let (id, _) = fixture.api().make_key("ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT").await;
    let setup =
        fixture.another(json!({ "kmskey": id, "kmsendpoint": kms.url(), "region": REGION }));
    let server = setup.start().await;
    create(&mut server.connect(setup.admin()).await, "my-key").await.ok_empty();
    assert!(kms.asked().iter().all(|asked| is_action(asked, "DescribeKey")));
    assert_eq!(kms.count(action_on("DescribeKey", &id)), 1);
    assert_eq!(fixture.proxy.count(action("DescribeKey")), 0);
    assert_eq!((kms.failures(), fixture.proxy.failures()), (vec![], vec![]));
    server.stop().await;
}

#[tokio::test]
async fn connections_that_are_dead_without_a_word_cost_one_attempt() {
    let Some(fixture) = Fixture::new().await else { return };
    let relay = Relay::to(fixture.proxy.address()).await;
    let setup = fixture.another(json!({ "endpoint": format!("http://{}", relay.address()) }));
    let server = setup.start().await;
    // As many connections as there are reads at a time: more than a request has attempts.
    let gate = Gate::new();
    fixture.proxy.inject(Fault::Held(gate.clone()), action("GetSecretValue"));
    let mut clients = JoinSet::new();
    for number in 0..8 {
        let name = format!("my-key-{number}");
        fixture.api().put(&name, &stored()).await;
        let mut connection = server.connect(setup.admin()).await;
        clients.spawn(async move { generate(&mut connection, &name).await.status });
    }
    fixture.proxy.seen_times(8, action("GetSecretValue")).await;
    fixture.proxy.heal();
    gate.open();
    assert_eq!(clients.join_all().await, [200; 8]);
    relay.freeze();
    generate(&mut server.connect(setup.admin()).await, "my-key-0").await.ok();
    server.stop().await;
}

#[tokio::test]
async fn what_is_on_this_machine_is_not_asked_through_a_proxy() {
    let Some(fixture) = Fixture::new().await else { return };
    let between = Proxy::to(fixture.proxy.address()).await;
    let mut setup = fixture.another(json!({}));
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        setup = setup.variable(name, &between.url());
    }
    let server = setup.start().await;
    create(&mut server.connect(setup.admin()).await, "my-key").await.ok_empty();
    assert_eq!(between.accepted(), 0);
    server.stop().await;
}

#[tokio::test]
async fn an_answer_without_an_end_is_not_read_to_its_end() {
    let Some(fixture) = Fixture::new().await else { return };
    fixture.api().put("my-key", &stored()).await;
    let server = fixture.setup.start().await;
    let endless = Reply::new(200, "application/x-amz-json-1.1", vec![b' '; 9 << 20]);
    fixture.proxy.inject(Fault::Answer(endless), action("GetSecretValue"));
    let mut admin = fixture.admin(&server).await;
    generate(&mut admin, "my-key").await.refused(502, "failed to read key");
    server.log_has(&["failed to read key", "length limit exceeded"]).await;
    server.stop().await;
}
