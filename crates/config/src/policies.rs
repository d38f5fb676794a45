//! The admin and the policies.

use std::collections::HashMap;

use kes_policy::{Admin, Assignment, Pattern, Policy, PolicySet};
use kes_types::{Identity, PolicyName};

use crate::cursor::{Cursor, Text, is_api_key};
use crate::error::{Fault, Warnings};
use crate::route::{self, Side};
use crate::suggest;

/// What was read of `admin` and `policy`, and what an identity is in them.
pub(crate) struct Roles {
    pub(crate) policies: PolicySet,
    roles: HashMap<Identity, PolicyName>,
}

impl Roles {
    /// What the identity is already: the admin, or assigned to a policy; as a clause.
    pub(crate) fn role(&self, identity: &Identity) -> Option<String> {
        if self.policies.admin().identity() == Some(identity) {
            return Some("is the admin".to_owned());
        }
        self.roles.get(identity).map(|name| format!("is assigned to policy '{name}'"))
    }
}

/// Reads the sections `admin`, `root` and `policy` of the file.
pub(crate) fn read(file: &Cursor<'_>, warnings: &mut Warnings) -> Result<Roles, Fault> {
    let admin = admin(file, warnings)?;
    let mut roles = HashMap::new();
    let mut assignments = Vec::new();
    let section = file.field("policy");
    for (name, place) in section.entries() {
        let name = PolicyName::parse(name).map_err(|invalid| {
            place.fault(format!("'{}' is no policy name", suggest::shown(name))).because(invalid)
        })?;
        let policy = policy(&name, &place, warnings)?;
        let mut identities = Vec::new();
        for item in place.field("identities").items() {
            if let Some(identity) = identity(&item.text()?, warnings) {
                if admin.identity() == Some(&identity) {
                    return Err(item.fault(
                        "is the admin, who may do everything; an identity is either the admin or \
                         in one policy",
                    ));
                }
                match roles.insert(identity, name.clone()) {
                    Some(other) if other != name => {
                        return Err(item.fault(format!(
                            "is assigned to policy '{other}' too; an identity stands in one policy"
                        )));
                    }
                    _ => identities.push(identity),
                }
            }
        }
        assignments.push(Assignment { policy, identities });
    }
    let policies = PolicySet::new(admin, assignments).map_err(|conflict| {
        section.fault("the policies contradict each other").because(conflict)
    })?;
    Ok(Roles { policies, roles })
}

/// Reads an identity; one that is none can never match and is left out with a warning.
pub(crate) fn identity(text: &Text<'_>, warnings: &mut Warnings) -> Option<Identity> {
    let identity = text.as_str().parse().ok();
    if identity.is_none() {
        let shown = text.shown();
        let message = format!("{shown} can never match; an identity is 64 hex digits");
        warnings.push(text.fault(message));
    }
    identity
}

fn admin(file: &Cursor<'_>, warnings: &mut Warnings) -> Result<Admin, Fault> {
    let (place, root) = (file.field("admin").field("identity"), file.field("root"));
    let text = place.text()?;
    if text.is_empty() && root.is_present() {
        return Err(root.fault("is no longer read; write the identity under `admin.identity`"));
    }
    if text.is_empty() {
        return Err(text.missing("the identity of the admin, 64 hex digits, or `disabled`"));
    }
    if is_api_key(text.as_str()) {
        // Unlike in a policy it would be shown, to whoever asks who the admin is.
        return Err(text.fault(
            "is an API key, which is a secret; it wants the key's identity, 64 hex digits",
        ));
    }
    if root.is_present() {
        warnings.push(root.fault("is ignored; the admin is who `admin.identity` says"));
    }
    let admin = Admin::new(text.as_str());
    if admin.identity().is_none() && !["disabled", "_"].contains(&text.as_str()) {
        let shown = text.shown();
        warnings.push(text.fault(format!(
            "{shown} can never match, nobody is the admin; an identity is 64 hex digits, and \
             `disabled` says so on purpose"
        )));
    }
    Ok(admin)
}

fn policy(name: &PolicyName, place: &Cursor<'_>, warnings: &mut Warnings) -> Result<Policy, Fault> {
    let allow = patterns(&place.field("allow"), Side::Allow, warnings)?;
    let deny = patterns(&place.field("deny"), Side::Deny, warnings)?;
    let shadows =
        |deny: &Pattern| allow.iter().any(|allow| route::overlap(allow.as_str(), deny.as_str()));
    for (item, pattern) in place.field("deny").items().iter().zip(&deny) {
        if route::can_match(pattern.as_str(), Side::Deny) && !shadows(pattern) {
            let shown = suggest::shown(pattern.as_str());
            let message = format!("'{shown}' denies nothing that `allow` of this policy allows");
            warnings.push(item.fault(message));
        }
    }
    Ok(Policy::new(name.clone(), allow, deny))
}

fn patterns(list: &Cursor<'_>, side: Side, warnings: &mut Warnings) -> Result<Vec<Pattern>, Fault> {
    let mut patterns = Vec::new();
    for item in list.items() {
        let text = item.text()?;
        if !route::can_match(text.as_str(), side) {
            warnings.push(item.fault(route::explain(text.as_str())));
        }
        patterns.push(Pattern::new(text.as_str()));
    }
    Ok(patterns)
}
