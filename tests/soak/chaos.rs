//! Faults that are injected into Vault during a soak.

use std::collections::BTreeMap;
use std::time::Duration;

use kes_harness::vault::Bao;
use serde_json::json;

/// Random numbers that a seed repeats (xorshift64*).
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end
    }

    fn time(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}

/// Injects one fault after the other into Vault, with intervals between them, and counts them.
pub(crate) struct Chaos {
    pub(crate) dice: Dice,
    pub(crate) done: BTreeMap<&'static str, usize>,
}

impl Chaos {
    pub(crate) fn new(seed: u64) -> Self {
        Self { dice: Dice::new(seed), done: BTreeMap::new() }
    }

    /// One pause, then one fault.
    pub(crate) async fn strike(&mut self, bao: &mut Bao) {
        tokio::time::sleep(self.dice.time(2_000, 8_000)).await;
        let name = match self.dice.below(6) {
            0 => {
                bao.seal().await;
                tokio::time::sleep(self.dice.time(500, 8_000)).await;
                bao.unseal().await;
                "seal"
            }
            1 => {
                bao.kill().await;
                tokio::time::sleep(self.dice.time(0, 8_000)).await;
                bao.restart().await;
                "restart"
            }
            2 => {
                bao.pause();
                tokio::time::sleep(self.dice.time(500, 14_000)).await;
                bao.resume();
                "SIGSTOP"
            }
            3 => {
                bao.relay().cut();
                "connections cut"
            }
            4 => {
                bao.root().put("sys/leases/revoke-prefix/auth/approle", json!({})).await;
                "tokens revoked"
            }
            _ => {
                // Long enough for a token to end, and for a login to be due at once.
                bao.pause();
                tokio::time::sleep(self.dice.time(14_000, 24_000)).await;
                bao.resume();
                "SIGSTOP over a token's life"
            }
        };
        *self.done.entry(name).or_default() += 1;
    }
}
