//! Reads the sections `admin` and `policy`.

use std::collections::HashMap;

use kes_policy::{Admin, Assignment, Pattern, Policy, PolicySet};
use kes_types::{Identity, PolicyName};

use crate::config::FileSection;
use crate::cursor::{Cursor, is_api_key};
use crate::error::Fault;
use crate::findings::Findings;
use crate::route::{self, Side};
use crate::schema::Schema;
use crate::section::{IdentityText, List, Literal, section};
use crate::suggest;

section! {
    /// The admin.
    struct AdminSection<'a> {
        /// The identity, or `disabled`.
        identity: IdentityText<'a>,
    }

    /// A policy.
    struct PolicySection<'a> {
        /// Patterns of paths that are allowed.
        allow: List<'a, Literal<'a>>,
        /// Patterns of paths that are refused although `allow` has them.
        deny: List<'a, Literal<'a>>,
        /// The identities that are assigned to the policy.
        identities: List<'a, IdentityText<'a>>,
    }
    unread {
        "paths": Schema::Refused("is no longer read; write the paths under `allow`"),
    }
}

/// The roles of identities in `admin` and `policy`.
#[derive(Default)]
pub(crate) struct Roles {
    admin: Option<Identity>,
    assigned: HashMap<Identity, PolicyName>,
}

impl Roles {
    /// Describes the role of an identity: the admin, or assigned to a policy.
    pub(crate) fn role(&self, identity: &Identity) -> Option<String> {
        if self.admin.as_ref() == Some(identity) {
            return Some("is the admin".to_owned());
        }
        self.assigned.get(identity).map(|name| format!("is assigned to policy '{name}'"))
    }
}

/// Reads the sections `admin`, `root` and `policy` of the file.
pub(crate) fn read(file: &FileSection<'_>, findings: &mut Findings) -> (Roles, Option<PolicySet>) {
    let admin = admin(file, findings);
    let admin = findings.keep(admin);
    let identity = admin.as_ref().and_then(Admin::identity).copied();
    let mut roles = Roles { admin: identity, ..Roles::default() };
    let mut assignments = Vec::new();
    let section = &file.policy;
    for (name, place) in section.entries() {
        let name = findings.keep(policy_name(name, &place));
        let policy = rules(&place, name.clone(), findings);
        let identities = identities(&place, name.as_ref(), &mut roles, findings);
        assignments.extend(policy.map(|policy| Assignment { policy, identities }));
    }
    let Some(admin) = admin else { return (roles, None) };
    let policies = PolicySet::new(admin, assignments)
        .map_err(|conflict| section.fault("the policies contradict each other").because(conflict));
    (roles, findings.keep(policies))
}

/// Reads an identity; a text that is not one can never match and is left out with a warning.
pub(crate) fn identity(place: &Cursor<'_>, findings: &mut Findings) -> Option<Identity> {
    let text = findings.keep(place.text())?;
    let identity = text.as_str().parse().ok();
    if identity.is_none() {
        findings.warn(text.invalid("can never match; an identity is 64 hex digits"));
    }
    identity
}

fn admin(file: &FileSection<'_>, findings: &mut Findings) -> Result<Admin, Fault> {
    let (place, root) = (&file.admin.identity, &file.root);
    let text = place.text()?;
    if text.is_empty() && root.is_present() {
        return Err(root.fault("is no longer read; write the identity under `admin.identity`"));
    }
    if text.is_empty() {
        return Err(text.missing("the identity of the admin, 64 hex digits, or `disabled`"));
    }
    if is_api_key(text.as_str()) {
        // Unlike an identity of a policy, the admin is shown to clients.
        return Err(text.fault(
            "is an API key, which is a secret; it wants the key's identity, 64 hex digits",
        ));
    }
    if root.is_present() {
        findings.warn(root.fault("is ignored; the admin is who `admin.identity` says"));
    }
    let admin = Admin::new(text.as_str());
    if admin.identity().is_none() && !["disabled", "_"].contains(&text.as_str()) {
        findings.warn(text.invalid(
            "can never match, nobody is the admin; an identity is 64 hex digits, and `disabled` \
             says so on purpose",
        ));
    }
    Ok(admin)
}

fn policy_name(name: &str, place: &Cursor<'_>) -> Result<PolicyName, Fault> {
    PolicyName::parse(name).map_err(|invalid| {
        place.fault(format!("'{}' is no policy name", suggest::shown(name))).because(invalid)
    })
}

/// Reads the identities of a policy, which no other policy can have.
fn identities(
    policy: &PolicySection<'_>,
    name: Option<&PolicyName>,
    roles: &mut Roles,
    findings: &mut Findings,
) -> Vec<Identity> {
    let mut identities = Vec::new();
    for item in policy.identities.items() {
        let Some(identity) = identity(&item, findings) else { continue };
        if roles.admin == Some(identity) {
            findings.fault(item.fault(
                "is the admin, who may do everything; an identity is either the admin or in one \
                 policy",
            ));
            continue;
        }
        let Some(name) = name else { continue };
        let holder = roles.assigned.entry(identity).or_insert_with(|| name.clone());
        if holder == name {
            identities.push(identity);
        } else {
            findings.fault(item.fault(format!(
                "is assigned to policy '{holder}' too; an identity stands in one policy"
            )));
        }
    }
    identities
}

/// Reads what a policy allows and denies; none without a name.
fn rules(
    policy: &PolicySection<'_>,
    name: Option<PolicyName>,
    findings: &mut Findings,
) -> Option<Policy> {
    let allow = patterns(&policy.allow, Side::Allow, findings);
    let deny = patterns(&policy.deny, Side::Deny, findings);
    let bare = |patterns: &[(Literal<'_>, Pattern)]| {
        patterns.iter().map(|(_, pattern)| pattern.clone()).collect()
    };
    let policy = Policy::new(name?, bare(&allow), bare(&deny));
    let shadows =
        |deny: &Pattern| allow.iter().any(|(_, it)| route::overlap(it.as_str(), deny.as_str()));
    for (item, pattern) in &deny {
        let shown = suggest::shown(pattern.as_str());
        if !route::can_match(pattern.as_str(), Side::Deny) {
            continue;
        }
        if !shadows(pattern) {
            let message = format!("'{shown}' denies nothing that `allow` of this policy allows");
            findings.warn(item.fault(message));
        } else if let Some(wider) = route::wider_listing(&policy, pattern) {
            findings.warn(item.fault(format!(
                "'{shown}' hides no names: this policy allows `{wider}`, which lists them too; \
                 allow the listings that it may see instead"
            )));
        }
    }
    Some(policy)
}

fn patterns<'a>(
    list: &List<'a, Literal<'a>>,
    side: Side,
    findings: &mut Findings,
) -> Vec<(Literal<'a>, Pattern)> {
    let mut patterns = Vec::new();
    for item in list.items() {
        let Some(text) = findings.keep(item.text()) else { continue };
        if !route::can_match(text.as_str(), side) {
            findings.warn(item.fault(route::explain(text.as_str())));
        }
        let pattern = Pattern::new(text.as_str());
        patterns.push((item, pattern));
    }
    patterns
}
