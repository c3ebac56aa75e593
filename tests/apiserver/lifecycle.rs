//! The story of nine nodes in three racks, on a real API server with the real controllers and the shipped rights: one is cut from the API
//! server, one dies and returns, one is fenced; the leader dies in the middle, and people freeze everything for a while.
//!
//! The nodes are fakes (`tests-fake-node`), and so is what their kubelets and agents say of themselves and of each other ([`town`]). Judged by
//! objects, and by the record of everything the API server told. One control plane: most of its time are the rule's own times, which
//! run for all three nodes at once.

mod book;
mod town;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tests_fake_node::{Fault, Of};
use tests_testbed::binary;

use self::book::{Book, taint, text, uid, version};
use self::town::{How, Town};
use crate::controllers::{self, LEADING};
use crate::inplaceset::judge::{condition, is_ready};
use crate::inplaceset::leader::kill_leader;
use crate::inplaceset::record::Kind;
use crate::inplaceset::rig::{Rig, set};
use crate::shipped::{NAMESPACE, kubectl};

/// In rack a: dies, and returns.
const DEAD: &str = "n1";
/// In rack b: does not reach the API server for a while.
const CUT: &str = "n4";
/// In rack c: dies, and an operator says that it is off.
const FENCED: &str = "n7";

const SLOW: &str = "localhost/slow:v1";
/// Longer than the gap between two Pods that end on one node.
const SLOWLY: Duration = Duration::from_secs(7);
const CORDON: &str = "berth.dev/cordon";
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";
const SOFT_EVICTED: &str = "berth.dev/soft-evicted";
const WITHDRAWN: &str = "berth.dev/endpoints-withdrawn";
/// Steps of the leader in which what was told lately is surely known.
const STEPS: u64 = 5;

struct Story {
    // Ends before the API server that it speaks to.
    town: Town,
    rig: Rig,
}

type Pods = Vec<Arc<Value>>;

#[test]
fn nodes_are_cut_die_return_and_are_fenced_and_the_record_tells_how() {
    let mut story = Story::begin();
    let (web, late, cut) = (story.pods("web"), story.pods("late"), story.pods("cut"));
    let lost: Pods = web.iter().chain(&late).cloned().collect();

    story.goes_silent(DEAD, How::Dead);
    story.goes_silent(CUT, How::Cut);
    story.wait_cordoned(DEAD);
    story.wait_verdict(DEAD, "QuorumDead");
    kill_leader(&mut story.rig);

    story.traffic_is_led_away(&lost);
    story.cut_node_is_left_alone(&cut);
    story.freeze_holds_what_is_due(&lost);
    story.lost_pods_are_replaced_and_none_is_deleted(&web, &late);

    story.operator_says_that_it_is_off();
    story.comes_back();
    story.superseded_pods_end_one_by_one(&web, &late);
    story.fenced_node_is_emptied();
    story.nodes_are_given_back(&cut);
    story.each_ended_or_counts_again(&web, &late);
    story.record_holds_together();
}

impl Story {
    fn begin() -> Self {
        let rig = Rig::with("api_lifecycle", 19_680, 9, &Kind::ALL);
        let racks = ["a", "b", "c"];
        let nodes = (0..9).map(|number| (format!("n{}", number + 1), racks[number / 3]));
        let nodes: Vec<_> = nodes.collect();
        for rack in racks {
            let label = format!("topology.berth.dev/rack={rack}");
            let of_rack = nodes.iter().filter(|(_, of)| *of == rack);
            let of_rack: Vec<&str> = of_rack.map(|(name, _)| &**name).collect();
            let words = [&["label", "nodes"][..], &of_rack, &[&label, "--overwrite"]].concat();
            kubectl(&rig.api, &words);
        }
        rig.apply(&policy(&racks));
        let town = Town::start(&rig.api, &nodes);
        let image = Of::Image(SLOW.to_owned());
        rig.nodes.break_it(image, Fault::SlowStop(SLOWLY));
        let late = Of::Pod("shop/late-1".to_owned());
        rig.nodes.break_it(late, Fault::NeverReady);
        for (name, replicas, node) in [
            ("web", 3, DEAD),
            ("late", 1, DEAD),
            ("cut", 2, CUT),
            ("goes", 2, FENCED),
        ] {
            rig.apply(&set(name, replicas, &prefers(node)));
        }
        let story = Self { town, rig };
        story.make_what_is_kept_alone();
        for (name, count, node) in [
            ("web", 3, DEAD),
            ("late", 1, DEAD),
            ("cut", 2, CUT),
            ("goes", 2, FENCED),
            ("db", 1, FENCED),
        ] {
            story.rig.wait_pods("serving", (name, count), |pod| {
                is_ready(pod) && pod["spec"]["nodeName"] == node
            });
        }
        story
    }

