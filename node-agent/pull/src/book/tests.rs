use k8s_openapi::jiff::ToSpan as _;
use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn at(milliseconds: i64) -> Timestamp {
    NOW.saturating_add(milliseconds.milliseconds()).unwrap()
}

fn wanted(image: &str) -> WantedImage {
    WantedImage {
        image: image.to_owned(),
        ..WantedImage::default()
    }
}

fn spec(parallelism: u32, images: &[WantedImage]) -> ImagePullSpec {
    ImagePullSpec {
        node_name: "n1".to_owned(),
        images: images.to_vec(),
        parallelism: Some(parallelism),
    }
}

fn book(parallelism: u32, images: &[&str]) -> Book {
    let images: Vec<_> = images.iter().map(|&image| wanted(image)).collect();
    Book::load(1, &spec(parallelism, &images), None)
}

fn one(book: &Book) -> ImageStatus {
    book.status().images[0].clone()
}

fn begun(book: &mut Book, now: Timestamp) -> Vec<String> {
    let attempts = book.start(now).into_iter();
    attempts.map(|attempt| attempt.key.image).collect()
}

fn broken() -> Outcome {
    Outcome::Failed(Failure::passing(PullReason::Registry, "500"))
}

fn pulled() -> Outcome {
    Outcome::Pulled {
        digest: Some("sha256:aa".to_owned()),
        took: Duration::from_millis(1234),
    }
}

/// The end of whatever is under way.
fn end(book: &mut Book, outcome: &Outcome, now: Timestamp) -> Vec<Verdict> {
    let keys = book.under_way();
    let ends = keys.iter();
    ends.map(|key| book.end(key, outcome.clone(), now, 0))
        .collect()
}

#[test]
fn no_more_begin_than_may_run_at_once_and_the_order_is_that_of_the_request() {
    let mut book = book(2, &["r/a:1", "r/b:1", "r/c:1"]);
    assert_eq!(begun(&mut book, NOW), ["r/a:1", "r/b:1"]);
    assert!(begun(&mut book, NOW).is_empty());
    assert_eq!(book.next_start(NOW), None);
    let first = book.under_way().remove(0);
    assert_eq!(book.end(&first, pulled(), NOW, 0), Verdict::Succeeded);
    assert_eq!(book.next_start(NOW), Some(Duration::ZERO));
    assert_eq!(begun(&mut book, NOW), ["r/c:1"]);
    let status = book.status();
    assert_eq!(
        (
            status.wanted,
            status.pulling,
            status.succeeded,
            status.failed
        ),
        (3, 2, 1, 0)
    );
}

#[test]
fn what_was_pulled_says_digest_and_time() {
    let mut book = book(1, &["r/a:1"]);
    book.start(at(1000));
    end(&mut book, &pulled(), at(2000));
    let status = one(&book);
    assert_eq!(status.phase, PullPhase::Succeeded);
    assert_eq!(status.digest.as_deref(), Some("sha256:aa"));
    assert_eq!(status.message.as_deref(), Some("pulled in 1.2 s"));
    assert_eq!(status.started_at, Some(Time(at(1000))));
    assert_eq!(status.completed_at, Some(Time(at(2000))));
    assert_eq!(status.attempts, 1);
}

#[test]
fn image_that_the_node_had_is_done_at_once() {
    let mut book = book(1, &["r/a:1"]);
    book.start(NOW);
    end(&mut book, &Outcome::Present { digest: None }, NOW);
    let status = one(&book);
    assert_eq!(status.phase, PullPhase::Succeeded);
    assert_eq!(status.message.as_deref(), Some("the node had it"));
    assert!(book.start(at(999_999)).is_empty());
}

