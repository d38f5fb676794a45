//! `docs/aws.md`: its policies, configurations and log lines are right as they are written.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use kes_harness::Setup;
use kes_harness::guide::{self, Document};
use kes_harness::repository;
use serde_json::Value;

/// What needs a permission although the server does not call it: what Secrets Manager calls in its
/// name, and `CreateSecret` with tags.
const NOT_CALLED: [&str; 3] = ["kms:Decrypt", "kms:GenerateDataKey", "secretsmanager:TagResource"];

/// The guide.
pub(crate) fn guide() -> Document {
    Document::read("docs/aws.md")
}

/// The configurations: a whole one, then parts that change a few lines of it each.
pub(crate) fn configurations(guide: &Document) -> Vec<&str> {
    let is_keystore_s = |block: &&str| block.starts_with("keystore:") || block.starts_with(' ');
    guide.blocks("yaml").into_iter().filter(is_keystore_s).collect()
}

/// The policies of those who run servers. Those of roles, keys and endpoints say for whom they
/// are.
pub(crate) fn policies(guide: &Document) -> Vec<Value> {
    let all = guide.blocks("json").into_iter().map(json);
    let is_own = |policy: &Value| statements(policy).all(|one| one.get("Principal").is_none());
    all.filter(is_own).collect()
}

/// A configuration with other fields, in place of those of their names.
pub(crate) fn changed(configuration: &str, part: &str) -> String {
    let head = "keystore:\n  aws:\n    secretsmanager:\n";
    guide::changed(head, "      ", configuration, part, "")
}

/// A setup of servers with this key store and nothing cached.
pub(crate) fn setup(keystore: &str) -> Setup {
    alone(Setup::new().keystore_text(keystore))
}

/// Takes what the machine may have for AWS out of the servers' environment.
fn alone(setup: Setup) -> Setup {
    let home = setup.folder().display().to_string();
    setup
        .variable("HOME", &home)
        .variable("AWS_EC2_METADATA_DISABLED", "true")
        .variable("AWS_ACCESS_KEY_ID", "AKIDENVIRONMENT")
        .variable("AWS_SECRET_ACCESS_KEY", "hunter2")
        .variable("KES_AWS_ACCESS_KEY", "AKIDCONFIGURATION")
        .variable("KES_AWS_SECRET_KEY", "hunter2")
}

/// The actions of a policy.
pub(crate) fn actions(policies: &[Value]) -> BTreeSet<String> {
    let actions = policies.iter().flat_map(statements).flat_map(|one| match &one["Action"] {
        Value::Array(actions) => actions.clone(),
        action => vec![action.clone()],
    });
    actions.map(|action| action.as_str().expect("an action is a text").to_owned()).collect()
}

/// What a policy has to allow for these requests, as AWS's protocol names them, with what Secrets
/// Manager needs in addition.
pub(crate) fn needed(targets: impl IntoIterator<Item = String>) -> BTreeSet<String> {
    let action = |target: String| {
        let (service, action) = target.split_once('.').expect("a service and an action");
        let service = if service == "TrentService" { "kms" } else { service };
        format!("{service}:{action}")
    };
    targets.into_iter().map(action).chain(NOT_CALLED.map(str::to_owned)).collect()
}

