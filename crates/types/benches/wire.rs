//! Benchmarks of JSON: the bodies of the most frequent requests, and their audit event.

use std::error::Error;
use std::hint::black_box;

use criterion::{Criterion, Throughput};
use kes_types::Secret;
use kes_types::wire::{Base64, DecryptRequest, DecryptResponse, GenerateResponse};
use serde::Serialize;

/// Length of a data key, in bytes.
const DATA_KEY_LEN: usize = 32;
/// Length of a sealed data key, in bytes.
const CIPHERTEXT_LEN: usize = 76;
/// About the length of the associated data of an object, in bytes.
const CONTEXT_LEN: usize = 60;

fn main() -> Result<(), Box<dyn Error>> {
    let mut criterion = Criterion::default().configure_from_args();
    read_decrypt_request(&mut criterion)?;
    write(&mut criterion, "decrypt_response", &DecryptResponse { plaintext: data_key() })?;
    let generated = GenerateResponse { plaintext: data_key(), ciphertext: bytes(CIPHERTEXT_LEN) };
    write(&mut criterion, "generate_response", &generated)?;
    criterion.final_summary();
    Ok(())
}

fn read_decrypt_request(criterion: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let request = DecryptRequest { ciphertext: bytes(CIPHERTEXT_LEN), context: bytes(CONTEXT_LEN) };
    let body = serde_json::to_vec(&request)?;
    serde_json::from_slice::<DecryptRequest>(&body)?;

    let mut group = criterion.benchmark_group("read");
    group.throughput(Throughput::Bytes(body.len().try_into()?));
    group.bench_function("decrypt_request", |bencher| {
        bencher.iter(|| serde_json::from_slice::<DecryptRequest>(black_box(&body)));
    });
    group.finish();
    Ok(())
}

fn write(
    criterion: &mut Criterion,
    name: &str,
    body: &impl Serialize,
) -> Result<(), Box<dyn Error>> {
    let len = serde_json::to_vec(body)?.len();

    let mut group = criterion.benchmark_group("write");
    group.throughput(Throughput::Bytes(len.try_into()?));
    group.bench_function(name, |bencher| {
        bencher.iter(|| serde_json::to_vec(black_box(body)));
    });
    group.finish();
    Ok(())
}

fn bytes(len: usize) -> Base64 {
    Base64(vec![7; len])
}

fn data_key() -> Secret {
    Secret::new(vec![7; DATA_KEY_LEN])
}
