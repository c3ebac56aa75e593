//! What an upgrade reads and writes, step by step, and what is given back at its end.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, bail};
use proto_crd::names;
use proto_crd::time::Timestamp;
use serde::Serialize;
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;

use super::HOLDER;
use super::plan::{self, End, Seen, Step, Upgrade};
use super::pull::{self, How, Pulled};
use crate::cluster::Cluster;
use crate::cluster::marks::Written;
use crate::cluster::releases::Part;
use crate::output::{self, Format, Output, Tone, chain};
use crate::running::RunningPod;

/// How often the Pod is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// How long giving back is tried while the API server is away.
const GIVE_BACK: Duration = Duration::from_secs(60);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Done<'a> {
    pod: String,
    verdict: &'a str,
    message: &'a str,
}

/// One upgrade as it goes on.
pub(super) struct Driver<'a> {
    cluster: &'a Cluster,
    output: Output,
    images: BTreeMap<String, String>,
    how: How,
    key: (String, String),
    upgrade: Upgrade,
    /// Where the images were asked for, as whom, and the generation that this gave.
    asked: Option<Asked>,
    said: String,
    begun: Instant,
    interrupts: Vec<Signal>,
}

struct Asked {
    node: String,
    manager: String,
    generation: Option<i64>,
}

impl<'a> Driver<'a> {
    /// Of what is wanted.
    pub(super) fn new(
        cluster: &'a Cluster,
        output: Output,
        key: (String, String),
        upgrade: Upgrade,
        images: BTreeMap<String, String>,
        how: How,
    ) -> Result<Self> {
        Ok(Self {
            cluster,
            output,
            images,
            how,
            key,
            upgrade,
            asked: None,
            said: String::new(),
            begun: Instant::now(),
            interrupts: [SignalKind::interrupt(), SignalKind::terminate()]
                .into_iter()
                .map(|kind| signal(kind).context("listening for Ctrl-C"))
                .collect::<Result<_>>()?,
        })
    }

    /// Until it has ended.
    pub(super) async fn drive(&mut self) -> Result<End> {
        loop {
            let seen = match self.look().await {
                Ok(seen) => seen,
                // Before anything was asked for, an answer is owed at once; later the Pod goes on while the API server is away.
                Err(error) if self.asked.is_none() => return Err(error),
                Err(error) => {
                    self.say(&chain(error.as_ref()))?;
                    self.pause().await?;
                    continue;
                }
            };
            let step = self.upgrade.next(&seen);
            let Some(pod) = &seen.pod else {
                bail!("there is no Pod {}/{}", self.key.0, self.key.1);
            };
            match step {
                Step::End(end) => return Ok(end),
                Step::Wait(words) => {
                    self.say(&format!("waits {words}"))?;
                    self.pause().await?;
                }
                step => self.take(&step, pod, seen.now).await?,
            }
        }
    }

    /// Until the next look. Ctrl-C ends it here, never in the middle of a write: nobody would know whether that took effect.
    async fn pause(&mut self) -> Result<()> {
        let (next, all) = (sleep(LOOK), &mut self.interrupts);
        let interrupted = poll_fn(|context| {
            let mut any = all.iter_mut().map(|it| it.poll_recv(context));
            if any.any(|it| it.is_ready()) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        });
        tokio::select! {
            () = next => Ok(()),
            () = interrupted => bail!("interrupted"),
        }
    }

    async fn look(&self) -> Result<Seen> {
        let pod = self.pod().await?;
        let pulled = match &self.asked {
            Some(Asked {
                node,
                generation: Some(generation),
                ..
            }) => {
                let object = self.cluster.image_pull(node).await?;
                pull::judge(object.as_ref(), *generation, &self.images)
            }
            _ => Pulled::NotAsked,
        };
        Ok(Seen {
            pod,
            pulled,
            now: now(),
        })
    }

    async fn pod(&self) -> Result<Option<RunningPod>> {
        let pod = self.cluster.running_pod(&self.key.0, &self.key.1).await?;
        Ok(pod.as_ref().map(RunningPod::of))
    }

    /// A write that somebody else's came before is planned anew.
    async fn take(&mut self, step: &Step, pod: &RunningPod, now: Timestamp) -> Result<()> {
        match step {
            Step::AskReport => {
                let ask = json!({"metadata": {"annotations": {names::REPORT_CONTAINERS_ANNOTATION: "true"}}});
                self.write(Part::Whole, &ask).await
            }
            Step::Pull => self.pull(pod).await,
            Step::Hold => {
                self.say("the Pod is made unready")?;
                let holders = pod.gate.clone().unwrap_or_default().holders()?;
                let patch = condition(pod, &holders.enter(HOLDER, now)?, now);
                self.write(Part::Status, &patch).await
            }
            Step::Patch => {
                self.say("the images are changed")?;
                let images = self.images.iter();
                let containers: Vec<_> = images
                    .map(|(name, image)| json!({"name": name, "image": image}))
                    .collect();
                let patch = json!({
                    "metadata": {"resourceVersion": pod.version},
                    "spec": {"containers": containers},
                });
                self.write(Part::Whole, &patch).await
            }
            Step::GiveBack => {
                self.say("the Pod is made ready again")?;
                self.give_back(pod, now).await
            }
            Step::Wait(_) | Step::End(_) => Ok(()),
        }
    }

