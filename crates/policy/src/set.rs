//! The policies of a server and the identities assigned to them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use kes_types::{Identity, PolicyName};

use crate::{Grant, Permit, Policy, RequestPath};

/// The admin identity as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    text: String,
    identity: Option<Identity>,
}

impl Admin {
    /// Makes an admin of the configured text; a text that is not an identity, such as `disabled`, matches no
    /// caller.
    pub fn new(text: &str) -> Self {
        match text.parse::<Identity>() {
            Ok(identity) => Self { text: identity.to_string(), identity: Some(identity) },
            Err(_) => Self { text: text.to_owned(), identity: None },
        }
    }

    /// The configured text; an identity is in lower case.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The admin's identity; `None` if it is disabled.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }
}

/// A policy and the identities assigned to it.
#[derive(Clone, Debug)]
pub struct Assignment {
    /// The policy.
    pub policy: Policy,
    /// Its identities.
    pub identities: Vec<Identity>,
}

/// All policies of a server and the identities assigned to them; immutable.
#[derive(Clone, Debug)]
pub struct PolicySet {
    admin: Admin,
    policies: BTreeMap<PolicyName, Arc<Policy>>,
    identities: HashMap<Identity, Arc<Policy>>,
}

/// The reasons why policies contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// The admin is assigned to a policy.
    #[error("the admin identity is assigned to policy '{0}'")]
    AdminInPolicy(PolicyName),
    /// An identity is assigned to two policies.
    #[error("identity {identity} is assigned to the policies '{first}' and '{second}'")]
    TwoPolicies {
        /// The identity.
        identity: Identity,
        /// The first of the two policies.
        first: PolicyName,
        /// The second of the two policies.
        second: PolicyName,
    },
    /// Two policies have one name.
    #[error("policy '{0}' is defined twice")]
    SameName(PolicyName),
}

impl PolicySet {
    /// Makes a set of policies and their identities, if they do not contradict each other.
    pub fn new(admin: Admin, assignments: Vec<Assignment>) -> Result<Self, Conflict> {
        let mut set = Self { admin, policies: BTreeMap::new(), identities: HashMap::new() };
        for Assignment { policy, identities } in assignments {
            let policy = Arc::new(policy);
            let name = policy.name().clone();
            if set.policies.insert(name.clone(), Arc::clone(&policy)).is_some() {
                return Err(Conflict::SameName(name));
            }
            for identity in identities {
                if set.admin.identity() == Some(&identity) {
                    return Err(Conflict::AdminInPolicy(name));
                }
                if let Some(first) = set.identities.insert(identity, Arc::clone(&policy))
                    && first.name() != &name
                {
                    let first = first.name().clone();
                    return Err(Conflict::TwoPolicies { identity, first, second: name });
                }
            }
        }
        Ok(set)
    }

    /// The admin identity as configured.
    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    /// The policy of that name.
    pub fn policy(&self, name: &PolicyName) -> Option<&Arc<Policy>> {
        self.policies.get(name)
    }

    /// All policies, ordered by name.
    pub fn policies(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.policies.values()
    }

    /// All identities, the admin included, in byte order.
    pub fn identities(&self) -> BTreeSet<Identity> {
        self.identities.keys().chain(self.admin.identity()).copied().collect()
    }

    /// Looks up an identity: the admin, assigned to a policy, or neither.
    pub fn subject(&self, identity: &Identity) -> Subject {
        if self.admin.identity() == Some(identity) {
            Subject::Admin(*identity)
        } else {
            match self.identities.get(identity) {
                Some(policy) => Subject::Assigned(*identity, Arc::clone(policy)),
                None => Subject::WithoutPolicy(*identity),
            }
        }
    }

    /// Makes the permit of a route that needs no policy; `identity` is the caller's, if it has one.
    #[expect(clippy::unused_self, reason = "permits are made only with access to the policies")]
    pub fn open(&self, identity: Option<Identity>) -> Permit {
        Permit { identity, grant: Grant::Open }
    }

    /// Makes the permit of the server itself for what its configuration file says, such as predefined
    /// keys; it acts as the admin.
    pub fn configuration(&self) -> Permit {
        Permit { identity: self.admin.identity().copied(), grant: Grant::Configuration }
    }
}

