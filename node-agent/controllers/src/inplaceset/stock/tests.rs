use serde_json::{Value, json};

use super::*;
use node_agent_inplace::plan::Pull;

fn set(uid: &str) -> InPlaceSet {
    serde_json::from_value(json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "InPlaceSet",
        "metadata": {"name": "shop", "namespace": "prod", "uid": uid, "resourceVersion": "1"},
        "spec": {"selector": {"matchLabels": {"app": "shop"}}, "template": {}},
    }))
    .unwrap()
}

fn revision(name: &str, owner: &str) -> LeanRevision {
    serde_json::from_value(json!({
        "metadata": {
            "name": name, "namespace": "prod", "uid": name, "resourceVersion": "2",
            "ownerReferences": [{"apiVersion": "berth.dev/v1alpha1", "kind": "InPlaceSet", "name": "shop", "uid": owner, "controller": true}],
        },
        "data": {"spec": {"template": {"spec": {}}}}, "revision": 1,
    }))
    .unwrap()
}

fn entry(manager: &str, images: &[&str]) -> Value {
    let fields: serde_json::Map<_, _> = images
        .iter()
        .map(|image| {
            let key = format!("k:{}", json!({"image": image}));
            (key, json!({".": {}, "f:image": {}}))
        })
        .collect();
    json!({"manager": manager, "operation": "Apply", "time": "2026-01-01T00:00:07Z", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:images": fields}}})
}

fn pull(version: u64, entries: &[Value], phase: &str, observed: i64) -> ImagePull {
    serde_json::from_value(json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "ImagePull",
        "metadata": {
            "name": "n1", "namespace": "berth-system", "uid": "p", "resourceVersion": version.to_string(), "generation": 3,
            "managedFields": entries,
            "annotations": {"asked-for.berth.dev/s1": "r1", "asked-for.berth.dev/s9": "r9", "asked-for": "r2"},
        },
        "spec": {"nodeName": "n1", "images": [{"image": "app:2", "requestedBy": "r9"}, {"image": "other:1"}]},
        "status": {
            "observedGeneration": observed, "wanted": 2, "pulling": 0, "succeeded": 0, "failed": 0,
            "images": [{"image": "app:2", "request": "1", "phase": phase, "attempts": 1, "message": "no such image"}],
        },
    }))
    .unwrap()
}

fn applied<T: Clone>(key: Key, value: T) -> Event<(Key, Arc<T>)> {
    Event::Apply((key, Arc::new(value)))
}

fn shop() -> Key {
    ("prod".to_owned(), "shop".to_owned())
}

#[test]
fn what_is_a_set_s_marks_it() {
    let mut stock = Stock::default();
    stock.take_set(applied(shop(), set("s1")));
    assert_eq!(stock.take_changed(), [shop()].into());
    let mine = revision("shop-aa", "s1");
    stock.take_revision(applied(mine.key(), mine.clone()));
    // One of a set of the same name that was before.
    let former = revision("shop-bb", "s0");
    stock.take_revision(applied(former.key(), former));
    let longer = revision("shop2-aa", "s1");
    stock.take_revision(applied(longer.key(), longer));
    assert_eq!(stock.take_changed(), [shop()].into());
    let set = set("s1");
    let revisions: Vec<_> = stock.revisions_of(&set).map(|it| it.name_any()).collect();
    assert_eq!(revisions, ["shop-aa"]);
    stock.forget_revision(&mine.key(), "shop-aa");
    assert_eq!(stock.revisions_of(&set).count(), 0);
    assert_eq!(stock.take_changed(), [shop()].into());
}

#[test]
fn what_a_former_set_left_behind_is_found_by_name_and_label() {
    let mut stock = Stock::default();
    stock.take_set(applied(shop(), set("s1")));
    let labelled = |name: &str, owner: &str, label: &str| {
        let mut it = revision(name, owner);
        let labels = [(names::IN_PLACE_SET_LABEL.to_owned(), label.to_owned())];
        it.metadata.labels = Some(labels.into());
        it
    };
    let mut orphan = labelled("shop-aa", "s0", "shop");
    orphan.metadata.owner_references = None;
    let mut others = labelled("shop-bb", "s0", "shop");
    let owners = others.metadata.owner_references.as_mut().unwrap();
    owners[0].kind = "StatefulSet".to_owned();
    for it in [
        orphan,
        others,
        labelled("shop-cc", "s1", "shop"),
        labelled("shop-dd", "s0", "shop"),
        labelled("shop-ee", "s0", "store"),
        revision("shop-ff", "s0"),
    ] {
        stock.take_revision(applied(it.key(), it));
    }
    let set = set("s1");
    let found: Vec<_> = stock.orphans_of(&set).map(|it| it.name_any()).collect();
    assert_eq!(found, ["shop-aa", "shop-dd"]);
}

#[test]
fn images_are_found_by_the_set_that_asked_for_them() {
    let mut stock = Stock::default();
    stock.take_set(applied(shop(), set("s1")));
    stock.take_changed();
    let entries = [
        entry("berth-inplaceset-s1", &["app:2"]),
        entry("berth-inplaceset-s9", &["other:1"]),
        entry("kubectl", &["third:1"]),
    ];
    let seen = pull(5, &entries, "Failed", 3);
    stock.saw_pull(&seen);
    assert_eq!(stock.take_changed(), [shop()].into());
    assert_eq!(stock.nodes_asked_by("s1").collect::<Vec<_>>(), ["n1"]);
    assert_eq!(stock.gone_askers(), ["s9"]);
    let known = stock.pull("berth-system", "n1").unwrap();
    let failed = Pull::Failed("no such image".to_owned());
    assert_eq!(known.images("s1"), [("app:2".to_owned(), failed)].into());
    // Whatever another set asks for the same images for.
    assert_eq!(known.requested_by("s1").map(String::as_str), Some("r1"));
    let since = known.since("s1").map(|it| it.to_string());
    assert_eq!(since.as_deref(), Some("2026-01-01T00:00:07Z"));

    // What the agent says of an earlier request is not believed.
    stock.saw_pull(&pull(6, &entries, "Succeeded", 2));
    let known = stock.pull("berth-system", "n1").unwrap();
    assert!(matches!(known.images("s1")["app:2"], Pull::Pending(_)));

    stock.saw_pull(&pull(7, &entries[1..], "Succeeded", 3));
    assert_eq!(stock.nodes_asked_by("s1").count(), 0);
}
