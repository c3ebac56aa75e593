//! `bench-restart`: how long an address serves nobody while its container is made to run anew, in place and by delete-and-recreate on the same node. Each Pod is
//! fresh, so that no back-off of kubelet's is in it; rounds alternate, percentiles are over all Pods of a round, medians over rounds. Nothing is asserted but that
//! the figures are of what they say.

#[path = "../figures.rs"]
mod figures;
mod outage;
#[path = "../samples.rs"]
mod samples;
mod subject;

use std::io::{Write as _, stderr, stdout};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tests_testbed::{ApiProxy, Cluster, Pending, wait_patiently};

use self::{
    figures::{Table, median},
    outage::Client,
    samples::Samples,
    subject::{CONTAINER, IMAGES, PORT, SET, Subject},
};

/// The node.
const NODE: &str = "n1";

/// Pods of a round.
const DEFAULT_PODS: usize = 20;

/// Rounds of each subject; odd, so that a median is a measured value.
const DEFAULT_ROUNDS: usize = 3;

/// Some Pods at once on a small machine.
const DEADLINE: Duration = Duration::from_secs(300);

/// Where Pods are.
const PODS: &str = "/api/v1/namespaces/default/pods";

/// Where requests are.
const REQUESTS: &str = "/apis/berth.dev/v1alpha1/namespaces/default/containerrestarts";

const USAGE: &str = "usage: bench-restart [--pods N] [--rounds N]";

/// What is measured how often.
#[derive(Clone, Copy, Debug)]
struct Plan {
    pods: usize,
    rounds: usize,
}

/// The world of it.
struct Field {
    // Ends before the world it is in.
    api: ApiProxy,
    cluster: Cluster,
    /// Requests so far.
    made: usize,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [word, address] = &args[..]
        && word == "client"
    {
        return outage::look(address);
    }
    let plan = plan(&args)?;
    progress("making a cluster of one node");
    let builder = Cluster::builder("bench-restart").racks(1).node(NODE, "a");
    let mut cluster = builder.build()?;
    let api = cluster.control_plane().proxy()?;
    let mut field = Field {
        api,
        cluster,
        made: 0,
    };
    let mut rows: Vec<_> = Subject::ALL.map(|subject| (subject, Vec::new())).into();
    for round in 1..=plan.rounds {
        for (subject, rounds) in &mut rows {
            progress(&format!(
                "round {round} of {}: {}",
                plan.rounds,
                subject.name()
            ));
            rounds.push(field.round(*subject, plan.pods)?);
        }
    }
    writeln!(stdout(), "{}", report(&rows, plan)).context("print")
}

fn plan(args: &[String]) -> Result<Plan> {
    let mut plan = Plan {
        pods: DEFAULT_PODS,
        rounds: DEFAULT_ROUNDS,
    };
    for pair in args.chunks(2) {
        let [flag, value] = pair else {
            bail!("{USAGE}");
        };
        let value: usize = value.parse().context(USAGE)?;
        ensure!(value > 0, "{USAGE}");
        match flag.as_str() {
            "--pods" => plan.pods = value,
            "--rounds" => plan.rounds = value,
            other => bail!("unknown argument {other}; {USAGE}"),
        }
    }
    Ok(plan)
}

impl Field {
    /// Fresh Pods, each of which is made to run anew once, one after the other.
    fn round(&mut self, subject: Subject, pods: usize) -> Result<Samples> {
        self.cluster
            .apply(&subject::set(pods, NODE, IMAGES[0]).to_string())?;
        for number in 0..pods {
            self.wait_ready(&format!("{SET}-{number}"), "")?;
        }
        if subject == Subject::RecreateUpgraded {
            self.cluster
                .apply(&subject::set(pods, NODE, IMAGES[1]).to_string())?;
        }
        let mut outages = Vec::new();
        for number in 0..pods {
            outages.push(self.one(subject, &format!("{SET}-{number}"))?);
        }
        self.cluster.kubectl(&[
            "delete",
            "statefulset",
            SET,
            "--cascade=foreground",
            "--wait",
        ])?;
        Ok(Samples::new(outages))
    }