fn statements(policy: &Value) -> impl Iterator<Item = &Value> {
    policy["Statement"].as_array().expect("a policy has statements").iter()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What is the store's own in an example of the log: not AWS's names and words, not numbers, and
/// nothing too short to tell.
fn ours(example: &str) -> Vec<String> {
    let is_of_aws = |word: &str| {
        let names = ["Exception", "Error", "arn:", "secretsmanager:", "kms:"];
        names.iter().any(|name| word.contains(name)) || word.starts_with(char::is_numeric)
    };
    let example = example.replace("Rate exceeded", "…").replace("Signature expired", "…");
    let pieces = example.split('…').flat_map(|piece| {
        let words: Vec<&str> = piece.split(' ').collect();
        let pieces = words.split(|word| is_of_aws(word)).map(|words| words.join(" "));
        pieces
            .map(|piece| piece.trim_matches([' ', '\'', ':', ';', '(']).to_owned())
            .collect::<Vec<_>>()
    });
    pieces.filter(|piece| piece.len() >= 12).collect()
}

/// A file of YAML without comments and empty lines.
fn bare(text: &str) -> String {
    let is_bare = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    text.lines().filter(is_bare).flat_map(|line| [line, "\n"]).collect()
}

#[test]
fn policies_are_sound() {
    let guide = guide();
    assert_eq!(guide.blocks("json").len(), 8);
    for policy in guide.blocks("json").into_iter().map(json) {
        assert_eq!(policy["Version"], "2012-10-17");
        for statement in statements(&policy) {
            assert_eq!(statement["Effect"], "Allow", "{statement}");
            let is_of_a_role = statement["Action"].to_string().contains("sts:");
            assert_ne!(statement["Resource"].is_string(), is_of_a_role, "{statement}");
        }
    }
}

#[test]
fn each_policy_allows_what_the_table_says_that_its_servers_need() {
    let guide = guide();
    let table = guide.section("## The IAM policy");
    let rows = table.text().lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let explained: BTreeSet<String> = rows.map(str::to_owned).collect();
    assert_eq!(actions(&policies(&guide)), explained);
    let all = guide.blocks("json").into_iter().map(json).collect::<Vec<Value>>();
    let [with_kms, without_kms, tags, of_the_key, _role, _pod, of_the_endpoint, replica] =
        all.as_slice()
    else {
        panic!("{} policies", all.len());
    };
    let is_of_kms = |action: &str| action.starts_with("kms:");
    let is_tagging = |action: &str| action.ends_with(":TagResource");
    let is_writing = |action: &str| {
        ["CreateSecret", "DeleteSecret", "GenerateDataKey"].iter().any(|it| action.ends_with(it))
    };
    let of = |policy: &Value| {
        let mut actions = actions(std::slice::from_ref(policy));
        // Who administers the key.
        actions.remove("kms:*");
        actions
    };
    let those = |wanted: &dyn Fn(&str) -> bool| {
        explained.iter().filter(|action| wanted(action)).cloned().collect::<BTreeSet<_>>()
    };
    assert_eq!(of(with_kms), those(&|it| !is_tagging(it)));
    assert_eq!(of(without_kms), those(&|it| !is_tagging(it) && !is_of_kms(it)));
    assert_eq!(of(tags), those(&is_tagging));
    assert_eq!(of(of_the_key), those(&is_of_kms));
    assert_eq!(of(of_the_endpoint), those(&|it| !is_of_kms(it)));
    assert_eq!(of(replica), those(&|it| !is_tagging(it) && !is_writing(it)));
}

#[test]
fn what_a_policy_allows_is_limited_to_the_prefix_or_the_key() {
    for policy in policies(&guide()) {
        for statement in statements(&policy) {
            let resource = statement["Resource"].as_str().expect("one resource");
            if statement["Action"] == "secretsmanager:ListSecrets" {
                assert_eq!(resource, "*", "AWS knows no other");
                continue;
            }
            let is_of_secrets = resource.ends_with(":secret:minio/*");
            let is_of_a_key = resource.contains(":kms:") && !resource.contains('*');
            assert!(is_of_secrets || is_of_a_key, "{statement}");
            // Its keys encrypt for Secrets Manager of the same region, and for these secrets.
            let conditions = &statement["Condition"];
            let region = resource.split(':').nth(3).unwrap_or_default();
            let via = format!("secretsmanager.{region}.amazonaws.com");
            let is_bound = conditions["StringEquals"]["kms:ViaService"] == via
                && conditions["StringLike"]["kms:EncryptionContext:SecretARN"]
                    .as_str()
                    .is_some_and(|arn| {
                        arn.ends_with(&format!("{region}:111122223333:secret:minio/*"))
                    });
            let is_encryption = statement["Action"].to_string().contains("kms:Decrypt");
            assert_eq!(is_encryption, is_bound, "{statement}");
        }
    }
}

#[test]
fn the_policy_s_file_is_the_one_shown() {
    assert_eq!(read("deploy/aws/kes-policy.json"), guide().blocks("json")[0]);
}

#[test]
fn sample_files_are_as_shown() {
    let guide = guide();
    let shown = configurations(&guide)[0];
    assert!(bare(&read("config/aws.yaml")).ends_with(shown), "{shown}");
    let (without, credentials) = shown.split_once("      credentials:").expect("the last field");
    assert_eq!(credentials.lines().count(), 3);
    assert!(bare(&read("config/aws-irsa.yaml")).ends_with(without), "{without}");
}

/// The texts of all files in a folder and below it.
fn sources(folder: &Path) -> String {
    let entries = fs::read_dir(folder).expect("the folder exists");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let text = |path: PathBuf| {
        if path.is_dir() { sources(&path) } else { fs::read_to_string(path).expect("a text") }
    };
    paths.map(text).collect()
}

#[test]
fn what_the_guide_says_of_the_log_is_what_the_store_writes() {
    let folders = ["crates/store-aws/src", "crates/config/src/aws"];
    let source: String = folders.iter().map(|folder| sources(&repository().join(folder))).collect();
    // Texts of several lines, as they are in the end.
    let lines = source.split("\\\n").map(str::trim_start);
    let source = lines.collect::<String>().replace("{secret}", "…").replace("{}", "…");
    let guide = guide();
    let tables = guide.section("## When something is wrong");
    let mut found = 0;
    for row in tables.text().lines().filter(|line| line.starts_with("| ") && !line.contains("---"))
    {
        let cells: Vec<&str> = row.split(" | ").collect();
        let log = if cells.len() == 4 { cells[2] } else { cells[0] };
        for words in log.split('`').skip(1).step_by(2).flat_map(ours) {
            assert!(source.contains(&words), "'{words}' is in no text of the store");
            found += 1;
        }
    }
    assert!(found >= 12, "{found}");
}
