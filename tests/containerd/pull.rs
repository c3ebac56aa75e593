//! Images that an `ImagePull` asks for, pulled by the agent through a real containerd from registries good and bad. The API server is
//! a stand-in; the cluster tier has the real one.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Deref;

use serde_json::{Value, json};
use tests::registry::{Manner, Registry, Stored};
use tests::stand_in::StandIn;
use tests::wait::{holds, wait_until};
use tests_testbed::{Containerd, Namespace, Process, World, binary};

/// `puller:secret` in base64.
const PULLER: &str = "cHVsbGVyOnNlY3JldA==";

const ALWAYS: u32 = u32::MAX;

const MIB: usize = 1024 * 1024;

/// A node with containerd and a registry, and an agent that believes the stand-in.
struct Rig {
    // End before the machine they run in.
    agent: Process,
    containerd: Containerd,
    registry: Registry,
    api: StandIn,
    world: World,
}

impl Deref for Rig {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        self.world.node("n1").namespace().unwrap()
    }
}

impl Rig {
    fn new(name: &str) -> Self {
        let world = World::builder(name).racks(1).node("n1", "a");
        let world = world.build().unwrap();
        let node = world.node("n1");
        let machine = node.namespace().unwrap();
        let containerd = node.start_containerd().unwrap();
        let (registry, api) = (
            Registry::start(machine, 5000),
            StandIn::start(machine, 8001),
        );
        let kubeconfig = api.kubeconfig().to_string();
        fs::write(machine.path("/run/kubeconfig"), kubeconfig).unwrap();
        let agent = agent(machine);
        Self {
            agent,
            containerd,
            registry,
            api,
            world,
        }
    }

    /// Waits until the status of an image is as it shall be.
    #[track_caller]
    fn wait(&self, image: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        wait_until(&format!("{image} {what}"), || {
            let status = self.api.image(image);
            holds(is(&status), || {
                format!("{status}\n{}", self.agent.log_tail())
            })
            .map(|()| status)
        })
    }

    #[track_caller]
    fn wait_phase(&self, image: &str, phase: &str) -> Value {
        self.wait(image, phase, |status| status["phase"] == phase)
    }

    #[track_caller]
    fn wait_sending(&self, repositories: &[&str]) {
        let wanted: BTreeSet<String> = repositories.iter().map(|&it| it.to_owned()).collect();
        wait_until(&format!("{wanted:?} on their way"), || {
            let sending = self.registry.sending();
            holds(sending == wanted, || {
                format!("{sending:?}\n{}", self.agent.log_tail())
            })
        });
    }

    /// Whether the runtime has an image.
    fn has(&self, image: &str) -> bool {
        let images = self.run(&["ctr", "-n", "k8s.io", "image", "list", "-q"]);
        images.unwrap().lines().any(|name| name == image)
    }

    fn metrics(&self) -> String {
        let url = "http://127.0.0.1:9422/metrics";
        self.run(&["busybox", "wget", "-q", "-O", "-", url])
            .unwrap()
    }
}

fn agent(machine: &Namespace) -> Process {
    let mut command = machine.command(binary("berth-agent").unwrap());
    command.args(["--role=node", "--node=n1", "--kubeconfig=/run/kubeconfig"]);
    machine.spawn_command("agent", command).unwrap()
}

fn wanted(image: &str) -> Value {
    json!({"image": image})
}

/// With this many repetitions.
fn tried(image: &str, repetitions: u32) -> Value {
    json!({"image": image, "backOffLimit": repetitions})
}

fn with_secret(image: &str, secret: &str) -> Value {
    json!({"image": image, "pullSecrets": [secret]})
}

/// What comes: entries, each with the image that is stored.
fn good(rig: &Rig) -> Vec<(Value, Stored)> {
    let store = |name: &str, manner| rig.registry.store(name, 4096, manner);
    let tagged = |stored: Stored| (wanted(&stored.tagged), stored);
    rig.api
        .keep_secret("right", "127.0.0.1:5000", "puller", "secret");
    let by_digest = store("team/by-digest", Manner::Fine);
    let private = store("private", Manner::Wants(PULLER));
    vec![
        tagged(store("fine", Manner::Fine)),
        (wanted(&by_digest.digested), by_digest),
        tagged(store("late", Manner::Answers(503, 2))),
        // Where a connection broke off, containerd asks again by itself a few times.
        tagged(store("mends", Manner::BreaksOff(5))),
        (with_secret(&private.tagged, "right"), private),
    ]
}

