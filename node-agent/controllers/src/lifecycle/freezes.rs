//! What people have frozen, as the core takes it. Pure.
//!
//! **Always holds:** a freeze of which something cannot be understood is one of everything; one that has expired is none, whether it is
//! deleted yet or not.

use std::collections::BTreeSet;

use kube::ResourceExt as _;
use node_agent_lifecycle::freeze::{Freeze, Freezes, Scope};
use node_agent_lifecycle::observation::{AppName, Observations};
use proto_crd::lifecycle_freeze::{FrozenApplication, LifecycleFreeze, NODES_LIMIT};
use proto_crd::time::Timestamp;

/// What a hash of a `Deployment`'s template is written with: no vowel, so that it is no word.
const HASH_LETTERS: &str = "bcdfghjklmnpqrstvwxz2456789";

/// Those in force. `apps`: which there are, since a `Deployment` means each of its `ReplicaSet`s.
pub(super) fn in_force(
    freezes: &[LifecycleFreeze],
    now: Timestamp,
    apps: &BTreeSet<AppName>,
) -> Freezes {
    let in_force = freezes.iter().filter(|it| !it.spec.has_expired(now));
    let all = in_force.flat_map(|freeze| {
        let scopes = scopes(freeze, apps);
        scopes.into_iter().map(|scope| Freeze {
            name: freeze.name_any(),
            scope,
        })
    });
    Freezes::Known(all.collect())
}

fn scopes(freeze: &LifecycleFreeze, apps: &BTreeSet<AppName>) -> Vec<Scope> {
    let scope = &freeze.spec.scope;
    if let Some(application) = &scope.application {
        let meant = apps
            .iter()
            .filter(|app| is_meant(application, app.as_str()));
        let named = format!("{}/{}", application.namespace, application.name);
        let mut meant: BTreeSet<AppName> = meant.cloned().collect();
        meant.insert(AppName::new(&named));
        return meant.into_iter().map(Scope::App).collect();
    }
    let rack = scope
        .rack
        .as_ref()
        .map(|rack| rack.parse().map(Scope::Rack));
    let node = scope
        .node
        .as_ref()
        .map(|node| node.parse().map(Scope::Node));
    match rack.or(node) {
        Some(Ok(scope)) => vec![scope],
        _ => vec![Scope::Cluster],
    }
}

/// Whether the Pods of this owner are the application's: it is the owner, or a `Deployment` whose `ReplicaSet` the owner is.
fn is_meant(application: &FrozenApplication, app: &str) -> bool {
    let Some((namespace, owner)) = app.split_once('/') else {
        return false;
    };
    let rest = owner.strip_prefix(&*application.name);
    let is_hash = |hash: &str| !hash.is_empty() && hash.chars().all(|it| HASH_LETTERS.contains(it));
    namespace == application.namespace
        && rest.is_some_and(|rest| rest.is_empty() || rest.strip_prefix('-').is_some_and(is_hash))
}

/// The nodes of the rack that it is about, so that the API server itself can hold others back; none, where it is about no rack.
pub(super) fn nodes_of(freeze: &LifecycleFreeze, seen: &Observations) -> Vec<String> {
    let Some(rack) = &freeze.spec.scope.rack else {
        return Vec::new();
    };
    let of_rack = seen
        .nodes
        .iter()
        .filter(|(_, node)| node.rack.as_str() == rack);
    of_rack
        .map(|(name, _)| name.as_str().to_owned())
        .take(NODES_LIMIT)
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[expect(
        clippy::needless_pass_by_value,
        reason = "what is written at the call is used once"
    )]
    fn freeze(scope: Value, expiry: Option<&str>) -> LifecycleFreeze {
        let freeze = json!({
            "apiVersion": "berth.dev/v1alpha1", "kind": "LifecycleFreeze", "metadata": {"name": "f"},
            "spec": {"scope": scope, "reason": "sale", "by": "jane", "expiryTime": expiry},
        });
        serde_json::from_value(freeze).unwrap()
    }

    fn app(name: &str) -> AppName {
        AppName::new(name)
    }

    #[test]
    fn a_freeze_holds_in_its_scope_until_it_expires() {
        let now: Timestamp = "2026-01-01T10:00:00Z".parse().unwrap();
        let apps = [
            "prod/web-5d8f9",
            "prod/web-api-5d8f9",
            "prod/web",
            "test/web-5d8f9",
        ];
        let apps: BTreeSet<AppName> = apps.into_iter().map(app).collect();
        for (scope, expiry, expected) in [
            (json!({"cluster": true}), None, vec![Scope::Cluster]),
            (
                json!({"rack": "r1"}),
                Some("2026-01-01T10:00:01Z"),
                vec![Scope::Rack("r1".parse().unwrap())],
            ),
            (json!({"rack": "r1"}), Some("2026-01-01T10:00:00Z"), vec![]),
            (
                json!({"node": "n1"}),
                None,
                vec![Scope::Node("n1".parse().unwrap())],
            ),
            (
                json!({"application": {"namespace": "prod", "name": "web"}}),
                None,
                vec![
                    Scope::App(app("prod/web")),
                    Scope::App(app("prod/web-5d8f9")),
                ],
            ),
            // Nothing that is understood: everything.
            (json!({}), None, vec![Scope::Cluster]),
            (json!({"node": "no name"}), None, vec![Scope::Cluster]),
        ] {
            let found = in_force(&[freeze(scope.clone(), expiry)], now, &apps);
            let expected = expected.into_iter().map(|scope| Freeze {
                name: "f".to_owned(),
                scope,
            });
            assert_eq!(
                found,
                Freezes::Known(expected.collect()),
                "{scope} {expiry:?}"
            );
        }
    }
}
