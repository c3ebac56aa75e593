use serde_json::json;

use super::*;

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "shop"}}, "spec": {"containers": [{"name": "main", "image": image}]}})
}

fn revision(number: i64, image: &str) -> Revision {
    let hash = hash(&template(image), 0);
    Revision {
        name: name_of("shop", &hash),
        uid: format!("u{number}"),
        version: "1".to_owned(),
        hash,
        number,
        template: canonical(&template(image)),
    }
}

#[test]
fn a_hash_is_of_what_a_pod_is_made_of_in_whatever_order_it_is_written() {
    let one: Value = serde_json::from_str(
        r#"{"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"containers": [{"name": "m", "image": "i"}], "hostNetwork": true}}"#,
    )
    .unwrap();
    let same: Value = serde_json::from_str(
        r#"{"spec": {"hostNetwork": true, "volumes": null, "containers": [{"image": "i", "name": "m"}]}, "metadata": {"creationTimestamp": null, "labels": {"b": "2", "a": "1"}, "annotations": {}}}"#,
    )
    .unwrap();
    let name = hash(&one, 0);
    assert_eq!(hash(&same, 0), name);
    assert_eq!(name.len(), LENGTH);
    assert!(name.bytes().all(|byte| ALPHABET.contains(&byte)), "{name}");
    assert_ne!(hash(&one, 1), name);
    for (pointer, value) in [
        ("/spec/hostNetwork", json!(false)),
        ("/spec/containers/0/image", json!("j")),
        ("/metadata/labels/a", json!("2")),
        ("/metadata/labels/a", json!(null)),
    ] {
        let mut other = one.clone();
        *other.pointer_mut(pointer).unwrap() = value;
        assert_ne!(hash(&other, 0), name, "{pointer}");
    }
}

/// Clusters carry these: another function would make every Pod look outdated.
#[test]
fn hashes_stay_what_they_are() {
    assert_eq!(hash(&template("shop:v1"), 0), "c877swmbtx");
    assert_eq!(hash(&template("shop:v1"), 1), "tmzvx2c7bh");
}

#[test]
fn names_fit_into_an_object_and_a_label() {
    let longest = "x".repeat(proto_crd::in_place_set::NAME_LIMIT);
    assert_eq!(name_of(&longest, &hash(&template("a"), 0)).len(), 63);
}

#[test]
fn a_template_is_recorded_once_and_comes_back_with_its_hash() {
    let first = record(&template("shop:v1"), &[], 0);
    let expected = revision(1, "shop:v1");
    assert_eq!(
        first,
        Recorded::New {
            hash: expected.hash.clone(),
            number: 1,
            template: expected.template.clone(),
            collision_count: 0,
        }
    );
    let history = [revision(1, "shop:v1"), revision(2, "shop:v2")];
    assert_eq!(
        record(&template("shop:v2"), &history, 0),
        Recorded::Latest(&history[1])
    );
    // A rollback: the old one is the latest again, under its old hash.
    let back = record(&template("shop:v1"), &history, 0);
    assert_eq!(back, Recorded::Renumber(&history[0], 3));
    assert_eq!(back.hash(), expected.hash);
    // Also where hashes have collided since.
    assert_eq!(
        record(&template("shop:v1"), &history, 5).hash(),
        expected.hash
    );
    // Twice, by a write that was seen late.
    let twice = [revision(1, "shop:v1"), revision(2, "shop:v1")];
    assert_eq!(
        record(&template("shop:v1"), &twice, 0),
        Recorded::Latest(&twice[1])
    );
}

#[test]
fn a_hash_that_is_another_templates_is_counted_and_not_used() {
    let mut other = revision(1, "other");
    other.hash = hash(&template("shop:v1"), 0);
    let mut another = revision(2, "another");
    another.hash = hash(&template("shop:v1"), 1);
    let Recorded::New {
        hash: name,
        number,
        collision_count,
        ..
    } = record(&template("shop:v1"), &[other, another], 0)
    else {
        panic!("not new");
    };
    assert_eq!(
        (name, number, collision_count),
        (hash(&template("shop:v1"), 2), 3, 2)
    );
}

#[test]
fn pods_are_to_have_the_pinned_revision_or_the_templates() {
    let history = [revision(1, "shop:v1"), revision(2, "shop:v2")];
    let fresh = record(&template("shop:v3"), &history, 0);
    assert_eq!(update(None, &fresh, &history), Ok(fresh.hash()));
    let pinned = history[0].hash.as_str();
    assert_eq!(update(Some(pinned), &fresh, &history), Ok(pinned));
    // The template's own is known before it is written.
    assert_eq!(
        update(Some(fresh.hash()), &fresh, &history),
        Ok(fresh.hash())
    );
    let said = update(Some("xyz"), &fresh, &history)
        .unwrap_err()
        .to_string();
    assert!(said.contains("spec.revision is xyz"), "{said}");
    let known = format!("{}, {}", history[1].hash, history[0].hash);
    assert!(said.ends_with(&known), "{said}");
}

#[test]
fn current_is_what_was_told_as_long_as_it_is_known() {
    let history = [revision(1, "shop:v1"), revision(2, "shop:v2")];
    let [old, new] = &history;
    assert_eq!(current(&old.hash, &new.hash, &history), old.hash);
    assert_eq!(current("", &new.hash, &history), new.hash);
    assert_eq!(current("gone", &new.hash, &history), new.hash);
}

#[test]
fn the_oldest_that_nobody_uses_are_pruned() {
    let history: Vec<_> = [3, 1, 5, 2, 4]
        .into_iter()
        .map(|number| revision(number, &format!("shop:v{number}")))
        .collect();
    let used: BTreeSet<&str> = history
        .iter()
        .filter(|revision| [1, 5].contains(&revision.number))
        .map(|revision| revision.hash.as_str())
        .collect();
    for (limit, pruned) in [
        (0, vec![2, 3, 4]),
        (1, vec![2, 3]),
        (2, vec![2]),
        (3, vec![]),
        (9, vec![]),
    ] {
        let numbers: Vec<_> = prune(&history, &used, limit)
            .iter()
            .map(|revision| revision.number)
            .collect();
        assert_eq!(numbers, pruned, "{limit}");
    }
}

#[test]
fn undo_goes_back_to_the_one_before_or_to_the_one_that_is_named() {
    let history = [revision(4, "d"), revision(2, "b"), revision(7, "g")];
    let number = |update: &str, number| undo(&history, update, number).map(|found| found.number);
    let hash_of = |number| {
        let found = history.iter().find(|revision| revision.number == number);
        found.unwrap().hash.clone()
    };
    assert_eq!(number(&hash_of(7), None), Ok(4));
    // One that is pinned is not the latest.
    assert_eq!(number(&hash_of(4), None), Ok(2));
    assert_eq!(
        number(&hash_of(2), None),
        Err(UndoError::NoneBefore { number: 2 })
    );
    // The template that is wanted now is not recorded yet.
    assert_eq!(number("unknown", None), Ok(7));
    assert_eq!(number(&hash_of(7), Some(2)), Ok(2));
    let said = number(&hash_of(7), Some(3)).unwrap_err().to_string();
    assert_eq!(said, "the history has no revision 3; it has: 7, 4, 2");
}
