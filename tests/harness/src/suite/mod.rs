//! Suites that are run on servers with different key stores.

mod replay;
mod wire;

pub use replay::{
    each_recorded_ciphertext_opens_to_its_recorded_data_key,
    each_recorded_request_gets_its_recorded_status,
};
pub use wire::every_exchange_is_answered;
