//! The command `kes status`.

use futures_util::future::join_all;
use kes_client::{Client, ClientError};
use kes_config::Environment;
use kes_types::Clock;

use crate::args::StatusArgs;
use crate::connect::Connection;
use crate::exit::Failure;
use crate::output::Output;
use crate::report::{Expiry, Report};

/// Shows the status of every server; fails if a server does not respond or has no usable key store.
pub(crate) async fn run(
    args: StatusArgs,
    environment: &dyn Environment,
    clock: &dyn Clock,
    output: &Output,
) -> Result<(), Failure> {
    let connection = Connection::new(args.server.as_deref(), &args.access, environment)?;
    let servers = connection.client.each();
    let reports = join_all(servers.map(|client| ask(client, args.api, &connection, clock))).await;
    show(&reports, &args, output)?;
    conclude(reports)
}

/// The report of a server, and the reason why it is not complete.
type Asked = (Report, Option<Failure>);

/// Requests the status of one server; the timeouts of the client apply.
async fn ask(client: Client, api: bool, connection: &Connection, clock: &dyn Clock) -> Asked {
    let mut report = Report::new(client.endpoints().iter().map(ToString::to_string).collect());
    let begin = clock.monotonic();
    let answer = client.status().await;
    let latency = clock.monotonic().saturating_duration_since(begin);
    let mut failure = None;
    match answer {
        Ok(answer) => {
            let certificate = answer.certificate.as_deref();
            report.certificate = certificate.and_then(|der| Expiry::of(der, clock.now()));
            report.status = Some(answer.status);
            report.latency = u64::try_from(latency.as_nanos()).ok();
        }
        Err(error) => failure = Some(error),
    }
    if api && failure.is_none() {
        match client.api().await {
            Ok(routes) => report.api = Some(routes),
            Err(error) => failure = Some(error),
        }
    }
    report.error = failure.as_ref().map(reason);
    (report, failure.map(|error| connection.explain(error)))
}

/// Formats the error of a call to a single server, without its address.
fn reason(error: &ClientError) -> String {
    match error {
        ClientError::Unreachable(attempts) | ClientError::Tls(attempts) => {
            let errors =
                attempts.0.iter().map(|attempt| Failure::new(attempt.error.clone()).text());
            errors.collect::<Vec<_>>().join("; ")
        }
        ClientError::Interrupted { source, .. } => format!("no answer: {source}"),
        ClientError::BadAnswer { source, .. } => format!("not a key server's answer: {source}"),
        other => other.to_string(),
    }
}

fn show(reports: &[Asked], args: &StatusArgs, output: &Output) -> Result<(), Failure> {
    if args.json {
        return match reports {
            [(report, _)] => output.json(report),
            _ => output.json(&reports.iter().map(|(report, _)| report).collect::<Vec<_>>()),
        };
    }
    for (index, (report, _)) in reports.iter().enumerate() {
        if args.short {
            output.line(&report.summary())?;
            let warning = report.certificate.and_then(Expiry::warning);
            if let Some(warning) = warning {
                output.warn(&format!("the certificate of {} is {warning}", report.endpoint));
            }
            continue;
        }
        if index > 0 {
            output.line("")?;
        }
        for (label, text) in report.facts() {
            let label = format!("{label:<11}");
            output.line(&format!("{} {text}", output.bold(&label)))?;
        }
    }
    Ok(())
}

/// Returns success if every server is usable, otherwise the problems of the others.
fn conclude(mut reports: Vec<Asked>) -> Result<(), Failure> {
    if let [(_, failure)] = reports.as_mut_slice()
        && let Some(failure) = failure.take()
    {
        return Err(failure);
    }
    let problems: Vec<_> = reports.iter().filter_map(|(report, _)| report.problem()).collect();
    if problems.is_empty() {
        return Ok(());
    }
    let advice = reports.iter().find_map(|(_, failure)| failure.as_ref()?.advice());
    let failure = Failure::message(problems.join("; "));
    Err(match advice {
        Some(advice) => failure.hint(advice),
        None => failure,
    })
}