/// What does not come.
struct Bad {
    entry: Value,
    reason: &'static str,
    /// Of cause and advice.
    words: &'static [&'static str],
    attempts: u32,
}

impl Bad {
    fn new(entry: Value, reason: &'static str, words: &'static [&'static str]) -> Self {
        Self {
            entry,
            reason,
            words,
            attempts: 1,
        }
    }
}

/// What stays as it is: not repeated.
fn final_at_once(rig: &Rig) -> Vec<Bad> {
    let store = |name: &str, manner| rig.registry.store(name, 4096, manner);
    rig.api
        .keep_secret("wrong", "127.0.0.1:5000", "puller", "guess");
    rig.api
        .keep_secret("elsewhere", "127.0.0.1:5001", "puller", "secret");
    let other_digest = format!("127.0.0.1:5000/fine@sha256:{}", "0".repeat(64));
    let forbidden = store("forbidden", Manner::Answers(403, ALWAYS)).tagged;
    let locked = store("locked", Manner::Wants(PULLER)).tagged;
    let guessed = store("guessed", Manner::Wants(PULLER)).tagged;
    let strange = store("strange", Manner::Wants(PULLER)).tagged;
    let manifest = store("other-manifest", Manner::OtherManifest).digested;
    let layer = store("other-layer", Manner::OtherLayer).tagged;
    vec![
        Bad::new(
            wanted("127.0.0.1:5000/missing:v1"),
            "NotFound",
            &["no such image", "whether it was pushed"],
        ),
        Bad::new(wanted(&other_digest), "NotFound", &["no such image"]),
        Bad::new(
            wanted(&forbidden),
            "Forbidden",
            &["refuses this image", "403 Forbidden"],
        ),
        Bad::new(wanted(&locked), "Unauthorized", &["wants credentials"]),
        Bad::new(
            with_secret(&guessed, "wrong"),
            "Unauthorized",
            &["name a pull secret that is right"],
        ),
        Bad::new(
            with_secret(&strange, "elsewhere"),
            "Unauthorized",
            &["no pull secret is for 127.0.0.1:5000"],
        ),
        Bad::new(wanted(&manifest), "WrongDigest", &[UNLIKE]),
        Bad::new(wanted(&layer), "WrongDigest", &[UNLIKE]),
    ]
}

const UNLIKE: &str = "something else than what the digest stands for";

/// What may pass: repeated as often as it is asked for.
fn repeated(rig: &Rig) -> Vec<Bad> {
    let store = |name: &str, manner| rig.registry.store(name, 4096, manner);
    let lonely = store("lonely", Manner::Wants(PULLER)).tagged;
    let ill = store("ill", Manner::Answers(500, ALWAYS)).tagged;
    let busy = store("busy", Manner::Answers(429, ALWAYS)).tagged;
    let breaks = store("breaks", Manner::BreaksOff(ALWAYS)).tagged;
    let slow = store("slow", Manner::Held).tagged;
    let mut impatient = tried(&slow, 0);
    impatient["timeoutSeconds"] = 2.into();
    let mut secretless = tried(&lonely, 0);
    secretless["pullSecrets"] = json!(["absent"]);
    vec![
        Bad::new(
            secretless,
            "Secret",
            &[
                "there is none",
                "kubectl create secret docker-registry absent -n berth-pull-secrets",
            ],
        ),
        Bad {
            attempts: 3,
            ..Bad::new(
                tried(&ill, 2),
                "Registry",
                &["given up after 3 attempts", "failure of its own", "500"],
            )
        },
        Bad::new(tried(&busy, 0), "Registry", &["asked too much"]),
        Bad::new(tried(&breaks, 0), "Network", &["broke off"]),
        Bad::new(
            tried("127.0.0.1:1/nowhere:v1", 0),
            "Network",
            &["cannot be reached"],
        ),
        Bad::new(
            impatient,
            "Timeout",
            &["not done within 2 s", "timeoutSeconds"],
        ),
    ]
}

fn name(entry: &Value) -> &str {
    entry["image"].as_str().unwrap()
}

#[test]
fn what_a_registry_does_is_told_with_cause_and_advice() {
    let rig = Rig::new("ctrd_pull_words");
    let (good, mut bad) = (good(&rig), final_at_once(&rig));
    bad.extend(repeated(&rig));
    let entries = good.iter().map(|(entry, _)| entry);
    let entries: Vec<_> = entries
        .chain(bad.iter().map(|bad| &bad.entry))
        .cloned()
        .collect();
    rig.api.ask("n1", &entries, 8);
    for (entry, stored) in &good {
        let status = rig.wait_phase(name(entry), "Succeeded");
        assert_eq!(status["digest"], stored.digest.as_str(), "{status}");
        assert!(rig.has(name(entry)), "{entry}");
    }
    for Bad {
        entry,
        reason,
        words,
        attempts,
    } in bad
    {
        let status = rig.wait_phase(name(&entry), "Failed");
        assert_eq!(
            (&status["reason"], &status["attempts"]),
            (&reason.into(), &attempts.into()),
            "{status}"
        );
        let message = status["message"].as_str().unwrap();
        for words in words {
            assert!(message.contains(words), "no {words:?} in {message}");
        }
        assert!(!rig.has(name(&entry)), "{entry}");
    }
    // A registry that was ill for a moment was asked again.
    let late = rig.api.image(name(&good[2].0));
    assert!(late["attempts"].as_u64() > Some(1), "{late}");
    let status = rig.api.status();
    for (field, count) in [
        ("wanted", 19),
        ("succeeded", 5),
        ("failed", 14),
        ("pulling", 0),
    ] {
        assert_eq!(status[field], count, "{field}");
    }
    let metrics = rig.metrics();
    for (result, count) in [("pulled", 5), ("failed", 14)] {
        let line = format!("berth_agent_image_pulls_total{{result=\"{result}\"}} {count}");
        assert!(metrics.contains(&line), "no {line} in\n{metrics}");
    }
}

/// Held images.
fn held(rig: &Rig, names: &[&str], bytes: usize) -> Vec<Stored> {
    let store = |name: &&str| rig.registry.store(name, bytes, Manner::Held);
    names.iter().map(store).collect()
}

#[test]
fn no_more_are_pulled_at_once_than_may_and_how_much_has_come_is_told() {
    let rig = Rig::new("ctrd_pull_many");
    let names = ["a", "b", "c", "d"];
    let images = held(&rig, &names, 8 * MIB);
    let all: Vec<_> = images.iter().map(|image| wanted(&image.tagged)).collect();
    rig.api.ask("n1", &all, 2);
    rig.wait_sending(&["a", "b"]);
    let status = rig.wait(&images[0].tagged, "with progress", |it| {
        it["progress"].is_object()
    });
    let number =
        |field: &str| usize::try_from(status["progress"][field].as_u64().unwrap()).unwrap();
    let (received, known) = (number("receivedBytes"), number("knownBytes"));
    assert!((8 * MIB..9 * MIB).contains(&known), "{status}");
    assert!((3 * MIB..5 * MIB).contains(&received), "{status}");
    assert_eq!(rig.api.image(&images[2].tagged)["phase"], "Pending");
    for (done, sending) in [
        ("a", &["b", "c"][..]),
        ("b", &["c", "d"]),
        ("c", &["d"]),
        ("d", &[]),
    ] {
        rig.registry.release(done);
        rig.wait_sending(sending);
    }
    for image in &images {
        let status = rig.wait_phase(&image.tagged, "Succeeded");
        assert_eq!(
            (&status["digest"], &status["progress"]),
            (&image.digest.as_str().into(), &Value::Null)
        );
    }
    assert_eq!(rig.registry.most_at_once(), 2);
}

#[test]
fn pull_goes_on_after_agent_and_runtime_and_ends_when_nobody_wants_it() {
    let mut rig = Rig::new("ctrd_pull_life");
    let [image, unwanted] = &held(&rig, &["long", "unwanted"], 4096)[..] else {
        unreachable!()
    };
    let missing = "127.0.0.1:5000/missing:v1";
    let all = [
        wanted(missing),
        wanted(&image.tagged),
        wanted(&unwanted.tagged),
    ];
    rig.api.ask("n1", &all, 2);
    rig.wait_sending(&["long", "unwanted"]);
    let failed = rig.wait_phase(missing, "Failed");

    // Nobody asks for it any more.
    rig.api.ask("n1", &all[..2], 2);
    rig.wait_sending(&["long"]);
    rig.wait(&unwanted.tagged, "forgotten", Value::is_null);
    assert_eq!(rig.api.image(&image.tagged)["phase"], "Pulling");

    // An agent that is killed: the runtime gives up, the next agent makes the same attempt again.
    rig.agent.kill().unwrap();
    rig.wait_sending(&[]);
    rig.agent = agent(rig.world.node("n1").namespace().unwrap());
    rig.wait_sending(&["long"]);
    assert_eq!(rig.api.image(&image.tagged)["attempts"], 1);

    // A runtime that is killed costs an attempt; one that is away costs none.
    rig.containerd.kill().unwrap();
    rig.wait_sending(&[]);
    rig.wait(&image.tagged, "waiting for the runtime", |it| {
        it["reason"] == "Runtime" && it["phase"] != "Pulling"
    });
    rig.wait(&image.tagged, "found to be away", |it| {
        it["message"]
            .as_str()
            .unwrap()
            .contains("look whether it runs")
    });
    rig.registry.release("long");
    rig.containerd = rig.world.node("n1").start_containerd().unwrap();
    let status = rig.wait_phase(&image.tagged, "Succeeded");
    assert_eq!(
        (&status["attempts"], &status["digest"]),
        (&2.into(), &image.digest.as_str().into())
    );
    // What was given up before is as it was.
    assert_eq!(rig.api.image(missing), failed);
}

#[test]
fn registry_that_is_ill_is_asked_again_until_it_is_well() {
    let rig = Rig::new("ctrd_pull_ill");
    let ill = rig
        .registry
        .store("ill", 4096, Manner::Answers(503, ALWAYS));
    rig.api.ask("n1", &[tried(&ill.tagged, 20)], 1);
    let status = rig.wait(&ill.tagged, "waiting for the fourth attempt", |it| {
        it["phase"] == "BackOff" && it["attempts"] == 3
    });
    assert!(status["nextAttemptAt"].is_string(), "{status}");
    assert_eq!(status["reason"], "Registry");
    rig.registry.behave("ill", Manner::Fine);
    let status = rig.wait_phase(&ill.tagged, "Succeeded");
    assert_eq!(
        (&status["attempts"], &status["digest"], &status["reason"]),
        (&4.into(), &ill.digest.as_str().into(), &Value::Null)
    );
}

#[test]
fn image_that_is_there_is_pulled_again_only_where_that_is_asked_for() {
    let rig = Rig::new("ctrd_pull_again");
    let old = rig.registry.store("app", 4096, Manner::Fine);
    rig.api.ask("n1", &[wanted(&old.tagged)], 1);
    rig.wait_phase(&old.tagged, "Succeeded");
    // The tag moves.
    let new = rig.registry.store("app", 8192, Manner::Fine);
    let asked = rig.registry.requests("app");
    let present = json!({"image": old.tagged, "requestedBy": "second"});
    rig.api.ask("n1", &[present], 1);
    let status = rig.wait(&old.tagged, "there", |it| {
        it["message"] == "the node had it"
    });
    assert_eq!(status["digest"], old.digest.as_str());
    assert_eq!(
        rig.registry.requests("app"),
        asked,
        "the registry was asked"
    );

    let always = json!({"image": old.tagged, "pullPolicy": "Always"});
    rig.api.ask("n1", &[always], 1);
    let status = rig.wait(&old.tagged, "pulled again", |it| {
        it["digest"] == new.digest.as_str()
    });
    assert_eq!(status["phase"], "Succeeded");
    // By the digest that the node has no more under that name, the registry is asked.
    rig.api.ask("n1", &[wanted(&new.digested)], 1);
    let status = rig.wait_phase(&new.digested, "Succeeded");
    assert_eq!(status["digest"], new.digest.as_str());
}
