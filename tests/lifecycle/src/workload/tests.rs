use super::*;

fn one(owner: Owner) -> (Workload, Measure) {
    let mut workload = Workload::default();
    workload.found(owner, 0, 0);
    (workload, Measure::default())
}

fn start(workload: &mut Workload, now: Seconds, measure: &mut Measure) {
    for id in workload.bind(|| Some((1, now))) {
        workload.advance(id, now, measure);
    }
}

#[test]
fn a_deleted_pod_is_replaced_at_once_but_one_with_a_place_only_when_it_is_gone() {
    let (mut workload, mut measure) = one(Owner::ReplicaSet);
    assert!(workload.delete(0, 5));
    start(&mut workload, 5, &mut measure);
    assert_eq!(workload.pod(1).state, State::Running);

    let (mut workload, mut measure) = one(Owner::Placed);
    assert!(workload.delete(0, 5));
    start(&mut workload, 5, &mut measure);
    assert_eq!(workload.len(), 1);
    assert!(workload.end(0, 6));
    start(&mut workload, 6, &mut measure);
    assert_eq!(workload.pod(1).state, State::Running);
}

#[test]
fn a_released_pod_runs_on_and_is_not_replaced_twice_by_a_delete() {
    let (mut workload, mut measure) = one(Owner::InPlaceSet);
    assert!(workload.release(0, 5));
    assert!(!workload.release(0, 6));
    start(&mut workload, 7, &mut measure);
    assert_eq!(workload.pod(0).state, State::Running);
    assert!(workload.has_twin(0) && workload.has_twin(1));
    workload.delete(0, 8);
    assert_eq!(workload.len(), 2);
}

#[test]
fn a_readopted_pod_lets_its_successor_go_for_good() {
    let (mut workload, mut measure) = one(Owner::ReplicaSet);
    workload.release(0, 5);
    start(&mut workload, 6, &mut measure);
    assert_eq!(workload.readopt(0), Some(1));
    assert!(workload.delete(1, 7));
    assert_eq!(workload.len(), 2);
    assert!(workload.pod(1).is_deleted && !workload.pod(0).is_released);
}

#[test]
fn a_loss_ends_when_a_successor_serves_even_the_successor_of_one_that_never_did() {
    let (mut workload, mut measure) = one(Owner::ReplicaSet);
    workload.lose(0, 10, &mut measure);
    workload.delete(0, 50);
    let bound = workload.bind(|| Some((1, 99)));
    workload.delete(bound[0], 60);
    start(&mut workload, 70, &mut measure);
    let row = measure.row();
    assert_eq!((row.lost, row.replaced_max), (1, Some(60)));
}

#[test]
fn a_loss_after_its_replacement_serves_costs_no_time() {
    let (mut workload, mut measure) = one(Owner::InPlaceSet);
    workload.release(0, 5);
    start(&mut workload, 9, &mut measure);
    workload.lose(0, 20, &mut measure);
    assert_eq!(measure.row().replaced_max, Some(0));
}

#[test]
fn broken_replacements_end_a_loss_when_they_are_mended() {
    let (mut workload, mut measure) = one(Owner::InPlaceSet);
    workload.is_broken = true;
    workload.lose(0, 5, &mut measure);
    workload.release(0, 8);
    start(&mut workload, 9, &mut measure);
    assert_eq!(measure.row().unreplaced, 1);
    workload.is_broken = false;
    workload.advance(1, 50, &mut measure);
    assert_eq!(measure.row().replaced_max, Some(45));
}
