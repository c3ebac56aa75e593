//! What a set's revisions, and its nodes' kubelets, make of a release.

use super::*;

fn revision(template: &Value, number: i64) -> Revision {
    let hash = revision::hash(template, 0);
    Revision {
        name: format!("shop-{hash}"),
        uid: hash.clone(),
        version: "1".to_owned(),
        template: template.clone(),
        hash,
        number,
    }
}

/// A set whose template this is, as its latest revision.
fn set_of(template: &Value, spec: &Value) -> SetView {
    let mut spec = spec.clone();
    spec["template"] = template.clone();
    let mut set = set(&spec);
    set.revisions.push(revision(template, 3));
    set
}

fn told<'a>(plan: &'a Plan, of: &str) -> Option<&'a str> {
    plan.deeds.iter().find_map(|deed| match deed {
        Deed::Tell {
            reason, message, ..
        } if *reason == of => Some(message.as_str()),
        _ => None,
    })
}

/// Status, reason, message.
fn in_place(plan: &Plan) -> (bool, &str, &str) {
    let conditions = &plan.status.conditions;
    let one = conditions.iter().find(|one| one.r#type == "InPlace");
    let one = one.expect("the condition InPlace");
    let is_true = one.status == proto_crd::condition::ConditionStatus::True;
    (is_true, &one.reason, &one.message)
}

#[test]
fn why_pods_are_made_anew_is_a_condition_that_stays_and_is_told_once() {
    let mut template = template("app:1");
    template["spec"]["containers"][0]["env"] = json!([{"name": "MODE", "value": "2"}]);
    let mut set = set_of(&template, &json!({}));
    let mut pods = vec![pod(0), pod(1), pod(2)];
    let surroundings = around(&pods);
    let first = plan(&set, &pods, &surroundings, at(100));
    assert_eq!(writes(&first), ["hold shop-2"]);
    let (is_true, reason, why) = in_place(&first);
    assert_eq!((is_true, reason), (false, "MadeAnew"));
    assert!(why.contains("spec.containers[app].env"), "{why}");
    let message = told(&first, "PodsMadeAnew").expect("an Event");
    assert!(message.contains(why), "{message}");

    set.status = first.status;
    let again = plan(&set, &pods, &surroundings, at(101));
    assert_eq!(told(&again, "PodsMadeAnew"), None);

    // When it is over it is still known.
    for pod in &mut pods {
        pod.revision = Some(revision::hash(&template, 0));
    }
    let over = plan(&set, &pods, &surroundings, at(102));
    assert_eq!(in_place(&over).1, "MadeAnew");
    assert_eq!(told(&over, "PodsMadeAnew"), None);

    // Another release is another one, and is told though the words are the same.
    set.status = over.status;
    template["spec"]["containers"][0]["env"][0]["value"] = "3".into();
    set.spec.template = template.clone();
    set.revisions.push(revision(&template, 4));
    set.generation += 1;
    let next = plan(&set, &pods, &surroundings, at(103));
    assert!(told(&next, "PodsMadeAnew").is_some());

    set.status = next.status;
    template["spec"]["containers"][0]["env"][0]["value"] = "2".into();
    template["spec"]["containers"][0]["image"] = "app:7".into();
    set.spec.template = template.clone();
    set.revisions.push(revision(&template, 5));
    let third = plan(&set, &pods, &surroundings, at(104));
    assert_eq!(in_place(&third), (true, "PodsStay", ""));
}

#[test]
fn what_is_refused_is_said_by_the_condition_too() {
    let mut template = template("app:1");
    template["spec"]["hostNetwork"] = true.into();
    let set = set_of(&template, &json!({"upgradePolicy": "InPlaceOnly"}));
    let pods = [pod(0), pod(1), pod(2)];
    let plan = plan(&set, &pods, &around(&pods), at(100));
    assert_eq!(writes(&plan), [""; 0]);
    let (is_true, reason, why) = in_place(&plan);
    assert_eq!((is_true, reason), (false, "Refused"));
    assert!(why.contains("spec.hostNetwork"), "{why}");
    assert_eq!(told(&plan, "PodsMadeAnew"), None);
}

#[test]
fn a_hash_that_another_template_has_raises_the_count_and_gives_another_name() {
    let mut set = set(&json!({"template": template("app:3")}));
    let taken = revision::hash(&template("app:3"), 0);
    set.revisions[0].hash.clone_from(&taken);
    let first = plan(&set, &[], &Surroundings::default(), at(100));
    assert_eq!(first.deeds, [Deed::WriteStatus]);
    assert_eq!(first.status.collision_count, 1);

    set.status = first.status;
    let then = plan(&set, &[], &Surroundings::default(), at(101));
    let [Deed::CreateRevision { hash, number, .. }] = &then.deeds[..] else {
        panic!("{:?}", then.deeds);
    };
    assert_eq!(*hash, revision::hash(&template("app:3"), 1));
    assert_eq!(*number, 3);
}

#[test]
fn revisions_that_a_former_set_left_behind_come_first() {
    let mut set = set(&json!({}));
    set.orphans = set.revisions.split_off(1);
    let plan = plan(&set, &[pod(0)], &Surroundings::default(), at(100));
    let [Deed::AdoptRevision { name, .. }] = &plan.deeds[..] else {
        panic!("{:?}", plan.deeds);
    };
    assert_eq!(*name, revision_of("app:2", 2).name);
}

#[test]
fn a_pod_that_was_let_go_keeps_its_name_and_the_next_number_comes() {
    let mut pods = [pod(0), pod(1), pod(2)];
    pods[0].owner = Owner::Nobody;
    pods[0].selected = false;
    let made = |pods: &[PodView]| {
        writes(&plan(
            &set(&json!({"paused": true})),
            pods,
            &around(pods),
            at(100),
        ))
    };
    assert_eq!(made(&pods), ["create shop-3"]);
    // One that ends makes room again.
    pods[0].deleting = true;
    assert_eq!(made(&pods), ["create shop-0"]);
}

#[test]
fn a_sidecar_is_replaced_in_place_where_kubelet_does_that_and_nowhere_else() {
    let with_sidecar = |image: &str| {
        let mut template = template("app:1");
        template["spec"]["initContainers"] =
            json!([{"name": "mesh", "image": image, "restartPolicy": "Always"}]);
        template
    };
    let before = revision(&with_sidecar("mesh:1"), 1);
    let pods = [pod(0), pod(1)].map(|pod| PodView {
        revision: Some(before.hash.clone()),
        ..pod
    });
    let mut surroundings = around(&pods);
    surroundings.sidecars_stay = ["n1".to_owned()].into();
    let planned = |policy: &str| {
        let spec = json!({"replicas": 2, "maxUnavailable": 2, "upgradePolicy": policy});
        let mut set = set_of(&with_sidecar("mesh:2"), &spec);
        set.revisions.push(before.clone());
        set.status.current_revision.clone_from(&before.hash);
        plan(&set, &pods, &surroundings, at(100))
    };
    let plan = planned("InPlaceIfPossible");
    let mut all = writes(&plan);
    all.sort();
    assert_eq!(all, ["hold shop-1", "pull n0"]);
    let why = in_place(&plan).2;
    assert!(
        why.contains("kubelet replaces sidecars from 1.32 on"),
        "{why}"
    );

    let plan = planned("InPlaceOnly");
    assert_eq!(writes(&plan), [""; 0]);
    let release = plan.status.release.as_ref().expect("a release");
    assert_eq!(release.phase, ReleasePhase::Held);
    assert!(release.waits_for.contains("1.32"), "{}", release.waits_for);
}
