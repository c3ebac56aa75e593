//! Who reads and writes pools, of which claims are made.

use serde_json::json;

use super::world::{FORBIDDEN, People, World};
use crate::shipped::NAMESPACE;

#[test]
fn pools_are_read_by_nodes_and_written_by_operators() {
    let world = World::new("api_pool_rights");
    let people = world.people();
    let People {
        n1,
        controllers,
        operator,
        editor,
        agent,
        ..
    } = &people;
    let pool = json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "Pool", "metadata": {"name": "external-a", "namespace": NAMESPACE},
        "spec": {"network": "external", "rack": "a", "subnet": "10.20.1.0/24"},
    });
    let pool = pool.to_string();
    let create = ["create", "-f", "-"];
    let gateway = [
        "patch",
        "pool",
        "external-a",
        "--type=merge",
        "--patch",
        r#"{"spec": {"gateway": "10.20.1.1"}}"#,
    ];
    let status = json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "Pool", "metadata": {"name": "external-a", "namespace": NAMESPACE},
        "status": {
            "observedGeneration": 1, "capacity": 253, "claimed": 0, "bound": 0, "attached": 0,
            "updateTime": "2026-01-01T00:00:00Z",
        },
    });
    let status = status.to_string();
    let count = ["apply", "--server-side", "--subresource=status", "-f", "-"];
    for who in [n1, controllers, editor, agent] {
        who.may_not(&create, &pool, FORBIDDEN);
    }
    operator.may(&create, &pool);
    for who in [n1, controllers, editor, agent] {
        who.may_not(&gateway, "", FORBIDDEN);
        who.may_not(&["delete", "pool", "external-a"], "", FORBIDDEN);
    }
    for who in [n1, operator, editor, agent] {
        who.may_not(&count, &status, FORBIDDEN);
    }
    controllers.may(&count, &status);
    operator.may(&gateway, "");
    n1.may(&["get", "pools"], "");
    agent.may_not(&["get", "pools"], "", FORBIDDEN);
    agent.may_not(&["get", "claims"], "", FORBIDDEN);
    operator.may(&["delete", "pool", "external-a"], "");
}
