//! `kubectl berth rollout status`: looks until the release ends, and says each step of each Pod as it happens.
//!
//! It only looks: ended by Ctrl-C or by its time-out, the release goes on.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::{ArgAction, Args};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use proto_crd::in_place_set::{InPlaceSet, InPlaceSetStatus};
use serde::Serialize;
use tokio::time::sleep;

use super::progress::{self, PodLine, Told};
use super::standing::{self, Standing};
use super::{SetArgs, find, key};
use crate::cluster::Cluster;
use crate::cluster::sets::PodOfSet;
use crate::output::{Format, Output, Tone, print_remark};

/// How often the set is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// With each so many Pods it is looked at a second less often: each look reads all their metadata.
const PODS_A_SECOND: u32 = 200;

/// After so long without news it is said again what is waited for.
const SILENCE: Duration = Duration::from_secs(30);

/// How long the API server may be away where there is no time-out.
const AWAY: Duration = Duration::from_secs(300);

/// Of which set, and how long.
#[derive(Clone, Debug, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    set: SetArgs,

    /// Look until the release ends; with =false once, which succeeds only where it has succeeded
    #[arg(
        long,
        short,
        value_name = "BOOL",
        default_value_t = true,
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = ArgAction::Set
    )]
    watch: bool,

    /// Seconds after which it is looked no longer; default: until it ends
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=604_800))]
    timeout: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    namespace: String,
    name: String,
    verdict: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a InPlaceSetStatus>,
    pods: &'a [PodLine],
}

/// How it ended.
struct End {
    verdict: &'static str,
    tone: Tone,
    message: String,
}

/// Whether the release has succeeded.
pub(super) async fn run(args: &StatusArgs, cluster: &Cluster, output: Output) -> Result<bool> {
    let first = find(&args.set, cluster).await?;
    let mut follower = Follower::new(output);
    let (set, pods, end) = if args.watch {
        follow(args, first, cluster, &mut follower).await?
    } else {
        let pods = cluster.pods_of_set(&first).await?;
        let end = end(standing::of(&first));
        (first, pods, end)
    };
    let lines = progress::lines(&set, &pods);
    match output.format {
        Format::Json | Format::Yaml => output.document(&Document {
            namespace: set.namespace().unwrap_or_default(),
            name: set.name_any(),
            verdict: end.verdict,
            message: &end.message,
            status: set.status.as_ref(),
            pods: &lines,
        })?,
        Format::Table | Format::Wide => {
            if !args.watch {
                Output::text(&once(&set, &lines, output))?;
            }
            let text = format!("{}: {}", end.verdict, end.message);
            Output::text(&format!("{}\n", output.paint.paint(end.tone, &text)))?;
        }
    }
    Ok(end.tone == Tone::Fine)
}

fn end(standing: Standing) -> End {
    let (verdict, tone, message) = match standing {
        Standing::Succeeded(text) => ("Succeeded", Tone::Fine, text),
        Standing::UnderWay(text) => ("Progressing", Tone::Doubtful, format!("waits for {text}")),
        Standing::Held(text) => ("Held", Tone::Wrong, text),
    };
    End {
        verdict,
        tone,
        message,
    }
}

/// Everything there is to say at one moment.
fn once(set: &InPlaceSet, lines: &[PodLine], output: Output) -> String {
    let now = Timestamp::now();
    let mut text = format!("{}\n{}\n", standing::title(set, now), standing::counts(set));
    if let Some(failure) = set.status.as_ref().and_then(standing::failure) {
        let words = format!("Pods cannot be made: {}", failure.message);
        let _ = writeln!(text, "{}", output.paint.paint(Tone::Wrong, &words));
    }
    if !lines.is_empty() {
        let _ = writeln!(text, "\n{}", progress::table(lines, now, output.paint));
    }
    text
}

/// Looks until it ends.
async fn follow(
    args: &StatusArgs,
    mut set: InPlaceSet,
    cluster: &Cluster,
    follower: &mut Follower,
) -> Result<(InPlaceSet, Vec<PodOfSet>, End)> {
    let timeout = args.timeout.map(Duration::from_secs);
    let mut pods = Vec::new();
    loop {
        let late = timeout.is_some_and(|it| follower.begun.elapsed() >= it);
        match cluster.pods_of_set(&set).await {
            Ok(seen) => {
                pods = seen;
                follower.seen();
            }
            Err(error) if late || follower.is_lost() => return Err(error),
            Err(error) => follower.lose(&error),
        }
        follower.tell(&set, &pods)?;
        match standing::of(&set) {
            Standing::UnderWay(_) if !late => {}
            Standing::UnderWay(waits) => {
                let message = format!(
                    "the release has not ended within {} s and goes on: it waits for {waits}",
                    args.timeout.unwrap_or_default()
                );
                let end = End {
                    verdict: "TimedOut",
                    tone: Tone::Wrong,
                    message,
                };
                return Ok((set, pods, end));
            }
            ended => return Ok((set, pods, end(ended))),
        }
        let left = timeout.map(|it| it.saturating_sub(follower.begun.elapsed()));
        let pause = pace(pods.len());
        sleep(left.map_or(pause, |left| left.min(pause))).await;
        set = look(args, set, cluster, follower).await?;
    }
}