#[test]
fn waits_double_from_one_second_to_thirty_and_the_limit_ends_it() {
    let mut image = wanted("r/a:1");
    image.back_off_limit = Some(7);
    let mut book = Book::load(1, &spec(1, &[image]), None);
    let (mut now, mut waits) = (NOW, Vec::new());
    loop {
        assert_eq!(book.start(now).len(), 1);
        if end(&mut book, &broken(), now) == [Verdict::GivenUp] {
            break;
        }
        let wait = book.next_start(now).unwrap();
        assert!(book.start(now).is_empty(), "before its time");
        waits.push(wait.as_secs());
        now = now
            .saturating_add(SignedDuration::try_from(wait).unwrap())
            .unwrap();
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
    let status = one(&book);
    assert_eq!((status.phase, status.attempts), (PullPhase::Failed, 8));
    assert_eq!(status.reason, Some(PullReason::Registry));
    assert_eq!(
        status.message.as_deref(),
        Some("given up after 8 attempts: 500")
    );
}

#[test]
fn failure_that_stays_is_not_repeated() {
    let mut book = book(1, &["r/a:1"]);
    book.start(NOW);
    let gone = Outcome::Failed(Failure::last(PullReason::NotFound, "no such image"));
    assert_eq!(end(&mut book, &gone, NOW), [Verdict::GivenUp]);
    let status = one(&book);
    assert_eq!((status.phase, status.attempts), (PullPhase::Failed, 1));
    assert_eq!(status.message.as_deref(), Some("no such image"));
}

#[test]
fn limit_of_none_means_one_attempt() {
    let mut image = wanted("r/a:1");
    image.back_off_limit = Some(0);
    let mut book = Book::load(1, &spec(1, &[image]), None);
    book.start(NOW);
    assert_eq!(end(&mut book, &broken(), NOW), [Verdict::GivenUp]);
}

#[test]
fn runtime_that_is_away_costs_no_attempt() {
    let mut book = book(1, &["r/a:1"]);
    let mut now = NOW;
    for _ in 0..20 {
        assert_eq!(book.start(now).len(), 1);
        let away = Outcome::Away("no socket".to_owned());
        assert_eq!(end(&mut book, &away, now), [Verdict::Repeated]);
        assert_eq!(book.next_start(now), Some(AWAY));
        now = now.saturating_add(5.seconds()).unwrap();
    }
    assert_eq!(
        (one(&book).phase, one(&book).attempts),
        (PullPhase::Pending, 1)
    );
    assert_eq!(one(&book).reason, Some(PullReason::Runtime));
    book.start(now);
    end(&mut book, &pulled(), now);
    assert_eq!(one(&book).attempts, 1);
}

#[test]
fn clock_that_is_set_back_delays_nothing_for_long() {
    let mut book = book(1, &["r/a:1"]);
    book.start(at(3_600_000));
    end(&mut book, &broken(), at(3_600_000));
    assert_eq!(book.next_start(NOW), Some(Duration::ZERO));
    assert_eq!(book.start(NOW).len(), 1);
}

#[test]
fn waits_are_shortened_by_up_to_a_quarter() {
    for (chance, expected) in [(0, 1000), (u32::MAX / 2, 875), (u32::MAX, 750)] {
        let mut book = book(1, &["r/a:1"]);
        book.start(NOW);
        let key = book.under_way().remove(0);
        book.end(&key, broken(), NOW, chance);
        let wait = book.next_start(NOW).unwrap().as_millis();
        assert!(wait.abs_diff(expected) <= 1, "{chance}: {wait}");
    }
}

#[test]
fn changed_entry_starts_anew_and_its_attempt_is_stopped() {
    let changes: [fn(&mut WantedImage); 5] = [
        |image| image.pull_policy = Some(PullPolicy::Always),
        |image| image.pull_secrets = vec!["s".to_owned()],
        |image| image.timeout_seconds = Some(7),
        |image| image.back_off_limit = Some(1),
        |image| image.requested_by = Some("again".to_owned()),
    ];
    for change in changes {
        let mut book = book(1, &["r/a:1"]);
        book.start(NOW);
        let key = book.under_way().remove(0);
        let mut image = wanted("r/a:1");
        change(&mut image);
        let stopped = book.follow(2, &spec(1, &[image]));
        assert_eq!(stopped, std::slice::from_ref(&key));
        let status = book.status();
        assert_eq!(status.observed_generation, 2);
        assert_eq!(
            (status.images[0].phase, status.images[0].attempts),
            (PullPhase::Pending, 0)
        );
        // The end of the attempt that was stopped.
        assert_eq!(book.end(&key, pulled(), NOW, 0), Verdict::Forgotten);
        assert_eq!(one(&book).phase, PullPhase::Pending);
    }
}

#[test]
fn defaults_that_the_api_server_fills_in_are_no_change() {
    let mut book = book(1, &["r/a:1"]);
    book.start(NOW);
    end(&mut book, &pulled(), NOW);
    let mut filled = wanted("r/a:1");
    filled.pull_policy = Some(PullPolicy::IfNotPresent);
    filled.timeout_seconds = Some(DEFAULT_TIMEOUT_SECONDS);
    filled.back_off_limit = Some(DEFAULT_BACK_OFF_LIMIT);
    assert!(book.follow(2, &spec(4, &[filled])).is_empty());
    assert_eq!(one(&book).phase, PullPhase::Succeeded);
}

#[test]
fn entry_that_nobody_asks_for_any_more_goes_and_its_attempt_is_stopped() {
    let mut book = book(2, &["r/a:1", "r/b:1"]);
    book.start(NOW);
    let stopped = book.follow(2, &spec(2, &[wanted("r/b:1")]));
    assert_eq!(stopped.len(), 1);
    assert_eq!(stopped[0].image, "r/a:1");
    assert_eq!(book.status().images.len(), 1);
    assert_eq!(one(&book).phase, PullPhase::Pulling);
}

#[test]
fn new_process_goes_on_where_the_old_one_was() {
    let images = ["r/a:1", "r/b:1", "r/c:1", "r/d:1"].map(wanted);
    let mut old = Book::load(1, &spec(3, &images), None);
    let keys: Vec<_> = old.start(NOW).into_iter().map(|it| it.key).collect();
    old.end(&keys[0], pulled(), NOW, 0);
    old.end(&keys[1], broken(), NOW, 0);
    let prior = old.status();
    let mut new = Book::load(1, &spec(3, &images), Some(&prior));
    let phases = |book: &Book| -> Vec<_> {
        let images = book.status().images.into_iter();
        images.map(|image| (image.phase, image.attempts)).collect()
    };
    assert_eq!(
        phases(&new),
        [
            (PullPhase::Succeeded, 1),
            (PullPhase::BackOff, 1),
            // Interrupted: the same attempt is made again.
            (PullPhase::Pending, 1),
            (PullPhase::Pending, 0),
        ]
    );
    assert_eq!(begun(&mut new, NOW), ["r/c:1", "r/d:1"]);
    assert_eq!(phases(&new)[2], (PullPhase::Pulling, 1));
    assert_eq!(begun(&mut new, at(1000)), ["r/b:1"]);
    // What was written of another version of an entry is not taken over.
    let mut other = images.clone();
    other[0].requested_by = Some("again".to_owned());
    let anew = Book::load(2, &spec(3, &other), Some(&prior));
    assert_eq!(phases(&anew)[0], (PullPhase::Pending, 0));
}

#[test]
fn text_that_is_too_long_is_cut() {
    let mut book = book(1, &["r/a:1"]);
    book.start(NOW);
    let long = Failure::last(PullReason::Other, "ü".repeat(2000));
    end(&mut book, &Outcome::Failed(long), NOW);
    let message = one(&book).message.unwrap();
    assert_eq!(message.chars().count(), MESSAGE_LIMIT);
    assert!(message.ends_with('…'));
}

#[derive(Clone, Debug)]
enum Step {
    /// The object changes: these images, each in one of three versions, so many at once.
    Follow(Vec<(u8, u8)>, u32),
    /// Time goes on, or back.
    Wait(i64),
    /// One of those under way ends.
    End(usize, Outcome),
    /// How much has arrived.
    Progress(usize),
    /// The process is killed and started again.
    Restart,
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(pulled()),
        Just(Outcome::Present { digest: None }),
        Just(broken()),
        Just(Outcome::Failed(Failure::last(PullReason::NotFound, "no"))),
        Just(Outcome::Away("away".to_owned())),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (prop::collection::vec((0..6_u8, 0..3_u8), 0..6), 1..4_u32)
            .prop_map(|(images, parallelism)| Step::Follow(images, parallelism)),
        4 => (-40_000..40_000_i64).prop_map(Step::Wait),
        4 => (0..4_usize, outcome()).prop_map(|(which, outcome)| Step::End(which, outcome)),
        1 => (0..4_usize).prop_map(Step::Progress),
        1 => Just(Step::Restart),
    ]
}