/// The role of an identity in a policy set, looked up once per connection and snapshot.
#[derive(Clone, Debug)]
pub enum Subject {
    /// The admin, who may call every path.
    Admin(Identity),
    /// An identity that is assigned to exactly one policy.
    Assigned(Identity, Arc<Policy>),
    /// An identity without a policy, which may call no path that needs one.
    WithoutPolicy(Identity),
}

/// The error for a request that is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not authorized")]
pub struct Denied;

impl Subject {
    /// The identity.
    pub fn identity(&self) -> &Identity {
        match self {
            Self::Admin(identity) | Self::Assigned(identity, _) | Self::WithoutPolicy(identity) => {
                identity
            }
        }
    }

    /// Whether the identity is the admin or has a policy.
    pub fn is_known(&self) -> bool {
        !matches!(self, Self::WithoutPolicy(_))
    }

    /// Decides whether the identity may call a path.
    pub fn authorize(&self, path: &RequestPath<'_>) -> Result<Permit, Denied> {
        let grant = match self {
            Self::Admin(_) => Grant::Admin,
            Self::Assigned(_, policy) if policy.allows(path) => Grant::Policy(Arc::clone(policy)),
            Self::Assigned(..) | Self::WithoutPolicy(_) => return Err(Denied),
        };
        Ok(Permit { identity: Some(*self.identity()), grant })
    }

    /// Makes the permit of a route that needs a caller with an identity, but no policy.
    pub fn introduce(&self) -> Permit {
        Permit { identity: Some(*self.identity()), grant: Grant::Open }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pattern;

    fn identity(seed: u8) -> Identity {
        Identity::of_public_key(&[seed])
    }

    fn assignment(name: &str, allow: &[&str], deny: &[&str], identities: &[u8]) -> Assignment {
        let patterns = |texts: &[&str]| texts.iter().map(|text| Pattern::new(text)).collect();
        let policy = Policy::new(PolicyName::parse(name).unwrap(), patterns(allow), patterns(deny));
        Assignment { policy, identities: identities.iter().map(|seed| identity(*seed)).collect() }
    }

    fn set(assignments: Vec<Assignment>) -> Result<PolicySet, Conflict> {
        PolicySet::new(Admin::new(&identity(0).to_string()), assignments)
    }

    #[test]
    fn deny_wins_and_no_match_is_a_refusal() {
        let set = set(vec![assignment(
            "a",
            &["/v1/key/list/*", "/v1/status"],
            &["/v1/key/list/secret*"],
            &[1],
        )])
        .unwrap();
        let subject = set.subject(&identity(1));
        assert!(subject.authorize(&RequestPath::exact("/v1/status")).is_ok());
        assert!(subject.authorize(&RequestPath::exact("/v1/key/list/my-")).is_ok());
        assert!(subject.authorize(&RequestPath::exact("/v1/key/list/secret-a")).is_err());
        assert!(subject.authorize(&RequestPath::exact("/v1/metrics")).is_err());
        assert!(set.subject(&identity(0)).authorize(&RequestPath::exact("/anything")).is_ok());
        assert!(set.subject(&identity(9)).authorize(&RequestPath::exact("/v1/status")).is_err());
    }

    #[test]
    fn a_disabled_admin_matches_no_identity() {
        let set = PolicySet::new(Admin::new("disabled"), Vec::new()).unwrap();
        assert!(!set.subject(&identity(0)).is_known());
        assert!(set.identities().is_empty());
    }

    #[test]
    fn an_identity_has_one_policy_and_the_admin_none() {
        let twice = set(vec![assignment("a", &[], &[], &[1]), assignment("b", &[], &[], &[1])]);
        assert!(matches!(twice, Err(Conflict::TwoPolicies { .. })));
        let admin = set(vec![assignment("a", &[], &[], &[0])]);
        assert!(matches!(admin, Err(Conflict::AdminInPolicy(_))));
        assert!(set(vec![assignment("a", &[], &[], &[1, 1])]).is_ok());
    }
}
