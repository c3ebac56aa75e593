//! What a Pod itself decides about its addresses, and who owns the Pod.
//!
//! It goes before the rules of the configuration. It lives with the binding and travels with it, so that it counts after the
//! Pod is gone, and on another node.

use proto_ids::{AllocateRequest, Identity, PodKey};
use serde::{Deserialize, Serialize};

use crate::binding::Origin;
use crate::rule::Hold;
use crate::settings::Settings;

/// What is known of a Pod that matters after it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PodPolicy {
    /// How long its addresses are kept; `None`: as the rules say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// Who replaces the Pod under the same name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
}

/// A workload that replaces its Pods under the same name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// Group and version, such as `apps/v1`.
    pub api_version: String,
    /// Kind, such as `StatefulSet`.
    pub kind: String,
    /// Its name, in the Pod's namespace.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Which of its Pods, where they are numbered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordinal: Option<u32>,
}

impl PodPolicy {
    /// Whether it says nothing.
    pub const fn is_empty(&self) -> bool {
        self.hold.is_none() && self.owner.is_none()
    }

    /// As bindings keep it: few have one, and tens of thousands are kept.
    pub(crate) fn boxed(&self) -> Option<Box<Self>> {
        (!self.is_empty()).then(|| Box::new(self.clone()))
    }
}

impl Settings {
    /// What the rules say of a Pod; `None`: none fits it.
    pub fn rule_hold(&self, pod: &PodKey) -> Option<Hold> {
        let rule = self.rules.iter().find(|rule| rule.fits(pod))?;
        Some(rule.hold)
    }

    /// Whether the addresses of this request would be kept after it, as far as rules and names say.
    pub fn holds(&self, request: &AllocateRequest) -> bool {
        let identity = request.effective_identity();
        let origin = crate::allocate::origin(request, &identity);
        self.hold(&identity, &origin) != Hold::None
    }

    /// How long the bindings of an identity are kept after release: as its Pod says, else as the rules say.
    pub(crate) fn hold_by(
        &self,
        policy: Option<&PodPolicy>,
        identity: &Identity,
        origin: &Origin,
    ) -> Hold {
        let own = policy.and_then(|policy| policy.hold);
        own.unwrap_or_else(|| self.hold(identity, origin))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fixture::{at, book, request};
    use crate::{Book, Record};

    fn policy(hold: Hold) -> PodPolicy {
        PodPolicy {
            hold: Some(hold),
            owner: None,
        }
    }

    fn attach(book: &mut Book, pod: &str, sandbox: &str, policy: &PodPolicy) {
        let plan = book
            .allocate_for(&request(pod, sandbox), policy, at(0))
            .unwrap();
        book.apply(&plan.changes);
    }

    #[test]
    fn what_the_pod_says_goes_before_the_rules() {
        let minute = Hold::For(Duration::from_secs(60));
        for (pod, said, held) in [
            // No rule fits db-0, so its ordinal would have it held.
            ("prod/db-0", Hold::None, None),
            ("prod/db-0", minute, Some(Some(at(61)))),
            ("prod/web-5d8f-x2x4", Hold::Forever, Some(None)),
            ("lab/x", Hold::Forever, Some(None)),
        ] {
            let mut book = book();
            attach(&mut book, pod, "s1", &policy(said));
            book.must_release("s1", at(1));
            let bound = book.records().find_map(|record| match record {
                Record::Binding(record) => Some(record.state),
                _ => None,
            });
            let until = bound.map(|state| match state {
                crate::BindingState::Held { until } => until,
                crate::BindingState::Attached { .. } => unreachable!("{pod}"),
            });
            assert_eq!(until, held, "{pod} {said}");
        }
    }

    #[test]
    fn each_new_sandbox_brings_the_policy_of_its_pod() {
        let mut book = book();
        attach(&mut book, "prod/db-0", "s1", &policy(Hold::None));
        attach(&mut book, "prod/db-0", "s2", &PodPolicy::default());
        book.must_release("s2", at(1));
        assert_eq!(book.records().count(), 1);
        assert!(
            book.records()
                .all(|record| matches!(record, Record::Binding(_)))
        );
    }

    #[test]
    fn a_policy_is_stored_with_its_binding() {
        let mut book = book();
        let owner = Owner {
            api_version: "apps/v1".to_owned(),
            kind: "StatefulSet".to_owned(),
            name: "db".to_owned(),
            uid: "u1".to_owned(),
            ordinal: Some(0),
        };
        let policy = PodPolicy {
            hold: Some(Hold::Forever),
            owner: Some(owner),
        };
        attach(&mut book, "prod/db-0", "s1", &policy);
        let Some(Record::Binding(record)) = book.records().next() else {
            panic!("a binding");
        };
        assert_eq!(record.policy.as_deref(), Some(&policy));
        let text = serde_json::to_string(&record).unwrap();
        assert!(text.contains(r#""hold":"forever""#), "{text}");
        let again: crate::BindingRecord = serde_json::from_str(&text).unwrap();
        assert_eq!(again, record);
    }
}
