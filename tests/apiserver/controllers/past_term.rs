//! A leader that is stopped in the middle of its writes, one of which is still on its way: the next one goes on, and of the past term
//! nothing lands any more.
//! And an API server that comes back is not asked for everything again and again.
//!
//! The first leader reaches the API server through a relay (`kubectl proxy` with the controllers' own token), which can be stopped with
//! what it has not read yet.

use std::collections::BTreeMap;

use tests_testbed::Component;

use super::protection::{pod, shop, slice};
use super::*;

/// Writes for some seconds, at fifty a second.
const PODS: usize = 300;
/// Endpoints in a slice.
const SLICE: usize = 100;

const RELAY: u16 = 19_585;

/// Bytes of a patch of finalizers, with its head; the Lease is read in fewer and written in more.
const PATCH: std::ops::Range<usize> = 330..640;

/// Requests that the relay has been sent and has not read: how many bytes each.
fn unread(api: &ControlPlane) -> Vec<usize> {
    let filter = format!("( sport = :{RELAY} )");
    let said = api
        .machine()
        .run(&["ss", "-Htn", "state", "established", &filter])
        .unwrap();
    let lines = said
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    lines.filter_map(|word| word.parse().ok()).collect()
}

/// By name: version, whether it is protected, and the term in which it was written.
type Seen = BTreeMap<String, (String, bool, Option<String>)>;