    async fn pull(&mut self, pod: &RunningPod) -> Result<()> {
        let node = pod.node.clone().unwrap_or_default();
        let manager = pull::manager(pod);
        let object = pull::asked(&node, &self.images, pod, &self.how);
        self.say(&format!("node {node} is asked to have the images"))?;
        self.cluster.ensure_image_pull(&node).await?;
        // From here on there may be something to take back.
        self.asked = Some(Asked {
            node: node.clone(),
            manager: manager.clone(),
            generation: None,
        });
        let generation = self
            .cluster
            .apply_image_pull(&node, &manager, &object)
            .await?;
        self.asked = Some(Asked {
            node,
            manager,
            generation: Some(generation),
        });
        Ok(())
    }

    async fn give_back(&self, pod: &RunningPod, now: Timestamp) -> Result<()> {
        let holders = pod.gate.clone().unwrap_or_default().holders()?;
        let patch = condition(pod, &holders.leave(HOLDER), now);
        self.write(Part::Status, &patch).await
    }

    /// A Pod that is gone, or was written by somebody else meanwhile, is looked at anew.
    async fn write(&self, part: Part, patch: &serde_json::Value) -> Result<()> {
        let key = (self.key.0.as_str(), self.key.1.as_str());
        match self.cluster.write_pod(key, part, patch).await? {
            Written::Done | Written::Outrun | Written::Gone => Ok(()),
        }
    }

    /// What is left over is given back, whatever has happened.
    pub(super) async fn clean_up(&mut self) -> Result<()> {
        let begun = Instant::now();
        loop {
            match self.clean_up_once().await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) if begun.elapsed() > GIVE_BACK => {
                    return Err(error.context(format!(
                        "giving Pod {}/{} back; the same command with --take-over gives it back",
                        self.key.0, self.key.1
                    )));
                }
                Err(error) => self.say(&chain(error.as_ref()))?,
            }
            sleep(LOOK).await;
        }
    }

    /// Whether nothing is left.
    async fn clean_up_once(&mut self) -> Result<bool> {
        if self.upgrade.holds()
            && let Some(pod) = self.pod().await?
            && plan::is_held(&pod, HOLDER)
        {
            self.give_back(&pod, now()).await?;
            return Ok(false);
        }
        if let Some(asked) = &self.asked {
            let nothing = pull::nothing(&asked.node);
            self.cluster
                .apply_image_pull(&asked.node, &asked.manager, &nothing)
                .await?;
            self.asked = None;
        }
        Ok(true)
    }

    fn say(&mut self, line: &str) -> Result<()> {
        if line == self.said {
            return Ok(());
        }
        line.clone_into(&mut self.said);
        let line = format!("{:>5.1}s  {line}", self.begun.elapsed().as_secs_f32());
        if self.is_for_people() {
            return Output::text(&format!("{line}\n"));
        }
        output::print_remark(&line);
        Ok(())
    }

    fn is_for_people(&self) -> bool {
        matches!(self.output.format, Format::Table | Format::Wide)
    }

    /// Says how it ended. Answers whether the Pod runs the images.
    pub(super) fn tell_end(&self, end: &End) -> Result<bool> {
        let (verdict, tone, message) = match end {
            End::Succeeded(message) => ("Succeeded", Tone::Fine, message),
            End::Failed(message) => ("Failed", Tone::Wrong, message),
            End::Unknown(message) => bail!("{message}"),
        };
        if self.is_for_people() {
            let line = format!("{verdict}: {message}");
            Output::text(&format!("{}\n", self.output.paint.paint(tone, &line)))?;
            let back: Vec<_> = self.upgrade.way_back().iter().collect();
            if tone == Tone::Wrong && !back.is_empty() {
                let images = back.iter().map(|(name, image)| format!(" {name}={image}"));
                let images: String = images.collect();
                let (namespace, name) = &self.key;
                Output::text(&format!(
                    "To go back: kubectl berth upgrade -n {namespace} {name}{images}\n"
                ))?;
            }
        } else {
            self.output.document(&Done {
                pod: format!("{}/{}", self.key.0, self.key.1),
                verdict,
                message,
            })?;
        }
        Ok(tone == Tone::Fine)
    }
}

/// The gate's condition with these holders, over the version that was read.
fn condition(
    pod: &RunningPod,
    holders: &node_agent_restart::gate::Holders,
    now: Timestamp,
) -> serde_json::Value {
    let mut condition = json!({
        "type": names::SERVICE_READY_GATE, "status": holders.status(), "reason": holders.reason(), "message": holders.message(),
    });
    let was = pod.gate.as_ref().and_then(|it| it.condition.as_ref());
    if was.is_none_or(|(status, _)| status != holders.status()) {
        condition["lastTransitionTime"] = json!(now);
    }
    json!({
        "metadata": {"resourceVersion": pod.version},
        "status": {"conditions": [condition]},
    })
}

/// The time.
pub(super) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let milliseconds = since.unwrap_or_default().as_millis();
    Timestamp::from_unix_milliseconds(u64::try_from(milliseconds).unwrap_or(u64::MAX))
}
