//! Settings of single routes.

use std::time::Duration;

use kes_types::path;

use crate::cache;
use crate::cursor::{Cursor, Text};
use crate::error::Fault;
use crate::route;

/// What the configuration says of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiOverride {
    /// The route's path as [`kes_types::path`] spells it.
    pub path: String,
    /// Whether callers need no certificate.
    pub skip_auth: bool,
    /// The longest a request may take; none leaves it at the route's own limit.
    pub timeout: Option<Duration>,
}

/// The routes that may be open to callers without a certificate.
const OPEN: [&str; 5] = [path::READY, path::STATUS, path::METRICS, path::API, path::VERSION];

/// Reads the section `api`.
pub(crate) fn read(api: &Cursor<'_>) -> Result<Vec<ApiOverride>, Fault> {
    let mut overrides: Vec<ApiOverride> = Vec::new();
    for (written, place) in api.entries() {
        let bare = route::without_slash(written);
        let known = path::ALL.into_iter().find(|known| route::without_slash(known) == bare);
        let Some(path) = known else {
            let spelling = match route::nearest(written) {
                Some(route) => format!("did you mean `{route}`?"),
                None => "a path is that of a route, like `/v1/ready`".to_owned(),
            };
            return Err(place.fault(format!("there is no such route; {spelling}")));
        };
        if overrides.iter().any(|other| other.path == path) {
            return Err(place.fault(format!("the settings of `{path}` stand here twice")));
        }
        let skip_auth = place.field("skip_auth");
        let open = truth(&skip_auth.text()?)?;
        if open && !OPEN.contains(&path) {
            return Err(skip_auth.fault(format!(
                "this route needs a caller; only {} can do without",
                OPEN.join(", ")
            )));
        }
        // As in Go's configuration structs, zero is as good as absent.
        let timeout = cache::duration(&place.field("timeout").text()?)?;
        let timeout = timeout.filter(|timeout| !timeout.is_zero());
        overrides.push(ApiOverride { path: path.to_owned(), skip_auth: open, timeout });
    }
    Ok(overrides)
}

fn truth(text: &Text<'_>) -> Result<bool, Fault> {
    match text.as_str().to_ascii_lowercase().as_str() {
        "" | "false" | "off" | "no" | "n" | "f" | "0" => Ok(false),
        "true" | "on" | "yes" | "y" | "t" | "1" => Ok(true),
        _ => Err(text.fault(format!("{} is neither true nor false", text.shown()))),
    }
}
