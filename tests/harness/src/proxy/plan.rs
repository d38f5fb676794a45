//! The proxy's rules, and the requests that it has recorded.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::Asked;
use super::fault::{Fault, Reply};

/// What requests a rule is about.
pub(super) type When = Box<dyn Fn(&Asked) -> bool + Send + Sync>;

/// What a request is held against; what is wrong with it is an error.
pub(super) type Demand = Box<dyn Fn(&Asked) -> Result<(), String> + Send + Sync>;

/// A fault, and what it is injected into.
pub(super) struct Rule {
    pub(super) when: When,
    pub(super) fault: Fault,
    /// How often it still applies; `None` is for ever.
    pub(super) left: Option<usize>,
}

/// What a proxy and its connections share.
pub(super) struct Shared {
    pub(super) plan: Mutex<Plan>,
    pub(super) asked: watch::Sender<Vec<Asked>>,
    pub(super) turn: tokio::sync::Mutex<()>,
}

/// What becomes of requests.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) target: Option<SocketAddr>,
    pub(super) accepted: usize,
    pub(super) one_at_a_time: Option<When>,
    pub(super) rules: Vec<Rule>,
    pub(super) demand: Option<(Demand, Reply)>,
    pub(super) failures: Vec<String>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    /// Every operation leaves the plan whole.
    pub(super) fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What becomes of a request; no fault forwards it.
    pub(super) fn decide(&self, asked: &Asked) -> Option<Fault> {
        let mut plan = self.plan();
        if let Some((demand, refusal)) = &plan.demand
            && let Err(failure) = demand(asked)
        {
            let refusal = refusal.clone();
            plan.failures.push(failure);
            return Some(Fault::Answer(refusal));
        }
        let rule = plan.rules.iter_mut().find(|rule| rule.left != Some(0) && (rule.when)(asked))?;
        rule.left = rule.left.map(|left| left - 1);
        Some(rule.fault.clone())
    }
}
