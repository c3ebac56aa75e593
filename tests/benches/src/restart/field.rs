//! The world of the measurement: a cluster of one node, a set of Pods that serve, and each way of having one of them run anew, timed by a client.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tests_testbed::{ApiProxy, Cluster, Daemon, Pending, wait_patiently};

use crate::outage::{Client, Outage};
use crate::runtime::Bare;
use crate::service::Services;
use crate::shelf::{Fresh, Shelf};
use crate::subject::{self, CONTAINER, PORT, PRESENT, SET, Subject};

/// The node.
pub(crate) const NODE: &str = "n1";

/// Some Pods at once on a small machine, and a large image.
pub(crate) const DEADLINE: Duration = Duration::from_secs(300);

/// Where Pods are.
pub(crate) const PODS: &str = "/api/v1/namespaces/default/pods";

/// Where the set is.
const SETS: &str = "/apis/apps/v1/namespaces/default/statefulsets";

/// Where requests are.
const REQUESTS: &str = "/apis/berth.dev/v1alpha1/namespaces/default/containerrestarts";

/// The world of it.
#[derive(Debug)]
pub(crate) struct Field {
    // End before the world that they are in.
    pub(crate) api: ApiProxy,
    pub(crate) shelf: Shelf,
    pub(crate) cluster: Cluster,
    /// Pods of the set.
    pub(crate) pods: usize,
    /// Requests so far.
    made: usize,
}

impl Field {
    /// Makes the cluster. Images that are absent have a layer of so many bytes, which comes at so many bytes a second.
    pub(crate) fn new(pods: usize, bytes: u64, rate: u32) -> Result<Self> {
        let builder = Cluster::builder("bench-restart").racks(1).node(NODE, "a");
        let mut cluster = builder.build()?;
        cluster.apply(&subject::service().to_string())?;
        Ok(Self {
            api: cluster.control_plane().proxy()?,
            shelf: Shelf::new(&cluster, NODE, bytes, rate)?,
            cluster,
            pods,
            made: 0,
        })
    }

    /// Fresh Pods, so that no back-off of kubelet's is in it; containers are made to run anew one after the other.
    pub(crate) fn round(&mut self, subject: Subject) -> Result<Vec<Outage>> {
        match subject {
            Subject::Release => return self.release(true),
            Subject::Lossy => return self.release(false),
            Subject::ReleaseAbsent => return self.release_absent(),
            _ => {}
        }
        self.apply(PRESENT)?;
        for number in 0..self.pods {
            self.wait_ready(&format!("{SET}-{number}"), "", PRESENT)?;
        }
        let services = Services::watch(&self.api)?;
        let outages = match subject {
            Subject::Runtime => self.bare()?,
            Subject::Restart => self.each(&services, Self::restart)?,
            Subject::Recreate => self.each(&services, Self::recreate)?,
            // Always the same Pod, while the others live: each has another image, which kubelet knows no back-off of.
            Subject::Upgrade => self.absent(&services, Self::upgrade)?,
            Subject::Patch => self.absent(&services, Self::patch)?,
            _ => self.absent(&services, |field, before, image| {
                field.apply(image)?;
                field.recreate(before)
            })?,
        };
        let words = [
            "delete",
            "statefulset",
            SET,
            "--cascade=foreground",
            "--wait",
        ];
        self.cluster.kubectl(&words)?;
        Ok(outages)
    }

    fn each(
        &mut self,
        services: &Services,
        one: impl Fn(&mut Self, &Value) -> Result<()>,
    ) -> Result<Vec<Outage>> {
        let numbers = 0..self.pods;
        numbers
            .map(|number| self.outage(services, &format!("{SET}-{number}"), PRESENT, &one))
            .collect()
    }

    fn absent(
        &mut self,
        services: &Services,
        one: impl Fn(&mut Self, &Value, &str) -> Result<()>,
    ) -> Result<Vec<Outage>> {
        let name = format!("{SET}-0");
        let numbers = 0..self.pods;
        numbers
            .map(|_| {
                let fresh: Fresh = self.shelf.fresh(&self.cluster)?;
                let image = &fresh.name;
                let outage = self.outage(services, &name, image, |field, before| {
                    one(field, before, image)
                })?;
                self.shelf.used(&self.cluster, &fresh)?;
                Ok(outage)
            })
            .collect()
    }

    /// By the runtime alone: kubelet is away meanwhile.
    fn bare(&mut self) -> Result<Vec<Outage>> {
        let name = format!("{SET}-0");
        let pod = self.api.json(&format!("{PODS}/{name}"))?;
        self.cluster.kill_daemon(NODE, Daemon::Kubelet)?;
        let id = container(&pod).rsplit('/').next().unwrap_or_default();
        let mut bare = Bare::take(&self.cluster, NODE, ip(&pod)?, id)?;
        let numbers = 0..self.pods;
        let outages = numbers.map(|_| {
            let nobody = bare.renew(self.client(&pod)?)?;
            Ok(Outage { nobody, out: None })
        });
        let outages = outages.collect();
        self.cluster.start_daemon(NODE, Daemon::Kubelet)?;
        outages
    }

