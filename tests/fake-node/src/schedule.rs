//! On which node a Pod goes: where it says it must, else where it says it would rather, else where the fewest are. Pure.
//!
//! Only names of nodes are understood (`metadata.name`, `kubernetes.io/hostname`); of a term that says more, the rest is not looked at.

use serde_json::Value;

use crate::kubelet::items;

const HOST: &str = "kubernetes.io/hostname";

/// A node that could take it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room<'a> {
    pub(crate) name: &'a str,
    pub(crate) pods: usize,
}

/// The node of a Pod; nothing: none fits, and it waits.
pub(crate) fn pick<'a>(pod: &Value, rooms: &[Room<'a>]) -> Option<&'a str> {
    let spec = &pod["spec"];
    let affinity = &spec["affinity"]["nodeAffinity"];
    let must = &affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
    let would = &affinity["preferredDuringSchedulingIgnoredDuringExecution"];
    let fits = |room: &&Room<'_>| {
        let selector = &spec["nodeSelector"][HOST];
        let named: Vec<_> = items(must).filter_map(names).collect();
        (selector.is_null() || selector == room.name)
            && (named.is_empty() || named.iter().any(|names| names.contains(&room.name)))
    };
    let rather = |room: &Room<'_>| {
        let mut terms = items(would).filter_map(|it| names(&it["preference"]));
        terms.any(|names| names.contains(&room.name))
    };
    let room = rooms.iter().filter(fits);
    let best = room.min_by_key(|room| (!rather(room), room.pods, room.name))?;
    Some(best.name)
}

/// The nodes a term names, if it names any.
fn names(term: &Value) -> Option<Vec<&str>> {
    let fields = items(&term["matchFields"]).filter(|it| it["key"] == "metadata.name");
    let labels = items(&term["matchExpressions"]).filter(|it| it["key"] == HOST);
    let mut named = fields.chain(labels).filter(|it| it["operator"] == "In");
    let values = named.next().map(|it| items(&it["values"]))?;
    Some(values.filter_map(Value::as_str).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_of_where_a_pod_goes() {
        let rooms = [("n1", 3), ("n2", 1), ("n3", 1)].map(|(name, pods)| Room { name, pods });
        let term = json!({"matchExpressions": [{"key": HOST, "operator": "In", "values": ["n1"]}]});
        let field =
            json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n3"]}]});
        let gone =
            json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n9"]}]});
        let must = |term: &Value| json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}});
        let would = |term: &Value| json!({"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": term}]});
        for (affinity, wanted) in [
            (json!(null), Some("n2")),
            (must(&term), Some("n1")),
            (must(&field), Some("n3")),
            (must(&gone), None),
            (would(&term), Some("n1")),
            (would(&gone), Some("n2")),
        ] {
            let pod = json!({"spec": {"affinity": {"nodeAffinity": affinity}}});
            assert_eq!(pick(&pod, &rooms), wanted, "{affinity}");
        }
        let selected = json!({"spec": {"nodeSelector": {HOST: "n3"}}});
        assert_eq!(pick(&selected, &rooms), Some("n3"));
    }
}
