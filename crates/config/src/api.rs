//! Reads the section `api`: settings of single routes.

use std::time::Duration;

use kes_types::path;

use crate::cache;
use crate::cursor::{Cursor, Text};
use crate::error::Fault;
use crate::findings::Findings;
use crate::route;
use crate::section::{Map, Setting, section};

/// The settings of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiOverride {
    /// The route's path as [`kes_types::path`] spells it.
    pub path: String,
    /// Whether callers need no certificate.
    pub skip_auth: bool,
    /// The longest a request may take; none leaves it at the route's own limit.
    pub timeout: Option<Duration>,
}

section! {
    /// Settings of a route.
    struct RouteSection<'a> {
        /// Whether callers need no certificate.
        skip_auth: Setting<'a> = "false",
        /// The longest a request may take; without it the route's own limit counts.
        timeout: Setting<'a>,
    }
}

/// The routes that may be open to callers without a certificate.
const OPEN: [&str; 5] = [path::READY, path::STATUS, path::METRICS, path::API, path::VERSION];

/// Reads the section `api`.
pub(crate) fn read<'a>(
    api: &Map<'a, RouteSection<'a>>,
    findings: &mut Findings,
) -> Vec<ApiOverride> {
    let mut overrides: Vec<ApiOverride> = Vec::new();
    for (written, place) in api.entries() {
        let path = findings.keep(route_of(written, &place));
        let skip_auth = findings.keep(skip_auth(&place.skip_auth, path));
        let timeout = findings.keep(cache::optional_duration(&place.timeout));
        let Some(path) = path else { continue };
        if overrides.iter().any(|other| other.path == path) {
            findings.fault(place.fault(format!("the settings of `{path}` stand here twice")));
            continue;
        }
        overrides.push(ApiOverride {
            path: path.to_owned(),
            skip_auth: skip_auth.unwrap_or_default(),
            // As in Go's configuration structs, zero means absent.
            timeout: timeout.flatten().filter(|timeout| !timeout.is_zero()),
        });
    }
    overrides
}

fn route_of(written: &str, place: &Cursor<'_>) -> Result<&'static str, Fault> {
    let bare = route::without_slash(written);
    let known = path::ALL.into_iter().find(|known| route::without_slash(known) == bare);
    known.ok_or_else(|| {
        let spelling = match route::nearest(written) {
            Some(route) => format!("did you mean `{route}`?"),
            None => "a path is that of a route, like `/v1/ready`".to_owned(),
        };
        place.fault(format!("there is no such route; {spelling}"))
    })
}

/// Reads whether callers need no certificate for a route, if the route is known.
fn skip_auth(place: &Cursor<'_>, path: Option<&str>) -> Result<bool, Fault> {
    let open = truth(&place.text()?)?;
    if open && path.is_some_and(|path| !OPEN.contains(&path)) {
        return Err(place
            .fault(format!("this route needs a caller; only {} can do without", OPEN.join(", "))));
    }
    Ok(open)
}

fn truth(text: &Text<'_>) -> Result<bool, Fault> {
    match text.as_str().to_ascii_lowercase().as_str() {
        "false" | "off" | "no" | "n" | "f" | "0" => Ok(false),
        "true" | "on" | "yes" | "y" | "t" | "1" => Ok(true),
        _ => Err(text.invalid("is neither true nor false")),
    }
}
