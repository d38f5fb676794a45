//! The crypto provider of TLS.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, kx_group};

/// Returns the crypto provider of every TLS connection: aws-lc-rs, which prefers the post-quantum hybrid
/// key exchange X25519MLKEM768.
///
/// Its random bytes come from the kernel and the processor (`.cargo/config.toml`). The library's third
/// source, CPU jitter, costs 40 ms at the first handshake, and ends the process on machines whose clock
/// looks too regular to it.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        kx_groups: vec![
            kx_group::X25519MLKEM768,
            kx_group::X25519,
            kx_group::SECP256R1,
            kx_group::SECP384R1,
        ],
        ..aws_lc_rs::default_provider()
    })
}
