//! `kes status`.

use std::time::Duration;

use kes_config::Environment;
use kes_types::wire::Status;
use kes_types::{Clock as _, SystemClock};

use crate::args::StatusArgs;
use crate::connect::Connection;
use crate::exit::Failure;
use crate::output::{Output, printable};

/// Shows the status of the first server that answers.
pub(crate) async fn run(
    args: StatusArgs,
    environment: &dyn Environment,
    output: &Output,
) -> Result<(), Failure> {
    let connection = Connection::new(args.server.as_deref(), &args.access, environment)?;
    let begin = SystemClock.monotonic();
    let status = connection.client.status().await.map_err(|error| connection.explain(error))?;
    let latency = SystemClock.monotonic().saturating_duration_since(begin);
    if args.json {
        return output.json(&status);
    }
    // With several servers it is not known which one answered.
    if let [endpoint] = connection.client.endpoints() {
        fact(output, "Server", &endpoint.to_string())?;
    }
    fact(output, "Version", &printable(&status.version))?;
    fact(output, "Uptime", &uptime(status.uptime))?;
    fact(output, "Latency", &milliseconds(latency))?;
    fact(output, "Key store", &keystore(&status))
}

fn fact(output: &Output, label: &str, value: &str) -> Result<(), Failure> {
    let label = format!("{label:<10}");
    output.line(&format!("{} {value}", output.bold(&label)))
}

fn keystore(status: &Status) -> String {
    match status.keystore_latency {
        _ if status.keystore_unreachable => "unreachable".to_owned(),
        _ if status.keystore_unavailable => "unavailable".to_owned(),
        Some(nanos) => format!("online, {}", milliseconds(Duration::from_nanos(nanos))),
        None => "online".to_owned(),
    }
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}

/// Days, hours, minutes and seconds, from the first that is not zero.
fn uptime(seconds: u64) -> String {
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
    ];
    let shown: Vec<_> = parts
        .iter()
        .skip_while(|(count, unit)| *count == 0 && *unit != "s")
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    shown.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptime_is_told_in_the_units_that_matter() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (3600, "1h 0m 0s"), (90_061, "1d 1h 1m 1s")]
        {
            assert_eq!(uptime(seconds), text);
        }
    }

    #[test]
    fn the_key_store_is_online_only_when_the_server_says_so() {
        let status = |json: &str| {
            let rest = r#""version":"1","os":"linux","arch":"amd64","uptime":1,"num_cpu":1,
                "num_cpu_used":1,"mem_heap_used":1,"mem_stack_used":1"#;
            keystore(&serde_json::from_str(&format!("{{{rest}{json}}}")).unwrap())
        };
        assert_eq!(status(r#","keystore_latency":1500000"#), "online, 1.5 ms");
        assert_eq!(status(r#","keystore_unavailable":true"#), "unavailable");
        let both = r#","keystore_unreachable":true,"keystore_unavailable":true"#;
        assert_eq!(status(both), "unreachable");
    }
}
