//! A real `MinIO` against the real binary: when `minio` and `mc` are on `PATH`, or at the paths in
//! `KES_TEST_MINIO` and `KES_TEST_MC`.
//!
//! `MinIO` is configured with the server, a key and an API key, and to encrypt whatever it
//! writes. It boots, makes the key, writes, lists and reads objects, and does so again after both
//! were started anew.

mod minio;

use std::fs;

use kes_harness::{Credential, Setup, unb64};

use crate::minio::{Mc, Minio, Programs};

const KEY: &str = "my-minio-key";

/// What `MinIO` needs for everything below, and no more.
const ALLOW: [&str; 7] = [
    "/v1/status",
    "/v1/api",
    "/v1/key/create/my-*",
    "/v1/key/generate/my-*",
    "/v1/key/decrypt/my-*",
    "/v1/key/describe/my-*",
    "/v1/key/list/*",
];

#[tokio::test]
async fn minio_reads_what_it_wrote_encrypted_also_after_both_were_started_anew() {
    let Some(programs) = Programs::find() else { return };
    let node = Credential::generate();
    let setup = Setup::new().policy("minio", &ALLOW, &[], &[&node]);
    let objects = [
        ("small", b"hello".to_vec()),
        ("empty", Vec::new()),
        // Large enough for a multipart upload.
        ("large", vec![7; 70 << 20]),
    ];

    let server = setup.start().await;
    let minio = Minio::start(&programs, &setup, &server, &node, KEY).await;
    let stored = fs::read_to_string(setup.keys().join(KEY)).expect("MinIO made its key");
    assert!(!unb64(&stored).is_empty());
    let mc = Mc::new(&programs, &setup, &minio).await;
    mc.run(&["mb", "kes/bucket"]).await;
    for (name, content) in &objects {
        let file = setup.folder().join(name);
        fs::write(&file, content).expect("the folder is ours");
        mc.run(&["cp", &file.display().to_string(), &format!("kes/bucket/{name}")]).await;
    }
    check_objects(&setup, &mc, &objects).await;
    let keys = mc.run(&["admin", "kms", "key", "list", "kes"]).await;
    assert!(keys.contains(KEY), "{keys}");
    mc.run(&["admin", "kms", "key", "create", "kes", "my-second"]).await;
    assert!(setup.keys().join("my-second").is_file());
    minio.stop().await;
    server.stop().await;

    let server = setup.start().await;
    let minio = Minio::start(&programs, &setup, &server, &node, KEY).await;
    let mc = Mc::new(&programs, &setup, &minio).await;
    check_objects(&setup, &mc, &objects).await;
    let status = mc.run(&["--json", "admin", "kms", "key", "status", "kes"]).await;
    assert!(!status.contains("Error\":\"") && !status.contains("error\":\""), "{status}");
    let info = mc.run(&["--json", "admin", "info", "kes"]).await;
    assert!(info.contains("online"), "{info}");
    minio.stop().await;
    server.stop().await;
}

async fn check_objects(setup: &Setup, mc: &Mc<'_>, objects: &[(&str, Vec<u8>)]) {
    let listed = mc.run(&["ls", "kes/bucket"]).await;
    for (name, content) in objects {
        assert!(listed.contains(name), "{listed}");
        let object = format!("kes/bucket/{name}");
        let stat = mc.run(&["--json", "stat", &object]).await;
        let stat: String = stat.split_whitespace().collect();
        // As the guides show them.
        for line in [
            "\"X-Amz-Server-Side-Encryption\":\"aws:kms\"".to_owned(),
            format!("\"X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id\":\"arn:aws:kms:{KEY}\""),
        ] {
            assert!(stat.contains(&line), "not encrypted: {stat}");
        }
        let back = setup.folder().join("back");
        mc.run(&["cp", &object, &back.display().to_string()]).await;
        assert_eq!(fs::read(&back).expect("it was read"), *content, "{name}");
    }
}
