//! Duty 5: the beta labels of a node's system and processor say what the stable ones say. Pure.

use std::collections::BTreeMap;

/// The stable label, and the one that follows it.
const PAIRS: [(&str, &str); 2] = [
    ("kubernetes.io/os", "beta.kubernetes.io/os"),
    ("kubernetes.io/arch", "beta.kubernetes.io/arch"),
];

/// Labels that are looked at.
pub(super) const KEYS: [&str; 4] = [PAIRS[0].0, PAIRS[0].1, PAIRS[1].0, PAIRS[1].1];

/// The labels to write. Where there is no stable one the other stays as it is.
pub(super) fn plan(labels: &BTreeMap<String, String>) -> BTreeMap<&'static str, String> {
    let due = PAIRS.iter().filter_map(|(stable, beta)| {
        let value = labels.get(*stable)?;
        (labels.get(*beta) != Some(value)).then(|| (*beta, value.clone()))
    });
    due.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beta_labels_follow_the_stable_ones() {
        for (has, due) in [
            (
                vec![("kubernetes.io/os", "linux")],
                vec![("beta.kubernetes.io/os", "linux")],
            ),
            (
                vec![
                    ("kubernetes.io/arch", "arm64"),
                    ("beta.kubernetes.io/arch", "amd64"),
                ],
                vec![("beta.kubernetes.io/arch", "arm64")],
            ),
            (
                vec![
                    ("kubernetes.io/os", "linux"),
                    ("kubernetes.io/arch", "amd64"),
                ],
                vec![
                    ("beta.kubernetes.io/arch", "amd64"),
                    ("beta.kubernetes.io/os", "linux"),
                ],
            ),
            (
                vec![
                    ("kubernetes.io/os", "linux"),
                    ("beta.kubernetes.io/os", "linux"),
                ],
                vec![],
            ),
            (vec![("beta.kubernetes.io/os", "linux")], vec![]),
            (vec![], vec![]),
        ] {
            let labels = has
                .iter()
                .map(|(key, it)| ((*key).to_owned(), (*it).to_owned()));
            let plan = plan(&labels.collect());
            let due: BTreeMap<_, _> = due
                .into_iter()
                .map(|(key, it)| (key, it.to_owned()))
                .collect();
            assert_eq!(plan, due, "{has:?}");
        }
    }
}
