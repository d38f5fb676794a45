//! Listing of keys: which secrets are listed, and how many.

use bytes::Bytes;
use kes_harness::Setup;
use kes_harness::aws::{Api, Ministack, is_action, ministack};
use kes_harness::caller::{decrypt, generate};
use kes_harness::proxy::{Fault, Proxy};
use serde_json::{Value, json};

use crate::fixture::{Fixture, REGION, action, create, delete, keystore, names, stored};

#[tokio::test]
async fn clusters_in_one_account_do_not_see_each_other() {
    let Some(fixture) = Fixture::new().await else { return };
    let prefixes = ["", "one", "one/two", "/other/", "ONE"];
    let mut servers = Vec::new();
    for prefix in prefixes {
        let setup = fixture.another(json!({ "prefix": prefix }));
        servers.push((setup.start().await, setup));
    }
    let mut made = Vec::new();
    for (number, (server, setup)) in servers.iter().enumerate() {
        let mut admin = server.connect(setup.admin()).await;
        create(&mut admin, "my-key").await.ok_empty();
        create(&mut admin, &format!("my-key-{number}")).await.ok_empty();
        made.push(generate(&mut admin, "my-key").await.ok());
    }
    let mut all = fixture.api().names().await;
    all.retain(|name| name.ends_with("my-key"));
    all.sort();
    let want = ["ONE/my-key", "my-key", "one/my-key", "one/two/my-key", "other/my-key"];
    assert_eq!(all, want);
    for (number, (server, setup)) in servers.into_iter().enumerate() {
        let mut admin = server.connect(setup.admin()).await;
        let own = format!("my-key-{number}");
        assert_eq!(names(&mut admin, "").await, ["my-key", &own]);
        assert_eq!(names(&mut admin, "my-key-*").await, [own]);
        for (another, made) in made.iter().enumerate() {
            let opened = decrypt(&mut admin, "my-key", made).await.status;
            assert_eq!(opened, if another == number { 200 } else { 400 });
        }
        delete(&mut admin, "my-key").await.ok_empty();
        server.stop().await;
    }
    assert!(!fixture.api().names().await.iter().any(|name| name.ends_with("my-key")));
}

/// Secrets that are not keys of ours.
const OTHERS: [&str; 7] = [
    "my/other",
    "My-Key-3",
    "not-my-key-4",
    "a.b",
    "-my-key",
    "a+b=c@d",
    "rds!cluster-0c9a2f6e-my-key",
];

async fn others(api: &Api) {
    for name in OTHERS {
        api.put(name, "another password").await;
    }
    api.put(&"n".repeat(81), "another password").await;
}

#[tokio::test]
async fn only_keys_are_listed_and_all_of_them_in_order() {
    let Some(fixture) = Fixture::new().await else { return };
    others(&fixture.api()).await;
    // One after the other: moto cannot do otherwise.
    for number in 0..250 {
        fixture.api().put(&format!("my-key-{number}"), &stored()).await;
    }
    fixture.api().put("my-Key", &stored()).await;
    let server = fixture.setup.start().await;
    let mut admin = fixture.admin(&server).await;
    let mut want: Vec<String> = (0..250).map(|number| format!("my-key-{number}")).collect();
    want.push("my-Key".to_owned());
    want.sort();
    assert_eq!(names(&mut admin, "my-*").await, want);
    // One that looks like a key is taken for one.
    want.insert(0, "My-Key-3".to_owned());
    want.push("not-my-key-4".to_owned());
    assert_eq!(names(&mut admin, "").await, want);
    want.retain(|name| name.starts_with("my-key-24"));
    assert_eq!(want.len(), 11);
    assert_eq!(names(&mut admin, "my-key-24").await, want);
    assert_eq!(names(&mut admin, "my-key-24*").await, want);
    assert_eq!(names(&mut admin, "zzz").await, Vec::<String>::new());
    // No value was read for it, and AWS filtered by the prefix.
    assert_eq!(fixture.proxy.count(action("GetSecretValue")), 0);
    let filters = fixture.proxy.asked().into_iter().filter(|asked| is_action(asked, "ListSecrets"));
    let filters: Vec<Value> =
        filters.map(|asked| serde_json::from_slice(&asked.body).expect("JSON")).collect();
    assert!(filters.iter().any(|body| {
        body["Filters"] == json!([{ "Key": "name", "Values": ["my-key-24"] }])
            && body["MaxResults"] == 100
    }));
    server.stop().await;
}

#[tokio::test]
async fn a_list_that_breaks_off_after_its_first_page_is_no_list() {
    let Some(fixture) = Fixture::new().await else { return };
    // One after the other: moto cannot do otherwise.
    for number in 0..120 {
        fixture.api().put(&format!("my-key-{number}"), &stored()).await;
    }
    let server = fixture.setup.start().await;
    let mut admin = fixture.admin(&server).await;
    let is_second = |asked: &kes_harness::proxy::Asked| {
        is_action(asked, "ListSecrets")
            && String::from_utf8_lossy(&asked.body).contains("NextToken")
    };
    for fault in [
        Fault::Reset,
        Fault::CutBody,
        Fault::Garbage(Bytes::from_static(b"<html>")),
        Fault::Garbage(Bytes::new()),
        Fault::Answer(kes_harness::aws::error::error(400, "InvalidNextTokenException", "expired")),
    ] {
        fixture.proxy.inject(fault, is_second);
        admin.get("/v1/key/list/").await.refused(502, "failed to list keys");
        fixture.proxy.heal();
        assert_eq!(names(&mut admin, "").await.len(), 120);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_filter_that_is_no_prefix_makes_no_difference() {
    let Some(need) = ministack() else { return };
    let cloud = Ministack::start(&need).await;
    let proxy = Proxy::to(cloud.address()).await;
    others(&cloud.api()).await;
    for name in ["my-key-1", "my-key-2", "kes/my-key-3", "KES/my-key-3", "x/kes/my-key-3"] {
        cloud.api().put(name, &stored()).await;
    }
    for (prefix, start, want) in [
        ("", "my-key-", vec!["my-key-1", "my-key-2"]),
        ("", "", vec!["My-Key-3", "my-key-1", "my-key-2", "not-my-key-4"]),
        ("kes", "", vec!["my-key-3"]),
        ("kes", "my-*", vec!["my-key-3"]),
        ("kes", "key-*", vec![]),
        ("x/kes", "", vec!["my-key-3"]),
        ("x", "", vec![]),
    ] {
        let more = json!({ "prefix": prefix, "region": REGION });
        let setup = Setup::new().aws(keystore(&proxy, more)).uncached();
        let server = setup.start().await;
        let mut admin = server.connect(setup.admin()).await;
        assert_eq!(names(&mut admin, start).await, want, "{prefix} {start}");
        server.stop().await;
    }
}
