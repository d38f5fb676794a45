//! Benchmarks of authorization: looking up a caller's policy, and matching a path against its patterns.

use std::error::Error;
use std::hint::black_box;

use criterion::Criterion;
use kes_policy::{Admin, Assignment, Pattern, Policy, PolicySet, RequestPath, Subject};
use kes_types::{Identity, PolicyName};

/// A policy for an object store; the most frequent path is last, so every pattern is tried.
const OBJECT_STORE: [&str; 11] = [
    "/v1/status",
    "/v1/metrics",
    "/v1/log/audit",
    "/v1/log/error",
    "/v1/key/create/minio-*",
    "/v1/key/describe/minio-*",
    "/v1/key/list/minio-*",
    "/v1/key/delete/minio-*",
    "/v1/key/hmac/minio-*",
    "/v1/key/generate/minio-*",
    "/v1/key/decrypt/minio-*",
];

const POLICIES: u32 = 200;
const IDENTITIES_PER_POLICY: u32 = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let mut criterion = Criterion::default().configure_from_args();
    authorize(&mut criterion)?;
    subject(&mut criterion)?;
    criterion.final_summary();
    Ok(())
}

fn authorize(criterion: &mut Criterion) -> Result<(), Box<dyn Error>> {
    // Patterns and paths share long prefixes, as they do for tenants of one server.
    let allow = (0..100).map(|n| format!("/v1/key/decrypt/tenant-{n:03}-*"));
    let deny = (0..20).map(|n| format!("/v1/key/decrypt/tenant-{n:03}-retired-*"));
    let small = assigned(patterns(OBJECT_STORE), Vec::new())?;
    let large = assigned(patterns(allow), patterns(deny))?;

    let mut group = criterion.benchmark_group("authorize");
    for (name, subject, path) in [
        ("11_allow", small, "/v1/key/decrypt/minio-default-key"),
        ("100_allow_20_deny", large, "/v1/key/decrypt/tenant-099-default-key"),
    ] {
        subject.authorize(&RequestPath::exact(path))?;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                black_box(&subject).authorize(&RequestPath::exact(black_box(path))).is_ok()
            });
        });
    }
    group.finish();
    Ok(())
}

fn subject(criterion: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let assignments = (0..POLICIES).map(|policy| {
        let first = policy * IDENTITIES_PER_POLICY;
        let identities = (first..first + IDENTITIES_PER_POLICY).map(identity).collect();
        assignment(&format!("policy-{policy}"), patterns(OBJECT_STORE), Vec::new(), identities)
    });
    let set = PolicySet::new(admin(), assignments.collect::<Result<_, _>>()?)?;
    let callers: Vec<Identity> = (0..POLICIES * IDENTITIES_PER_POLICY).map(identity).collect();
    if !callers.iter().all(|caller| set.subject(caller).is_known()) {
        return Err("an identity is in no policy".into());
    }

    // Each identity in turn: the entry of a single one would always be in the CPU cache.
    let mut turns = callers.iter().cycle();
    criterion.bench_function("subject/1000_identities_200_policies", |bencher| {
        bencher.iter(|| turns.next().map(|caller| black_box(&set).subject(black_box(caller))));
    });
    Ok(())
}

/// The one subject of a policy.
fn assigned(allow: Vec<Pattern>, deny: Vec<Pattern>) -> Result<Subject, Box<dyn Error>> {
    let caller = identity(1);
    let assignment = assignment("policy", allow, deny, vec![caller])?;
    Ok(PolicySet::new(admin(), vec![assignment])?.subject(&caller))
}

fn assignment(
    name: &str,
    allow: Vec<Pattern>,
    deny: Vec<Pattern>,
    identities: Vec<Identity>,
) -> Result<Assignment, Box<dyn Error>> {
    Ok(Assignment { policy: Policy::new(PolicyName::parse(name)?, allow, deny), identities })
}

fn patterns(texts: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<Pattern> {
    texts.into_iter().map(|text| Pattern::new(text.as_ref())).collect()
}

fn identity(seed: u32) -> Identity {
    Identity::of_public_key(&seed.to_be_bytes())
}

fn admin() -> Admin {
    Admin::new(&Identity::of_public_key(b"admin").to_string())
}