    /// A Pod of a `StatefulSet`, which nobody replaces beside it, and addresses of two nodes.
    fn make_what_is_kept_alone(&self) {
        let api = &self.rig.api;
        controllers::set(api, "db", 1);
        let words = ["get", "statefulset", "db", "-n", "shop"];
        let owner = api.kubectl_json(&words).unwrap();
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "db-0", "namespace": "shop", "labels": {"app": "db"},
                "ownerReferences": [{
                    "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": uid(&owner), "controller": true,
                }],
            },
            "spec": {"nodeName": FENCED, "containers": [{"name": "app", "image": "localhost/app:v1"}]},
        });
        self.rig.apply(&pod);
        controllers::pool(api);
        controllers::claim(api, "10.20.1.170", FENCED, None);
        let held = controllers::held("db", 0);
        controllers::claim(api, "10.20.1.171", FENCED, Some(held));
        controllers::claim(api, "10.20.1.180", "n8", None);
    }

    fn pods(&self, set: &str) -> Pods {
        self.rig.record.pods(set)
    }

    fn node(&self, name: &str) -> Arc<Value> {
        let last = self.rig.record.of(Kind::Node, name).pop();
        last.unwrap().object
    }

    fn book(&self) -> Book {
        Book::of(&self.rig.record)
    }

    fn goes_silent(&self, node: &str, how: How) {
        self.rig.nodes.silence(node);
        self.town.becomes(node, how);
    }

    fn wait_cordoned(&self, name: &str) {
        self.rig.wait(&format!("{name} having our taint"), || {
            let node = self.node(name);
            match taint(&node, CORDON) {
                Some(taint) if taint["effect"] == "NoSchedule" => Ok(()),
                _ => Err(self.book().told(name)),
            }
        });
        assert!(self.node(name)["spec"]["unschedulable"].is_null());
    }

    fn wait_verdict(&self, name: &str, to: &str) {
        self.rig.wait(&format!("{name} being taken for {to}"), || {
            let book = self.book();
            let found = book.verdict(name, to).map(|_| ());
            found.ok_or_else(|| book.told(name))
        });
    }

    /// How many steps the leader has made.
    fn steps(&self) -> u64 {
        let answers = self.rig.controllers.iter();
        let mut answers = answers.map(|(place, _)| place.answers(&self.rig.api, "/metrics"));
        let leads = |it: &String| it.lines().any(|line| line == LEADING);
        let figures = answers.find(leads).unwrap_or_default();
        let count = "berth_agent_lifecycle_step_seconds_count ";
        let count = figures.lines().find_map(|line| line.strip_prefix(count));
        count.and_then(|it| it.parse().ok()).unwrap_or_default()
    }

    fn wait_steps(&self) {
        let from = self.steps();
        self.rig.wait("the leader making some steps", || {
            let now = self.steps();
            if from > 0 && now >= from + STEPS {
                Ok(())
            } else {
                Err(format!("{from} {now}"))
            }
        });
    }

    /// What people are told; the command must end with this code.
    #[track_caller]
    fn berth(&self, code: i32, words: &[&str]) -> String {
        let program = binary("kubectl-berth").unwrap();
        let kubeconfig = self.rig.api.kubeconfig();
        let (program, kubeconfig) = (program.to_string_lossy(), kubeconfig.to_string_lossy());
        let all = [&[&*program, "--kubeconfig", &*kubeconfig], words].concat();
        let said = self.rig.api.machine().exec(&all).unwrap();
        let all = format!("{}{}", said.stdout, said.stderr);
        assert_eq!(said.status.code(), Some(code), "{words:?}: {all}");
        all
    }

    /// People are told all of this, with this code.
    #[track_caller]
    fn tells(&self, code: i32, words: &[&str], parts: &[&str]) {
        let said = self.berth(code, words);
        for part in parts {
            assert!(
                said.contains(part),
                "{words:?} does not say {part:?}: {said}"
            );
        }
    }

    /// Scene 2: the new leader takes up what the one before had begun, and finds the node lost by itself.
    fn traffic_is_led_away(&self, lost: &[Arc<Value>]) {
        self.rig.wait("endpoints of the dead node withdrawn", || {
            let node = self.node(DEAD);
            let mark = &node["metadata"]["annotations"][WITHDRAWN];
            if mark.is_null() {
                Err(self.book().told(DEAD))
            } else {
                Ok(())
            }
        });
        for pod in lost {
            let name = text(&pod["metadata"]["name"]);
            let pod = self.rig.record.live(name).unwrap();
            let ready = book::condition(&pod, "Ready").unwrap();
            assert_eq!(ready["status"], "False", "{pod}");
            assert_eq!(ready["reason"], "NodeLost", "{pod}");
            let ip = text(&pod["status"]["podIP"]);
            self.rig.wait(&format!("no traffic to {name}"), || {
                let told = self.rig.record.endpoint(ip);
                match told.last() {
                    Some((_, _, false)) => Ok(()),
                    told => Err(format!("{told:?}")),
                }
            });
        }
        let terms = self.book().terms();
        assert!(terms.len() > 1, "{terms:?}");
    }

    /// Scene 1: peers see it alive.
    fn cut_node_is_left_alone(&self, pods: &[Arc<Value>]) {
        self.wait_cordoned(CUT);
        let book = self.book();
        let verdict = book.verdict(CUT, "ControlPlaneCut").unwrap();
        let evidence = verdict["spec"]["evidence"].to_string();
        assert!(evidence.contains("sees it Alive"), "{evidence}");
        for lost in ["QuorumDead", "RackDark", "FencedDead"] {
            assert!(book.verdict(CUT, lost).is_none(), "{}", book.told(CUT));
        }
        self.stayed_in_service(pods);
        self.tells(
            0,
            &["why", CUT],
            &[
                "Berth takes it for ControlPlaneCut",
                "sees it Alive",
                "It lives and does not reach the API server",
                CORDON,
            ],
        );
    }

    /// Nothing was done to these Pods, at any time since they first served.
    fn stayed_in_service(&self, pods: &[Arc<Value>]) {
        let actions = self.book().actions_of(CUT);
        let names: BTreeSet<&str> = actions.iter().map(|it| book::action(it)).collect();
        assert!(
            names.is_subset(&BTreeSet::from(["Cordon", "Uncordon"])),
            "{names:?}"
        );
        for pod in pods {
            let row = self.rig.record.pod(text(&pod["metadata"]["name"]));
            for seen in row.iter().filter(|it| it.version >= version(pod)) {
                let now = &seen.object;
                assert!(!seen.gone && uid(now) == uid(pod), "{now}");
                assert_eq!(condition(now, "Ready"), Some("True"), "{now}");
                let annotations = &now["metadata"]["annotations"];
                assert!(annotations[SOFT_EVICTED].is_null(), "{now}");
            }
            let told = self.rig.record.endpoint(text(&pod["status"]["podIP"]));
            assert!(told.last().is_some_and(|(_, _, ready)| *ready), "{told:?}");
        }
    }

    /// Scene 3: while people have frozen everything, what is due is said to be held, and nothing is done.
    fn freeze_holds_what_is_due(&self, lost: &[Arc<Value>]) {
        let said = self.berth(0, &["freeze", "--cluster", "--reason", "look first"]);
        let name = said.lines().find_map(|line| line.split_once(": "));
        let name = name.unwrap().0.to_owned();
        let held = self.rig.wait("replacement being held", || {
            let book = self.book();
            book.held_by(DEAD, &name).ok_or_else(|| book.told(DEAD))
        });
        self.wait_steps();
        let book = self.book();
        assert_eq!(book.done_after(&held), 0, "{}", book.told(DEAD));
        for pod in lost {
            let pod = self
                .rig
                .record
                .live(text(&pod["metadata"]["name"]))
                .unwrap();
            assert!(pod["metadata"]["annotations"][SOFT_EVICTED].is_null());
        }
        self.tells(
            1,
            &["why", DEAD],
            &[
                "Berth takes it for QuorumDead",
                "sees it Dead",
                &format!("Frozen by {name}"),
                "look first",
            ],
        );
        let said = self.berth(0, &["unfreeze", &name]);
        assert!(said.contains("not frozen by it any more"), "{said}");
    }

    /// Scene 2: others are made beside them.
    fn lost_pods_are_replaced_and_none_is_deleted(&self, web: &[Arc<Value>], late: &[Arc<Value>]) {
        let lost: Pods = web.iter().chain(late).cloned().collect();
        self.rig.wait_status("all replaced", "web", |status| {
            status["softEvictedReplicas"] == 3 && status["availableReplicas"] == 3
        });
        self.rig.wait_pods("all there", ("web", 6), |_| true);
        self.rig.wait_pods("another beside it", ("late", 2), |pod| {
            !pod["spec"]["nodeName"].is_null()
        });
        let book = self.book();
        for before in &lost {
            let name = text(&before["metadata"]["name"]);
            let row = self.rig.record.pod(name);
            let marked = row.iter().find_map(|seen| {
                let mark = seen.object["metadata"]["annotations"][SOFT_EVICTED].as_str()?;
                Some((seen.version, mark.to_owned()))
            });
            let (marked, by) = marked.unwrap();
            let decision = book.of_id(&by);
            assert_eq!(book::action(decision), "SoftEvict", "{decision}");
            assert_eq!(book::target(decision), uid(before), "{decision}");
            assert!(
                version(decision) < marked,
                "{name} marked before {decision}"
            );
            let now = &row.last().unwrap().object;
            assert_eq!(uid(now), uid(before), "{name} is another");
            assert!(now["metadata"]["deletionTimestamp"].is_null(), "{now}");
        }
        for pod in self.pods("web").iter().chain(&self.pods("late")) {
            let replaces = pod["metadata"]["annotations"]["berth.dev/replaces"].as_str();
            let is_old = lost.iter().any(|old| uid(old) == uid(pod));
            let is_for = lost.iter().any(|old| Some(uid(old)) == replaces);
            assert!(is_old != is_for, "{pod}");
            assert!(is_old || pod["spec"]["nodeName"] != DEAD, "{pod}");
        }
        self.tells(
            1,
            &["why", DEAD],
            &[
                "It is SoftEvicting",
                "withdraw the endpoints of n1: done",
                "replace without deleting 4 Pods",
                "none is deleted, since nothing proves that it is off",
            ],
        );
    }

    /// Scene 5 begins: the node dies, and somebody has switched it off.
    fn operator_says_that_it_is_off(&self) {
        self.goes_silent(FENCED, How::Dead);
        let proof = format!("berth.dev/fenced-by=operator:jane:{}", town::time());
        kubectl(&self.rig.api, &["annotate", "node", FENCED, &proof]);
    }

    /// Scene 4 begins: kubelets speak again. What ran on the dead node starts anew; on the other it ran on.
    fn comes_back(&self) {
        // The leader knows by now who is replaced.
        self.wait_steps();
        self.rig.nodes.power_on(DEAD);
        self.rig.nodes.hear(CUT);
        for node in [DEAD, CUT] {
            self.town.becomes(node, How::Well);
        }
    }

    /// Scene 4: what was replaced ends, one by one; what was not counts again.
    fn superseded_pods_end_one_by_one(&self, web: &[Arc<Value>], late: &[Arc<Value>]) {
        self.rig.wait_pods("only replacements", ("web", 3), |pod| {
            is_ready(pod) && !web.iter().any(|old| uid(old) == uid(pod))
        });
        self.rig.wait_pods("the old one alone", ("late", 1), |pod| {
            let mark = &pod["metadata"]["annotations"][SOFT_EVICTED];
            is_ready(pod) && mark.is_null() && uid(pod) == uid(&late[0])
        });
        for (set, count) in [("web", 3), ("late", 1)] {
            self.rig.wait_status("all counted", set, |status| {
                status["softEvictedReplicas"].is_null() && status["availableReplicas"] == count
            });
        }
        self.rig.wait("all of it being told", || {
            let book = self.book();
            let done = ["EndSuperseded", "Readopt"].map(|it| book.done(DEAD, it).len());
            if done == [3, 1] {
                Ok(())
            } else {
                Err(format!("{done:?}\n{}", book.told(DEAD)))
            }
        });
        self.each_ended_or_counts_again(web, late);
        self.tells(
            0,
            &["why", DEAD],
            &[
                "Berth takes it for Healthy",
                "the node is back",
                "count again 1 Pod (shop/late-0): done",
                "end, the replacement being ready, 3 Pods",
                "It is back and nobody relies on it yet",
            ],
        );
    }

    /// Three ended, one counts again, and never were two ending at once.
    fn each_ended_or_counts_again(&self, web: &[Arc<Value>], late: &[Arc<Value>]) {
        let book = self.book();
        let ended = book.done(DEAD, "EndSuperseded");
        let uids: BTreeSet<&str> = ended.iter().map(|it| book::target(it)).collect();
        let expected: BTreeSet<&str> = web.iter().map(|pod| uid(pod)).collect();
        assert_eq!((ended.len(), uids), (3, expected), "{}", book.told(DEAD));
        book::assert_gaps(&ended);
        let readopted = book.done(DEAD, "Readopt");
        let uids: Vec<&str> = readopted.iter().map(|it| book::target(it)).collect();
        assert_eq!(uids, [uid(&late[0])], "{}", book.told(DEAD));
        assert_eq!(book::most_ending_at_once(&self.rig.record, DEAD), 1);
    }

    /// Scene 5: its addresses are marked, and then its Pods are deleted, one at a time.
    fn fenced_node_is_emptied(&self) {
        self.rig.wait("nothing left of the fenced node", || {
            let is_there = |pod: &Arc<Value>| pod["spec"]["nodeName"] == FENCED;
            let left = ["db", "goes"].into_iter().flat_map(|set| self.pods(set));
            match left.filter(is_there).count() {
                0 => Ok(()),
                left => Err(format!("{left} Pods\n{}", self.book().told(FENCED))),
            }
        });
        self.rig.wait_status("all replaced", "goes", |status| {
            status["softEvictedReplicas"].is_null() && status["availableReplicas"] == 2
        });
        let taints = self.node(FENCED);
        let taint = taint(&taints, OUT_OF_SERVICE).unwrap();
        assert_eq!(
            (text(&taint["value"]), text(&taint["effect"])),
            ("berth", "NoSchedule")
        );
        let deleted = self.rig.wait("the last deletion being told", || {
            let book = self.book();
            let deleted = book.done(FENCED, "HardDelete");
            if deleted.len() == 3 && book.phase(FENCED, "Gone").is_some() {
                Ok(deleted)
            } else {
                Err(book.told(FENCED))
            }
        });
        book::assert_gaps(&deleted);
        let gone = book::gone_from(&self.rig.record, FENCED);
        let order: Vec<&str> = deleted.iter().map(|it| book::target(it)).collect();
        let gone_in_order: Vec<&str> = gone.iter().map(|(_, pod)| uid(pod)).collect();
        assert_eq!(gone_in_order, order);
        assert_eq!(gone[0].1["metadata"]["name"], "db-0", "nobody replaces it");
        for (decision, (version_gone, pod)) in deleted.iter().zip(&gone) {
            assert!(version(decision) < *version_gone, "{decision} {pod}");
        }
        let api = &self.rig.api;
        for (address, is_marked) in [("170", true), ("171", true), ("180", false)] {
            let claim = controllers::claim_of(api, &format!("10.20.1.{address}"));
            let claim = claim.unwrap();
            let mark = &claim["spec"]["fenced"];
            assert_eq!(mark["by"] == "berth-controllers", is_marked, "{claim}");
            let is_before = version(&claim) < gone[0].0;
            assert!(is_before, "marked after a Pod was deleted: {claim}");
        }
        self.tells(
            1,
            &["why", FENCED],
            &[
                "Berth takes it for FencedDead",
                "fenced: Operator, says jane",
                "fence n7: done",
                "delete, the node being fenced, 3 Pods",
                "It is out of service, by Berth's decision",
                "It is Gone",
            ],
        );
    }

    /// Scene 4 ends: they get Pods again.
    fn nodes_are_given_back(&self, cut: &[Arc<Value>]) {
        for name in [DEAD, CUT] {
            self.rig.wait(&format!("{name} being given back"), || {
                let node = self.node(name);
                let mark = &node["metadata"]["annotations"][WITHDRAWN];
                if mark.is_null() && taint(&node, CORDON).is_none() {
                    Ok(())
                } else {
                    Err(self.book().told(name))
                }
            });
        }
        self.stayed_in_service(cut);
        for (set, count) in [("web", 3), ("late", 1), ("cut", 2), ("goes", 2)] {
            let pods = self.rig.wait_pods("serving", (set, count), is_ready);
            for pod in pods {
                let name = text(&pod["metadata"]["name"]);
                let told = self.rig.record.endpoint(text(&pod["status"]["podIP"]));
                let is_led = told.last().is_some_and(|(_, _, ready)| *ready);
                assert!(is_led, "no traffic to {name}: {told:?}");
            }
        }
    }

    /// Scene 6: all of it, by the objects and by what people are told.
    fn record_holds_together(&self) {
        let book = self.book();
        book.assert_chain();
        let terms = book.terms();
        assert!(terms.len() > 1, "{terms:?}");
        self.tells(
            0,
            &["decisions", DEAD],
            &[
                "Suspect -> QuorumDead",
                "cordon n1",
                "withdraw the endpoints of n1",
                "held: frozen by",
                "replace without deleting shop/web-0 on n1",
                "the node is back: nothing more is done to it, nor to its Pods",
                "end, its replacement being ready, shop/web-0 on n1",
                "count again shop/late-0 on n1",
                "Recovering -> Healthy",
                "uncordon n1",
                "The record holds together",
            ],
        );
        self.tells(0, &["decisions"], &["The record holds together"]);
        self.tells(
            0,
            &["why", DEAD],
            &["Berth takes it for Healthy", "Nothing is done about it."],
        );
        assert_eq!(self.rig.nodes.trouble(), Vec::<String>::new());
        assert_eq!(self.town.trouble(), None);
    }
}

/// Everything is done in the racks of the story, as soon as a policy may have it.
fn policy(racks: &[&str]) -> Value {
    let rules = json!({
        "cordon": "Enforce", "endpoints": "Enforce", "softEvict": "Enforce", "drain": "Enforce", "fence": "Enforce",
        "hardEvict": "Enforce", "recoveryGuard": "Enforce",
    });
    let racks = racks
        .iter()
        .map(|rack| json!({"rack": rack, "rules": rules}));
    json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "LifecyclePolicy",
        "metadata": {"name": "default", "namespace": NAMESPACE},
        "spec": {
            "racks": racks.collect::<Vec<_>>(),
            "budgets": {"appSurgePercent": 100},
            "timers": {"quorumHoldSeconds": 30, "quorumSteadySeconds": 10, "recoverySeconds": 30},
            "breakers": {"warmUpSeconds": 10},
        },
    })
}

/// Pods that go to this node while it can be reached, and take their time to end.
fn prefers(node: &str) -> Value {
    let term = json!({"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]});
    let rather = json!([{"weight": 1, "preference": term}]);
    json!({"template": {"spec": {
        "terminationGracePeriodSeconds": 20,
        "containers": [{"name": "app", "image": SLOW}],
        "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": rather}},
    }}})
}
