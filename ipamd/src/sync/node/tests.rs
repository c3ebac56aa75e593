use super::*;

const LABEL: &str = "topology.berth.dev/rack";

fn own() -> Own {
    Own {
        node: "n1".parse().unwrap(),
        label: LABEL.into(),
    }
}

fn rack(name: &str) -> RackName {
    name.parse().unwrap()
}

fn last(name: &str, stands: bool) -> Last {
    Last {
        rack: rack(name),
        stands,
    }
}

fn says(value: &str) -> Observed {
    Observed::Present {
        value: Some(value.to_owned()),
    }
}

const SILENT: Observed = Observed::Present { value: None };

fn away() -> Observed {
    Observed::Away {
        problem: "the API server https://10.96.0.1 cannot be reached: connection refused"
            .to_owned(),
        advice: "check the way to it".to_owned(),
    }
}

/// What is seen, what is known, and what follows: the rack (`?` unknown, `…` may be known in a moment), what is remembered,
/// and from where the node moved. A rack in brackets does not stand any more.
const TABLE: &str = "
first label             | =a      | -   | a | a   | -
same label              | =a      | a   | a | -   | -
relabelled              | =b      | a   | b | b   | a
label back              | =a      | (a) | a | a   | -
label back, other rack  | =b      | (a) | b | b   | a
no label, first         | none    | -   | ? | -   | -
label removed           | none    | a   | ? | (a) | -
label still removed     | none    | (a) | ? | -   | -
nonsense, first         | =-      | -   | ? | -   | -
nonsense after a rack   | =-      | a   | ? | (a) | -
no Node, first          | no Node | -   | ? | -   | -
Node deleted            | no Node | a   | a | -   | -
no Node after no label  | no Node | (a) | ? | -   | -
away, first             | away    | -   | … | -   | -
away                    | away    | a   | a | -   | -
away after no label     | away    | (a) | … | -   | -
";

fn observed(text: &str) -> Observed {
    match text {
        "none" => SILENT,
        "no Node" => Observed::Absent,
        "away" => away(),
        text => says(text.strip_prefix('=').unwrap()),
    }
}

fn remembered(text: &str) -> Option<Last> {
    let name = text.trim_start_matches('(').trim_end_matches(')');
    (text != "-").then(|| last(name, name == text))
}

#[test]
fn decision_follows_the_table() {
    let rows = TABLE.trim().lines();
    for row in rows {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let [case, seen, known, rack, remember, from] = cells[..] else {
            panic!("{row}");
        };
        let racks = BTreeSet::from(["a".parse().unwrap()]);
        let decision = plan(&own(), &racks, observed(seen), remembered(known).as_ref());
        let shown = match &decision.rack {
            NodeRack::Unknown(unknown) if unknown.passing => "…".to_owned(),
            NodeRack::Unknown(_) => "?".to_owned(),
            known => known.to_string(),
        };
        assert_eq!(shown, rack, "{case}");
        assert_eq!(decision.remember, remembered(remember), "{case}");
        let moved = decision.moved.map(|moved| moved.from.to_string());
        assert_eq!(moved.as_deref().unwrap_or("-"), from, "{case}");
    }
    assert_eq!(TABLE.trim().lines().count(), 16);
}

#[test]
fn every_unknown_rack_has_a_cause_and_the_command_or_the_place_to_look_at() {
    let words = |observed: Observed, racks: &[&str]| {
        let racks = racks.iter().map(|name| rack(name)).collect();
        match plan(&own(), &racks, observed, None).rack {
            NodeRack::Unknown(unknown) => (unknown.cause, unknown.advice),
            known => panic!("{known:?}"),
        }
    };
    let (cause, advice) = words(SILENT, &["a"]);
    assert_eq!(
        cause,
        "node n1 has no label topology.berth.dev/rack, so its rack is not known"
    );
    assert_eq!(
        advice,
        "run `kubectl label node n1 topology.berth.dev/rack=a`"
    );
    let (_, advice) = words(SILENT, &["a", "b"]);
    assert!(
        advice.contains("rack=RACK`") && advice.ends_with("a, b"),
        "{advice}"
    );
    let (_, advice) = words(SILENT, &[]);
    assert!(advice.contains("kubectl label node n1"), "{advice}");
    let (cause, advice) = words(says("-"), &["a"]);
    assert!(cause.contains("\"-\""), "{cause}");
    assert!(advice.contains("--overwrite"), "{advice}");
    let (cause, advice) = words(Observed::Absent, &["a"]);
    assert!(
        cause.contains("no Node n1") && advice.contains("--node"),
        "{cause}; {advice}"
    );
    let (cause, advice) = words(away(), &["a"]);
    assert!(cause.contains("connection refused"), "{cause}");
    assert_eq!(advice, "check the way to it");
}

#[test]
fn label_of_a_node_is_read_by_its_key_and_an_empty_one_is_none() {
    let node = |labels: &[(&str, &str)]| {
        let mut node = PartialObjectMeta::<Node>::default();
        let labels = labels
            .iter()
            .map(|&(key, value)| (key.to_owned(), value.to_owned()));
        node.metadata.labels = Some(labels.collect());
        Observed::of(Some(node), &own())
    };
    assert_eq!(node(&[("rack", "b"), (LABEL, "a")]), says("a"));
    assert_eq!(node(&[(LABEL, "")]), SILENT);
    assert_eq!(node(&[]), SILENT);
    assert_eq!(Observed::of(None, &own()), Observed::Absent);
}

#[test]
fn move_is_told_with_what_becomes_of_running_and_new_pods() {
    let racks = BTreeSet::new();
    let told = plan(&own(), &racks, says("b"), Some(&last("a", true))).moved;
    let told = told.unwrap().to_string();
    for words in ["rack a", "rack b", "running Pods keep", "new Pods get"] {
        assert!(told.contains(words), "{words}: {told}");
    }
}