fn pods(api: &ControlPlane) -> Result<Seen, Pending> {
    let list = object(api, &["pods", "-n", "shop"])?;
    let items = list["items"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let pods = items.iter().map(|pod| {
        let metadata = &pod["metadata"];
        let is_protected = !metadata["finalizers"].is_null();
        let term = text(&metadata["annotations"]["berth.dev/term"]);
        let version = text(&metadata["resourceVersion"]).unwrap_or_default();
        (
            text(&metadata["name"]).unwrap_or_default(),
            (version, is_protected, term),
        )
    });
    Ok(pods.collect())
}

/// How many patches of Pods the API server has refused because somebody was faster.
fn conflicts(api: &ControlPlane) -> f64 {
    counted(
        api,
        &[r#"code="409""#, r#"resource="pods""#, r#"verb="PATCH""#],
    )
}

/// How many requests with these labels the API server has answered since its start.
fn counted(api: &ControlPlane, labels: &[&str]) -> f64 {
    let text = kubectl(api, &["get", "--raw", "/metrics"]);
    let lines = text
        .lines()
        .filter(|line| line.starts_with("apiserver_request_total{"));
    let lines = lines.filter(|line| labels.iter().all(|label| line.contains(label)));
    let counts = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    counts.sum()
}

fn is_leader(api: &ControlPlane, place: &Place) -> bool {
    let metrics = place.answers(api, "/metrics");
    metrics.lines().any(|line| line == LEADING)
}

/// Pods that name their protection, and so much traffic at once.
fn work(api: &ControlPlane) {
    let names: Vec<_> = (0..PODS).map(|n| format!("web-{n:03}")).collect();
    let list =
        |items: Vec<Value>| json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
    let pods = names.iter().map(|name| pod(name, true));
    let create = |items: Vec<Value>| {
        let said = api.kubectl_with(&["create", "-f", "-"], &list(items));
        said.unwrap().ok().unwrap();
    };
    create(pods.collect());
    let slices = names.chunks(SLICE).enumerate().map(|(n, names)| {
        let endpoints: Vec<_> = names.iter().map(|name| (name.as_str(), true)).collect();
        slice(&format!("web-{n}"), &endpoints)
    });
    create(slices.collect());
}

/// Stops the relay while a patch is on its way to it, and the leader behind it.
fn stop_in_the_middle(api: &ControlPlane, relay: &mut Process, leader: &mut Process) {
    let what = "a patch hanging on its way";
    let stopped = wait_patiently(what, DEADLINE, || {
        let left = pods(api)?
            .values()
            .filter(|(_, is_protected, _)| !is_protected)
            .count();
        if left == PODS {
            return Err(Pending::because("nothing is written yet"));
        }
        assert!(left > 0, "all was written before anything could be stopped");
        relay.signal(Signal::SIGSTOP).unwrap();
        // The leader sends fifty a second, unless it waits for an answer that the relay has.
        let soon = Duration::from_secs(1);
        let hangs = wait_patiently(what, soon, || {
            let unread = unread(api);
            if unread.iter().any(|bytes| PATCH.contains(bytes)) {
                return Ok(());
            }
            Err(Pending(format!("{unread:?}")))
        });
        hangs.map_err(|error| {
            relay.signal(Signal::SIGCONT).unwrap();
            Pending::because(format!("{error:#}"))
        })
    });
    stopped.unwrap_or_else(|error| panic!("{error:#}\n{}", leader.log_tail()));
    leader.signal(Signal::SIGSTOP).unwrap();
}

#[test]
#[expect(clippy::too_many_lines, reason = "one story, in its order")]
fn nothing_of_a_past_term_lands_and_an_api_server_that_comes_back_is_not_stormed() {
    let mut api = installed("api_controllers_past");
    let (one, two) = (
        Place::new(&api, "c1", 19_580),
        Place::new(&api, "c2", 19_590),
    );
    shop(&api);
    let mut command = api.kubectl_command(&one.kubeconfig("berth-controllers"));
    command.args(["proxy", &format!("--port={RELAY}")]);
    let mut relay = api.machine().spawn_command("relay", command).unwrap();
    let server = json!({"server": format!("http://127.0.0.1:{RELAY}")});
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "it",
        "clusters": [{"name": "it", "cluster": server}], "users": [{"name": "it", "user": {}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
    });
    fs::write(one.kubeconfig("relay"), config.to_string()).unwrap();
    let mut first = one.start_as(&api, "controllers", "relay", &[]);
    wait_holder(&api, &[&first], "c1");
    let second = two.start(&api);
    work(&api);
    stop_in_the_middle(&api, &mut relay, &mut first);

    wait_holder(&api, &[&second], "c2");
    let done = wait("all being protected", &[&second], || {
        let pods = pods(&api)?;
        let left = pods.values().filter(|(_, is_protected, _)| !is_protected);
        match left.count() {
            0 => Ok(pods),
            left => Err(Pending(format!("{left} of {PODS} left"))),
        }
    });
    for term in ["1", "2"] {
        let written = done
            .values()
            .filter(|(_, _, by)| by.as_deref() == Some(term));
        assert!(written.count() > 0, "nothing was written in term {term}");
    }

    // What was on its way arrives, long after its term. Its sender cannot take it back.
    let before = conflicts(&api);
    relay.signal(Signal::SIGCONT).unwrap();
    wait("the late patch being refused", &[&second], || {
        let now = conflicts(&api);
        if now > before {
            return Ok(());
        }
        Err(Pending(format!("{now} conflicts, as before")))
    });
    // And the sender goes on.
    first.signal(Signal::SIGCONT).unwrap();
    wait("the first knowing", &[&first], || {
        let is_ready = one.answers(&api, "/readyz") == "ok\n";
        if first.log().contains("leading no more") && is_ready && !is_leader(&api, &one) {
            return Ok(());
        }
        Err(Pending(first.log_tail()))
    });
    assert_eq!(pods(&api).unwrap(), done);

    // No leader for a while, and then everything has to be looked at anew.
    first.kill().unwrap();
    api.kill(Component::ApiServer).unwrap();
    wait("the second leading no more", &[&second], || {
        if is_leader(&api, &two) {
            return Err(Pending::because("it leads"));
        }
        Ok(())
    });
    api.start_component(Component::ApiServer).unwrap();
    api.wait_ready().unwrap();
    wait_holder(&api, &[&second], "c2");
    let late = slice("web-late", &[("web-000", true)]);
    api.apply(&pod("web-late", true).to_string()).unwrap();
    let mut late = late;
    late["endpoints"][0]["targetRef"]["name"] = "web-late".into();
    api.apply(&late.to_string()).unwrap();
    wait("a Pod being protected again", &[&second], || {
        let pods = pods(&api)?;
        match pods.get("web-late") {
            Some((_, true, _)) => Ok(()),
            pod => Err(Pending(format!("{pod:?}"))),
        }
    });
    // Its figures begin with its start. Nobody else lists these.
    for kind in ["claims", "pools", "nodehealths"] {
        let label = format!(r#"resource="{kind}""#);
        let lists = counted(&api, &[&label, r#"verb="LIST""#]);
        assert!(lists <= 5.0, "{lists} lists of {kind}");
    }
}