fn object(images: &[(u8, u8)], parallelism: u32) -> ImagePullSpec {
    let mut all: Vec<WantedImage> = Vec::new();
    for (name, version) in images {
        let mut image = wanted(&format!("r/{name}:1"));
        image.requested_by = Some(version.to_string());
        image.back_off_limit = Some(u32::from(*version));
        // A list by image.
        if all.iter().all(|known| known.image != image.image) {
            all.push(image);
        }
    }
    spec(parallelism, &all)
}

/// What the API server would refuse, and what must hold of every status after another.
fn judge(before: &ImagePullStatus, now: &ImagePullStatus, object: &ImagePullSpec) {
    let count = |phase| {
        let all = now.images.iter().filter(|it| it.phase == phase);
        u32::try_from(all.count()).unwrap()
    };
    assert_eq!(now.wanted as usize, object.images.len());
    assert_eq!(now.pulling, count(PullPhase::Pulling));
    assert_eq!(now.succeeded, count(PullPhase::Succeeded));
    assert_eq!(now.failed, count(PullPhase::Failed));
    for (image, wanted) in now.images.iter().zip(&object.images) {
        assert_eq!(image.image, wanted.image);
        assert_eq!(image.phase.is_final(), image.completed_at.is_some());
        assert_eq!(
            image.phase == PullPhase::BackOff,
            image.next_attempt_at.is_some()
        );
        if matches!(image.phase, PullPhase::BackOff | PullPhase::Failed) {
            assert!(image.reason.is_some() && image.message.is_some());
        }
        assert!(image.phase == PullPhase::Pulling || image.progress.is_none());
        assert!(image.attempts <= wanted.back_off_limit.unwrap() + 1);
        let was = before.images.iter().find(|it| key(it) == key(image));
        if let Some(was) = was {
            assert!(image.attempts >= was.attempts, "{was:?} {image:?}");
            assert!(!was.phase.is_final() || was == image, "{was:?} {image:?}");
        }
    }
}