    fn one(&mut self, subject: Subject, name: &str) -> Result<Duration> {
        let path = format!("{PODS}/{name}");
        let before = self.api.json(&path)?;
        let ip = before["status"]["podIP"]
            .as_str()
            .context("a Pod without address")?;
        let tor = self.cluster.world().rack("a").tor();
        let client = Client::start(tor, &format!("{ip}:{PORT}"))?;
        match subject {
            Subject::Restart => {
                self.made += 1;
                let request = format!("bench-{}", self.made);
                self.api
                    .create(REQUESTS, &subject::request(&request, &before))?;
                let outage = client.outage()?;
                self.wait_verdict(&request)?;
                return Ok(outage);
            }
            Subject::Upgrade => {
                let image =
                    json!({"spec": {"containers": [{"name": CONTAINER, "image": IMAGES[1]}]}});
                let body = image.to_string();
                self.cluster
                    .kubectl(&["patch", "pod", name, "--patch", &body])?;
            }
            Subject::Recreate | Subject::RecreateUpgraded => {
                let answer = self.api.call("DELETE", &path, None)?;
                ensure!(answer.status == 200, "DELETE {path}: {answer:?}");
            }
        }
        let outage = client.outage()?;
        let image = match subject {
            Subject::Upgrade | Subject::RecreateUpgraded => IMAGES[1],
            Subject::Restart | Subject::Recreate => IMAGES[0],
        };
        let after = self.wait_ready(name, image)?;
        ensure!(
            after["status"]["podIP"] == before["status"]["podIP"],
            "{name} has another address: what was measured is not its outage"
        );
        Ok(outage)
    }

    /// Waits until a Pod is Ready, from this image where one is named.
    fn wait_ready(&self, name: &str, image: &str) -> Result<Value> {
        wait_patiently(&format!("{name} being Ready"), DEADLINE, || {
            let pod = self.api.json(&format!("{PODS}/{name}"));
            let pod = pod.map_err(|error| Pending::because(format!("{error:#}")))?;
            let conditions = pod["status"]["conditions"].as_array();
            let mut conditions = conditions.into_iter().flatten();
            let is_ready = conditions.any(|it| it["type"] == "Ready" && it["status"] == "True");
            let runs = pod["status"]["containerStatuses"][0]["image"].as_str();
            if is_ready && runs.is_some_and(|it| it.ends_with(image)) {
                return Ok(pod);
            }
            Err(Pending::because(pod["status"].to_string()))
        })
    }

    /// Waits until a request has ended well.
    fn wait_verdict(&self, name: &str) -> Result<()> {
        wait_patiently(&format!("the end of {name}"), DEADLINE, || {
            let request = self.api.json(&format!("{REQUESTS}/{name}"));
            let request = request.map_err(|error| Pending::because(format!("{error:#}")))?;
            let status = &request["status"];
            match status["phase"].as_str() {
                Some("Succeeded") => Ok(Ok(())),
                Some("Failed") => Ok(Err(anyhow::anyhow!("{name} has failed: {status}"))),
                _ => Err(Pending::because(status.to_string())),
            }
        })?
    }
}

fn report(rows: &[(Subject, Vec<Samples>)], plan: Plan) -> String {
    let figure = |subject: Subject, percent: usize| {
        let rounds = rows.iter().find(|(it, _)| *it == subject);
        let rounds = rounds.into_iter().flat_map(|(_, rounds)| rounds);
        median(rounds.map(|round| round.percentile_ms(percent)))
    };
    let mut table = Table::new(&["outage, ms", "p50", "p99"]);
    for (subject, _) in rows {
        let cell = |percent| format!("{:.0}", figure(*subject, percent));
        table.row(vec![subject.name().to_owned(), cell(50), cell(99)]);
    }
    for (subject, peer) in Subject::ALL.iter().filter_map(|it| Some((*it, it.peer()?))) {
        let cell = |percent| format!("{:.2}", figure(subject, percent) / figure(peer, percent));
        table.row(vec![
            format!("ratio, {}", subject.name()),
            cell(50),
            cell(99),
        ]);
    }
    format!(
        "images present; medians of {} alternating rounds of {} Pods each\n\n{}",
        plan.rounds,
        plan.pods,
        table.render()
    )
}

/// The report goes to standard output, progress to standard error.
fn progress(text: &str) {
    let _ = writeln!(stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_and_nonsense_is_refused() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let plan = plan(&words("--pods 20 --rounds 1")).unwrap();
        assert_eq!((plan.pods, plan.rounds), (20, 1));
        for text in ["--pods", "--pods x", "--pods 0", "--nodes 1"] {
            assert!(super::plan(&words(text)).is_err(), "{text}");
        }
    }
}
