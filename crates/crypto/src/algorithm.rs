//! The choice of the algorithm of a new key.

use kes_types::Algorithm;

/// Returns the algorithm that is fast and runs in constant time on this CPU.
///
/// [`Algorithm::Aes256`] where the CPU has instructions for AES and carry-less multiplication, otherwise
/// [`Algorithm::ChaCha20`]: without those instructions AES is slower and looks up secrets in tables.
pub fn preferred_algorithm() -> Algorithm {
    if has_aes() { Algorithm::Aes256 } else { Algorithm::ChaCha20 }
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn has_aes() -> bool {
    std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq")
}

#[cfg(target_arch = "aarch64")]
fn has_aes() -> bool {
    std::arch::is_aarch64_feature_detected!("aes")
        && std::arch::is_aarch64_feature_detected!("pmull")
}

#[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
fn has_aes() -> bool {
    false
}
