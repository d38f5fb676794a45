//! Benchmarks of keys: encryption, decryption, HMAC, and stored records.
//!
//! Outputs are freed, and secrets wiped, within the measured time: requests pay for that too.

use std::error::Error;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use kes_crypto::{Key, SystemRandom, record};
use kes_types::{Algorithm, Timestamp};

const ALGORITHMS: [Algorithm; 2] = [Algorithm::Aes256, Algorithm::ChaCha20];

/// A data key, and somewhat more than the longest request can hold.
const PLAINTEXT_LENS: [usize; 2] = [32, 1 << 20];

/// As long as the associated data of an object.
const CONTEXT: &[u8; 60] = br#"{"photos-of-2026":"photos-of-2026/january/IMG_20260131.jpg"}"#;

fn main() -> Result<(), Box<dyn Error>> {
    let mut criterion = Criterion::default().configure_from_args();
    seal(&mut criterion)?;
    open(&mut criterion)?;
    generate_data_key(&mut criterion)?;
    hmac(&mut criterion)?;
    encode(&mut criterion)?;
    decode(&mut criterion)?;
    criterion.final_summary();
    Ok(())
}

fn seal(criterion: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let random = SystemRandom::new();
    let mut group = criterion.benchmark_group("seal");
    for algorithm in ALGORITHMS {
        let key = key(algorithm)?;
        for len in PLAINTEXT_LENS {
            let plaintext = vec![7; len];
            key.seal(&plaintext, CONTEXT, &random)?;
            group.throughput(Throughput::Bytes(len.try_into()?));
            group.bench_function(BenchmarkId::new(algorithm.as_str(), len), |bencher| {
                bencher.iter(|| key.seal(black_box(&plaintext), black_box(CONTEXT), &random));
            });
        }
    }
    group.finish();
    Ok(())
}

fn open(criterion: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let mut group = criterion.benchmark_group("open");
    for algorithm in ALGORITHMS {
        let key = key(algorithm)?;
        for len in PLAINTEXT_LENS {
            let ciphertext = key.seal(&vec![7; len], CONTEXT, &SystemRandom::new())?;
            key.open(&ciphertext, CONTEXT)?;
            group.throughput(Throughput::Bytes(len.try_into()?));
            group.bench_function(BenchmarkId::new(algorithm.as_str(), len), |bencher| {
                bencher.iter(|| key.open(black_box(&ciphertext), black_box(CONTEXT)));
            });
        }
    }
    group.finish();
    Ok(())
}

fn generate_data_key(criterion: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let random = SystemRandom::new();
    let mut group = criterion.benchmark_group("generate_data_key");
    for algorithm in ALGORITHMS {
        let key = key(algorithm)?;
        key.generate_data_key(CONTEXT, &random)?;
        group.bench_function(algorithm.as_str(), |bencher| {
            bencher.iter(|| key.generate_data_key(black_box(CONTEXT), &random));
        });
    }
    group.finish();
    Ok(())
}

fn hmac(criterion: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let message = [7; 32];
    let mut group = criterion.benchmark_group("hmac");
    for algorithm in ALGORITHMS {
        let key = key(algorithm)?;
        key.hmac(&message)?;
        group.bench_function(algorithm.as_str(), |bencher| {
            bencher.iter(|| key.hmac(black_box(&message)));
        });
    }
    group.finish();
    Ok(())
}

fn encode(criterion: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let mut group = criterion.benchmark_group("record_encode");
    for algorithm in ALGORITHMS {
        let key = key(algorithm)?;
        group.bench_function(algorithm.as_str(), |bencher| {
            bencher.iter(|| record::encode(black_box(&key)));
        });
    }
    group.finish();
    Ok(())
}

fn decode(criterion: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let mut group = criterion.benchmark_group("record_decode");
    for algorithm in ALGORITHMS {
        let record = record::encode(&key(algorithm)?);
        record::decode(record.expose())?;
        group.bench_function(algorithm.as_str(), |bencher| {
            bencher.iter(|| record::decode(black_box(record.expose())));
        });
    }
    group.finish();
    Ok(())
}

/// A key whose record has every field.
fn key(algorithm: Algorithm) -> Result<Key, Box<dyn Error>> {
    let created_at = Timestamp::from_unix(1_767_225_600, 123_456_789)?;
    let created_by = "3ecfcdf38fcbe141ae26a1030f81e96b753365a46760ae6b578698a97c59fd22";
    Ok(Key::generate(algorithm, created_at, created_by, &SystemRandom::new())?)
}
