use proptest::prelude::*;

use super::*;

fn lease(version: u64, holder: &str, transitions: u64) -> Seen {
    Seen {
        uid: "u".to_owned(),
        version: version.to_string(),
        holder: (!holder.is_empty()).then(|| holder.to_owned()),
        transitions,
    }
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn first_candidate_makes_the_lease() {
    let mut me = Candidate::new("me".to_owned());
    let step = me.plan(None, false, Instant::now());
    assert_eq!(step, Step::Create { number: 1 });
}

#[test]
fn another_holder_is_left_in_peace_while_the_lease_changes() {
    let mut me = Candidate::new("me".to_owned());
    let start = Instant::now();
    for second in 0..100 {
        let step = me.plan(
            Some(lease(second, "other", 4)),
            false,
            start + seconds(second),
        );
        assert_eq!(step, Step::Wait, "{second}");
    }
    let last = start + seconds(99);
    let still =
        |me: &mut Candidate, after| me.plan(Some(lease(99, "other", 4)), false, last + after);
    let short = LEASE.saturating_sub(Duration::from_millis(1));
    assert_eq!(still(&mut me, short), Step::Wait);
    let seen = lease(99, "other", 4);
    assert_eq!(still(&mut me, LEASE), Step::Take { seen, number: 5 });
}

#[test]
fn a_lease_that_was_given_up_is_taken_at_once() {
    let mut me = Candidate::new("me".to_owned());
    for holder in [None, Some(String::new())] {
        let seen = Seen {
            holder,
            ..lease(7, "", 3)
        };
        let step = me.plan(Some(seen.clone()), false, Instant::now());
        assert_eq!(step, Step::Take { seen, number: 4 });
    }
}

#[test]
fn a_lease_of_one_that_is_dead_is_taken_when_what_it_had_sent_is_over_and_no_one_else_s() {
    let mut me = Candidate::new("me".to_owned());
    let start = Instant::now();
    me.learn(["dead".to_owned()].into(), start);
    let at = |me: &mut Candidate, holder: &str, after| {
        me.plan(Some(lease(7, holder, 3)), false, start + after)
    };
    let early = BETWEEN.saturating_sub(Duration::from_millis(1));
    assert_eq!(at(&mut me, "dead", early), Step::Wait);
    assert_eq!(at(&mut me, "other", BETWEEN), Step::Wait);
    let seen = lease(7, "dead", 3);
    let take = Step::Take { seen, number: 4 };
    assert_eq!(at(&mut me, "dead", BETWEEN), take);
}

#[test]
fn own_lease_is_renewed_while_the_term_stands_and_won_anew_after() {
    let mut me = Candidate::new("me".to_owned());
    let seen = lease(7, "me", 3);
    let renew = me.plan(Some(seen.clone()), true, Instant::now());
    assert_eq!(renew, Step::Renew { seen: seen.clone() });
    let again = me.plan(Some(seen.clone()), false, Instant::now());
    assert_eq!(again, Step::Take { seen, number: 4 });
}

#[test]
fn a_lease_that_was_deleted_does_not_count_from_the_start() {
    let mut me = Candidate::new("me".to_owned());
    me.plan(Some(lease(7, "other", 3)), false, Instant::now());
    assert_eq!(
        me.plan(None, false, Instant::now()),
        Step::Create { number: 4 }
    );
}

/// What a candidate does in one step of the model.
#[derive(Clone, Debug)]
struct Move {
    who: usize,
    /// Milliseconds that pass before it, in transit to the server, and back.
    before: u64,
    there: u64,
    back: u64,
    /// The answer is lost.
    lost: bool,
    /// It dies after this, and the next process of its node is told so.
    dies: bool,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = (
        0..3_usize,
        0..6_000_u64,
        0..4_000_u64,
        0..4_000_u64,
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.1),
    );
    let one = one.prop_map(|(who, before, there, back, lost, dies)| Move {
        who,
        before,
        there,
        back,
        lost,
        dies,
    });
    prop::collection::vec(one, 1..80)
}

proptest! {
    /// Three nodes, an API server that takes writes at the right version only, slow and lost answers, processes that die: terms never overlap,
    /// and there is always the time between them that requests under way need.
    #[test]
    fn two_terms_never_stand_at_once(moves in moves()) {
        let start = Instant::now();
        let mut now = start;
        let mut server: Option<Seen> = None;
        let mut version = 0_u64;
        let name = |node: usize, process: u32| format!("{node}_{process}");
        let mut processes = [0_u32; 3];
        let mut candidates: Vec<_> = (0..3).map(|node| Candidate::new(name(node, 0))).collect();
        let mut terms: Vec<Option<(u64, Instant)>> = vec![None; 3];
        let mut last: Option<(usize, u32, Instant)> = None;
        for Move { who, before, there, back, lost, dies } in moves {
            now += Duration::from_millis(before);
            if dies {
                let dead = (0..=processes[who]).map(|process| name(who, process)).collect();
                processes[who] += 1;
                candidates[who] = Candidate::new(name(who, processes[who]));
                candidates[who].learn(dead, now);
                if let Some((_, until)) = terms[who].take()
                    && let Some((node, _, end)) = &mut last
                    && *node == who
                {
                    *end = until.min(now);
                }
            }
            // Read: as the server had it on the way; then the step is decided.
            let seen = server.clone();
            now += Duration::from_millis(back);
            let leads = terms[who].is_some_and(|(_, until)| now < until);
            let step = candidates[who].plan(seen, leads, now);
            let sent = now;
            now += Duration::from_millis(there);
            let (basis, number) = match step {
                Step::Wait => continue,
                Step::Create { number } => (None, number),
                Step::Take { seen, number } => (Some(seen), number),
                Step::Renew { seen } => {
                    let number = terms[who].map_or(0, |(number, _)| number);
                    (Some(seen), number)
                }
            };
            if basis != server {
                continue;
            }
            version += 1;
            server = Some(lease(version, &name(who, processes[who]), number));
            now += Duration::from_millis(back);
            if lost {
                continue;
            }
            if let Some((node, process, end)) = last
                && (node, process) != (who, processes[who])
            {
                prop_assert!(now >= end + BETWEEN, "{:?} after the last one's end", now.checked_duration_since(end));
            }
            last = Some((who, processes[who], sent + TERM));
            terms[who] = Some((number, sent + TERM));
            let standing = terms.iter().enumerate().filter(|(_, term)| term.is_some_and(|(_, until)| now < until));
            let standing: Vec<_> = standing.map(|(who, _)| who).collect();
            prop_assert!(standing.len() <= 1, "{standing:?} at {:?}", now - start);
        }
    }
}