/// The set as it is now; the last one seen, while the API server is away.
async fn look(
    args: &StatusArgs,
    last: InPlaceSet,
    cluster: &Cluster,
    follower: &mut Follower,
) -> Result<InPlaceSet> {
    let (namespace, name) = (last.namespace().unwrap_or_default(), last.name_any());
    match cluster.in_place_set(&namespace, &name).await {
        Ok(Some(set)) if set.metadata.uid == last.metadata.uid => Ok(set),
        Ok(_) => bail!(
            "InPlaceSet {} was deleted before its release ended",
            key(&last)
        ),
        Err(error) => {
            let late = args.timeout.map(Duration::from_secs);
            if follower.is_lost() || late.is_some_and(|it| follower.begun.elapsed() >= it) {
                return Err(error);
            }
            follower.lose(&error);
            Ok(last)
        }
    }
}

fn pace(pods: usize) -> Duration {
    let pods = u32::try_from(pods).unwrap_or(u32::MAX);
    LOOK * (1 + pods / PODS_A_SECOND)
}

/// Says what is new, once.
struct Follower {
    output: Output,
    begun: Instant,
    pods: Told,
    title: String,
    counts: String,
    failure: String,
    last: Instant,
    lost: Option<Instant>,
}

impl Follower {
    fn new(output: Output) -> Self {
        Self {
            output,
            begun: Instant::now(),
            pods: Told::default(),
            title: String::new(),
            counts: String::new(),
            failure: String::new(),
            last: Instant::now(),
            lost: None,
        }
    }

    fn seen(&mut self) {
        self.lost = None;
    }

    fn is_lost(&self) -> bool {
        self.lost.is_some_and(|since| since.elapsed() > AWAY)
    }

    fn lose(&mut self, error: &anyhow::Error) {
        if self.lost.is_none() {
            self.lost = Some(Instant::now());
            print_remark(&format!("{error:#}; the release goes on without it"));
        }
    }

    fn tell(&mut self, set: &InPlaceSet, pods: &[PodOfSet]) -> Result<()> {
        let release = standing::observed(set).and_then(|it| it.release.as_ref());
        let id = release.map_or_else(|| "none".to_owned(), |it| it.id.clone());
        if id != self.title && standing::observed(set).is_some() {
            self.title = id;
            self.line(Tone::Plain, &standing::title(set, Timestamp::now()))?;
        }
        let failure = set.status.as_ref().and_then(standing::failure);
        let failure = failure.map(|it| it.message.clone()).unwrap_or_default();
        if failure != self.failure {
            let words = if failure.is_empty() {
                "Pods can be made again".to_owned()
            } else {
                format!("Pods cannot be made: {failure}")
            };
            self.failure = failure;
            self.line(Tone::Wrong, &words)?;
        }
        for (tone, words) in self.pods.lines(&progress::lines(set, pods)) {
            self.line(tone, &words)?;
        }
        let counts = standing::counts(set);
        if counts != self.counts {
            self.counts.clone_from(&counts);
            self.line(Tone::Plain, &counts)?;
        }
        if self.last.elapsed() > SILENCE
            && let Standing::UnderWay(waits) = standing::of(set)
        {
            self.line(Tone::Doubtful, &format!("waits for {waits}"))?;
        }
        Ok(())
    }

    /// For people beside the answer, where that is a document.
    fn line(&mut self, tone: Tone, words: &str) -> Result<()> {
        self.last = Instant::now();
        let line = format!("{:>6.1}s  {words}", self.begun.elapsed().as_secs_f32());
        if matches!(self.output.format, Format::Table | Format::Wide) {
            return Output::text(&format!("{}\n", self.output.paint.paint(tone, &line)));
        }
        print_remark(&line);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: StatusArgs,
    }

    #[test]
    fn it_is_looked_until_the_end_unless_it_is_said_otherwise() {
        for (words, watch) in [
            (&["status", "shop"][..], true),
            (&["status", "shop", "--watch"], true),
            (&["status", "shop", "-w"], true),
            (&["status", "--watch", "shop"], true),
            (&["status", "shop", "--watch=false"], false),
            (&["status", "shop", "-w=false"], false),
        ] {
            let line = Line::parse_from(words);
            assert_eq!(line.args.watch, watch, "{words:?}");
            assert_eq!(line.args.set.set, "shop");
        }
    }

    #[test]
    fn many_pods_are_looked_at_less_often() {
        assert_eq!(pace(10), Duration::from_secs(1));
        assert_eq!(pace(1000), Duration::from_secs(6));
    }
}
