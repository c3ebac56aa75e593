use super::*;

const NAME: &str = "10-berth.conflist";

fn other(name: &str) -> Entry {
    Entry {
        name: name.to_owned(),
        owner: Owner::Other(vec!["flannel".to_owned()]),
    }
}

fn ours(name: &str) -> Entry {
    Entry {
        name: name.to_owned(),
        owner: Owner::Berth,
    }
}

fn damaged(name: &str) -> Entry {
    Entry {
        name: name.to_owned(),
        owner: Owner::Unreadable("half".to_owned()),
    }
}

fn scene(entries: &[Entry]) -> Scene<'_> {
    Scene {
        name: NAME,
        placed: None,
        entries,
        current: false,
        replace: false,
    }
}

/// The names that a runtime reads, and whether each is ours, after each step. Applied to a model of the folder.
fn stages(entries: &[Entry], steps: &[Step]) -> Vec<Vec<Entry>> {
    let mut folder = entries.to_vec();
    let mut stages = Vec::new();
    for step in steps {
        match step {
            Step::Keep(_) => {}
            Step::Place => {
                folder.retain(|entry| entry.name != NAME);
                folder.push(ours(NAME));
            }
            Step::TakeAway(name) | Step::Forget(name) | Step::Leave(name) => {
                folder.retain(|entry| entry.name != *name);
            }
            Step::GiveBack(name) => {
                folder.retain(|entry| entry.name != *name);
                folder.push(other(name));
            }
        }
        folder.sort_by(|one, other| one.name.cmp(&other.name));
        stages.push(folder.clone());
    }
    stages
}

/// Fails unless the first is, after every step, the one that was first or ours; and never nothing where there was one.
fn assert_first(entries: &[Entry], steps: &[Step], first: Option<&Entry>) {
    for (number, stage) in stages(entries, steps).iter().enumerate() {
        let now = stage.first();
        assert!(
            now == first || now.is_some_and(|entry| entry.owner == Owner::Berth),
            "after step {number} of {steps:?}: {stage:?}"
        );
    }
}

#[test]
fn ours_is_put_into_an_empty_folder_and_before_those_that_sort_after_it() {
    for entries in [vec![], vec![other("87-podman.conflist")]] {
        assert_eq!(install(scene(&entries)), Ok(vec![Step::Place]));
    }
}

#[test]
fn nothing_is_done_where_ours_is_current() {
    let entries = [ours(NAME), other("87-podman.conflist")];
    let current = Scene {
        current: true,
        ..scene(&entries)
    };
    assert_eq!(install(current), Ok(vec![]));
    assert_eq!(install(scene(&entries)), Ok(vec![Step::Place]));
}

#[test]
fn others_that_would_win_are_named_with_advice() {
    let entries = [
        other("00-multus.conf"),
        other("05-cilium.conflist"),
        other("87-x.conf"),
    ];
    let error = install(scene(&entries)).unwrap_err().to_string();
    for word in [
        "00-multus.conf (type flannel) and 05-cilium.conflist",
        "--replace",
        "--name",
    ] {
        assert!(error.contains(word), "{word}: {error}");
    }
    assert!(!error.contains("87-x"), "{error}");
}

#[test]
fn file_of_our_name_that_is_not_ours_is_refused_and_with_replace_kept() {
    for entry in [other(NAME), damaged(NAME)] {
        let entries = [entry];
        assert!(matches!(
            install(scene(&entries)),
            Err(PlanError::Taken { .. })
        ));
        let replace = Scene {
            replace: true,
            ..scene(&entries)
        };
        assert_eq!(
            install(replace),
            Ok(vec![Step::Keep(NAME.to_owned()), Step::Place])
        );
    }
}

#[test]
fn our_own_file_that_was_damaged_is_put_down_again() {
    let entries = [damaged(NAME)];
    let placed = Scene {
        placed: Some(NAME),
        ..scene(&entries)
    };
    assert_eq!(install(placed), Ok(vec![Step::Place]));
}

#[test]
fn others_leave_last_one_first_and_return_first_one_first() {
    let entries = [
        other("00-a.conf"),
        other("05-b.conf"),
        other(NAME),
        other("20-c.conf"),
    ];
    let steps = install(Scene {
        replace: true,
        ..scene(&entries)
    })
    .unwrap();
    let names: Vec<&str> = steps
        .iter()
        .filter_map(|step| match step {
            Step::TakeAway(name) => Some(name.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(names, ["05-b.conf", "00-a.conf"]);
    assert_first(&entries, &steps, entries.first());

    let after = stages(&entries, &steps).pop().unwrap();
    assert_eq!(after, [ours(NAME), other("20-c.conf")]);
    let kept = ["05-b.conf", NAME, "00-a.conf"].map(str::to_owned);
    let back = uninstall(NAME, &after, &kept);
    assert_first(&after, &back, entries.first());
    assert_eq!(stages(&after, &back).pop().unwrap(), entries);
}

fn replace(entries: &[Entry]) -> Vec<Step> {
    install(Scene {
        replace: true,
        ..scene(entries)
    })
    .unwrap()
}

#[test]
fn every_interruption_is_repaired_by_the_next_run() {
    let entries = [
        other("00-a.conf"),
        other("05-b.conf"),
        other("07-c.conf"),
        other("20-d.conf"),
    ];
    let steps = replace(&entries);
    let wanted = stages(&entries, &steps).pop().unwrap();
    for stage in stages(&entries, &steps) {
        // Installed again: the same end.
        let again = replace(&stage);
        assert_first(&stage, &again, stage.first());
        let end = stages(&stage, &again)
            .pop()
            .unwrap_or_else(|| stage.clone());
        assert_eq!(end, wanted);
        // Or given up: the same begin.
        let kept: Vec<String> = entries
            .iter()
            .filter(|entry| !stage.contains(entry))
            .map(|entry| entry.name.clone())
            .collect();
        let back = uninstall(NAME, &stage, &kept);
        let end = stages(&stage, &back).pop().unwrap_or(stage);
        assert_eq!(end, entries);
    }
}

#[test]
fn newer_file_of_another_plugin_is_not_overwritten_by_the_kept_one() {
    let entries = [other("05-b.conf"), ours(NAME)];
    let steps = uninstall(NAME, &entries, &["05-b.conf".to_owned()]);
    assert_eq!(steps, [Step::Leave(NAME.to_owned())]);
}

#[test]
fn folder_without_ours_is_left_alone_by_uninstall() {
    for entries in [vec![], vec![other(NAME)], vec![other("20-c.conf")]] {
        assert_eq!(uninstall(NAME, &entries, &[]), []);
    }
}

#[test]
fn another_name_is_put_down_before_the_old_one_goes() {
    let entries = [ours("05-berth.conflist"), other("20-c.conf")];
    let steps = install(Scene {
        placed: Some("05-berth.conflist"),
        ..scene(&entries)
    })
    .unwrap();
    assert_eq!(
        steps,
        [Step::Place, Step::Forget("05-berth.conflist".to_owned())]
    );
    assert_first(&entries, &steps, entries.first());
}
