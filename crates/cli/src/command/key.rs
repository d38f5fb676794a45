//! The command `kes key`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kes_config::Environment;
use kes_types::KeyName;
use zeroize::Zeroizing;

use crate::args::{ClientArgs, KeyCommand};
use crate::connect::Connection;
use crate::exit::Failure;
use crate::output::Output;

/// Creates, lists and uses keys.
pub(crate) async fn run(
    command: KeyCommand,
    environment: &dyn Environment,
    output: &Output,
) -> Result<(), Failure> {
    let connect = |client: &ClientArgs| {
        Connection::new(client.server.as_deref(), &client.access, environment)
    };
    match command {
        KeyCommand::Create { names, client } => create(&connect(&client)?, &names).await,
        KeyCommand::Dek { name, context, client } => {
            let connection = connect(&client)?;
            let answer = connection.client.generate_key(&name, context.0).await;
            let answer = answer.map_err(|error| connection.explain(error))?;
            if client.json || !output.is_terminal() {
                return output.json(&answer);
            }
            show(output, "plaintext", answer.plaintext.expose())?;
            show(output, "ciphertext", &answer.ciphertext.0)
        }
        KeyCommand::Decrypt { name, ciphertext, context, client } => {
            let connection = connect(&client)?;
            let answer = connection.client.decrypt(&name, ciphertext.0, context.0).await;
            let answer = answer.map_err(|error| connection.explain(error))?;
            if client.json || !output.is_terminal() {
                return output.json(&answer);
            }
            show(output, "plaintext", answer.plaintext.expose())
        }
        KeyCommand::Ls { pattern, no_header, client } => {
            let connection = connect(&client)?;
            let page = connection.client.list_keys(&pattern).await;
            let page = page.map_err(|error| connection.explain(error))?;
            if !page.continue_at.is_empty() {
                output.warn(&format!(
                    "the list is not complete, more keys follow from '{}' on",
                    page.continue_at
                ));
            }
            if client.json {
                return output.json(&page.names);
            }
            if !no_header && !page.names.is_empty() {
                output.line(&output.bold("Key"))?;
            }
            page.names.iter().try_for_each(|name| output.line(name.as_str()))
        }
    }
}

/// Creates keys and stops at the first error.
async fn create(connection: &Connection, names: &[KeyName]) -> Result<(), Failure> {
    for name in names {
        let created = connection.client.create_key(name).await;
        created.map_err(|error| {
            connection.explain(error).context(format!("cannot create key '{name}'"))
        })?;
    }
    Ok(())
}

fn show(output: &Output, label: &str, bytes: &[u8]) -> Result<(), Failure> {
    let text = Zeroizing::new(STANDARD.encode(bytes));
    let label = output.bold(label);
    output.line(&Zeroizing::new(format!("{label}: {}", *text)))
}