proptest! {
    #[test]
    fn status_only_goes_forward_and_limits_hold_whatever_happens(
        steps in prop::collection::vec(step(), 1..80)
    ) {
        let mut object = object(&[(0, 0), (1, 1), (2, 2)], 2);
        let mut book = Book::load(1, &object, None);
        let (mut now, mut before) = (at(1_000_000_000), book.status());
        for (generation, step) in (2..).zip(steps) {
            match step {
                Step::Follow(images, parallelism) => {
                    object = self::object(&images, parallelism);
                    book.follow(generation, &object);
                }
                Step::Wait(milliseconds) => {
                    now = now.saturating_add(milliseconds.milliseconds()).unwrap();
                }
                Step::End(which, outcome) => {
                    if let Some(key) = book.under_way().get(which) {
                        book.end(key, outcome, now, 7);
                    }
                }
                Step::Progress(which) => {
                    if let Some(key) = book.under_way().get(which) {
                        book.progress(key, PullProgress::default());
                    }
                }
                Step::Restart => book = Book::load(generation, &object, Some(&before)),
            }
            let running = book.status().pulling;
            let begun = book.start(now).len();
            prop_assert!(begun == 0 || book.status().pulling <= object.parallelism.unwrap());
            prop_assert_eq!(book.status().pulling as usize, running as usize + begun);
            let status = book.status();
            judge(&before, &status, &object);
            before = status;
        }
    }

    #[test]
    fn every_image_is_final_at_last(
        outcomes in prop::collection::vec(outcome(), 1..40),
        limit in 0..5_u32,
        parallelism in 1..4_u32,
    ) {
        let images = ["r/a:1", "r/b:1", "r/c:1", "r/d:1"].map(|image| WantedImage {
            back_off_limit: Some(limit),
            ..wanted(image)
        });
        let mut book = Book::load(1, &spec(parallelism, &images), None);
        let mut now = NOW;
        // A runtime that is away for ever is the one thing that nothing ends.
        let outcomes = outcomes.into_iter().chain(std::iter::repeat(broken()));
        let mut ends = 0;
        for outcome in outcomes {
            book.start(now);
            match book.under_way().first() {
                Some(key) => {
                    book.end(key, outcome, now, 0);
                    ends += 1;
                }
                None => match book.next_start(now) {
                    Some(wait) => {
                        prop_assert!(wait <= BACK_OFF_AT_MOST);
                        now = now.saturating_add(SignedDuration::try_from(wait).unwrap()).unwrap();
                    }
                    None => break,
                },
            }
        }
        prop_assert!(book.status().images.iter().all(|image| image.phase.is_final()));
        prop_assert!(ends <= 40 + 4 * (limit as usize + 1));
    }
}