    fn restart(&mut self, before: &Value) -> Result<()> {
        self.made += 1;
        let request = format!("bench-{}", self.made);
        self.api
            .create(REQUESTS, &subject::request(&request, before))?;
        self.wait_verdict(&request)
    }

    fn recreate(&mut self, before: &Value) -> Result<()> {
        let path = format!("{PODS}/{}", name(before));
        let answer = self.api.call("DELETE", &path, None)?;
        ensure!(answer.status == 200, "DELETE {path}: {answer:?}");
        Ok(())
    }

    fn upgrade(&mut self, before: &Value, image: &str) -> Result<()> {
        let change = format!("{CONTAINER}={image}");
        let words = [
            "upgrade",
            name(before),
            &change,
            "-n",
            "default",
            "--min-ready",
            "1",
        ];
        self.cluster.kubectl_berth(&words)?.ok()?;
        Ok(())
    }

    fn patch(&mut self, before: &Value, image: &str) -> Result<()> {
        let change = json!({"spec": {"containers": [{"name": CONTAINER, "image": image}]}});
        let words = ["patch", "pod", name(before), "--patch", &change.to_string()];
        self.cluster.kubectl(&words)?;
        Ok(())
    }

    /// How long a Pod's outage is by what is done to it.
    pub(crate) fn outage(
        &mut self,
        services: &Services,
        name: &str,
        image: &str,
        act: impl FnOnce(&mut Self, &Value) -> Result<()>,
    ) -> Result<Outage> {
        let before = self.api.json(&format!("{PODS}/{name}"))?;
        let client = self.client(&before)?;
        let begun = Instant::now();
        act(self, &before)?;
        let (nobody, after) = self.judge(&before, client, image)?;
        let out = services.outage(name, begun, container(&after))?;
        Ok(Outage {
            nobody,
            out: Some(out),
        })
    }

    /// A client of a Pod, which it serves.
    fn client(&self, pod: &Value) -> Result<Client> {
        let tor = self.cluster.world().rack("a").tor();
        Client::start(tor, &format!("{}:{PORT}", ip(pod)?))
    }

    /// How long nobody served, when another container serves at the same address; the Pod then.
    fn judge(&self, before: &Value, mut client: Client, image: &str) -> Result<(Duration, Value)> {
        client.wait_outage()?;
        let name = name(before);
        let after = self.wait_ready(name, container(before), image)?;
        ensure!(
            ip(&after)? == ip(before)?,
            "{name} has another address: what was measured is not its outage"
        );
        Ok((client.longest()?, after))
    }

    /// Gives the set this image, which a Pod made from now on has.
    fn apply(&self, image: &str) -> Result<()> {
        let set = subject::set(self.pods, NODE, image);
        self.cluster.apply(&set.to_string())?;
        wait_patiently("the set being seen", DEADLINE, || {
            let set = self.api.json(&format!("{SETS}/{SET}"));
            let set = set.map_err(|error| Pending::because(format!("{error:#}")))?;
            let seen = set["status"]["observedGeneration"].as_u64();
            if seen.is_some() && seen == set["metadata"]["generation"].as_u64() {
                return Ok(());
            }
            Err(Pending::because(&set["status"]))
        })
    }

    /// Waits until a Pod is Ready, from this image, in another container than this one.
    pub(crate) fn wait_ready(&self, name: &str, before: &str, image: &str) -> Result<Value> {
        wait_patiently(&format!("{name} being Ready"), DEADLINE, || {
            let pod = self.api.json(&format!("{PODS}/{name}"));
            let pod = pod.map_err(|error| Pending::because(format!("{error:#}")))?;
            let conditions = pod["status"]["conditions"].as_array();
            let mut conditions = conditions.into_iter().flatten();
            let is_ready = conditions.any(|it| it["type"] == "Ready" && it["status"] == "True");
            let is_wanted = pod["spec"]["containers"][0]["image"] == image;
            if is_ready && is_wanted && container(&pod) != before {
                return Ok(pod);
            }
            Err(Pending::because(&pod["status"]))
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
                _ => Err(Pending::because(status)),
            }
        })?
    }
}

/// The id of a Pod's container.
pub(crate) fn container(pod: &Value) -> &str {
    let id = pod["status"]["containerStatuses"][0]["containerID"].as_str();
    id.unwrap_or_default()
}

fn name(pod: &Value) -> &str {
    pod["metadata"]["name"].as_str().unwrap_or_default()
}

fn ip(pod: &Value) -> Result<&str> {
    let ip = pod["status"]["podIP"].as_str();
    ip.context("a Pod without address")
}
