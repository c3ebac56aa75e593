//! The measurement itself, run inside the node: prepares namespaces and the daemon, fires the rounds, prints the tables.

use std::fs;
use std::io::{stderr, stdout};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::aim::Aim;
use crate::figures::median;
use crate::round::{Volley, volley};
use crate::samples::Samples;
use crate::say;
use crate::subject::{self, PEER_BRIDGE, Programs, Subject};
use crate::table::Table;

/// Calls of one round, by concurrency: at 1 each call is alone, so fewer tell as much.
const PLAN: [(usize, usize); 3] = [(1, 40), (8, 96), (32, 128)];
/// Pods' namespaces: as many as the largest round has calls.
const PODS: usize = 128;
/// Held bindings that are there before the first ADD.
const PRELOADS: [usize; 2] = [5_000, 50_000];
/// Bindings whose memory is looked at.
const RSS_BINDINGS: usize = 10_000;

/// Figures of one subject at one concurrency, one entry a round.
#[derive(Debug, Default)]
struct Row {
    add: Vec<Volley>,
    del: Vec<Volley>,
}

impl Row {
    fn of(volleys: &[Volley], figure: impl Fn(&Volley) -> f64) -> f64 {
        median(volleys.iter().map(figure))
    }

    fn add_p50(&self) -> f64 {
        Self::of(&self.add, |volley| volley.samples.percentile_ms(50))
    }

    fn del_p50(&self) -> f64 {
        Self::of(&self.del, |volley| volley.samples.percentile_ms(50))
    }

    fn add_rate(&self) -> f64 {
        Self::of(&self.add, |volley| volley.rate)
    }

    fn cells(&self) -> Vec<String> {
        let p = |volleys: &[Volley], percent| {
            format!(
                "{:.1}",
                Self::of(volleys, |volley| volley.samples.percentile_ms(percent))
            )
        };
        vec![
            p(&self.add, 50),
            p(&self.add, 95),
            format!("{:.0}", self.add_rate()),
            p(&self.del, 50),
            p(&self.del, 95),
            format!("{:.0}", Self::of(&self.del, |volley| volley.rate)),
        ]
    }
}

/// Runs everything and prints it. Arguments: the paths of `berth`, `berth-ipamd` and the floor.
pub(crate) fn run(args: &[String], rounds: usize) -> Result<()> {
    let [berth, ipamd, floor] = args else {
        anyhow::bail!("usage: bench-cni inside ROUNDS BERTH IPAMD FLOOR");
    };
    let programs = Programs {
        berth: berth.clone(),
        floor: floor.clone(),
        socket: "/run/berth/ipamd.sock".to_owned(),
    };
    prepare()?;
    let mut bench = Bench {
        programs,
        ipamd: ipamd.clone(),
        next: 0,
    };
    let mut aims = Vec::new();
    bench.verbs(rounds, &mut aims)?;
    bench.preloaded(rounds, &mut aims)?;
    bench.memory(&mut aims)?;
    bench.start_time(rounds, &mut aims)?;
    let mut table = Table::new(&["aim", "measured", "limit", ""]);
    for aim in &aims {
        table.row(aim.row());
    }
    say(&mut stdout(), &format!("\n{}", table.render()))
}

struct Bench {
    programs: Programs,
    ipamd: String,
    /// The next attachment's number; none is used twice.
    next: usize,
}

impl Bench {
    /// ADD and DEL of every subject at every concurrency.
    fn verbs(&mut self, rounds: usize, aims: &mut Vec<Aim>) -> Result<()> {
        let daemon = Daemon::start(&self.ipamd, "verbs")?;
        let mut rows: Vec<(usize, Subject, Row)> = Vec::new();
        for (concurrency, calls) in PLAN {
            let first = rows.len();
            for subject in Subject::ALL {
                rows.push((concurrency, subject, Row::default()));
            }
            // One unmeasured round: bridges are made, caches are warm.
            for round in 0..=rounds {
                progress(&format!(
                    "concurrency {concurrency}, round {round} of {rounds}"
                ));
                for (_, subject, row) in &mut rows[first..] {
                    let (add, del) = self.round(*subject, calls, concurrency)?;
                    if round > 0 {
                        row.add.push(add);
                        row.del.push(del);
                    }
                }
            }
        }
        drop(daemon);
        let mut table = Table::new(&[
            "",
            "conc",
            "ADD p50 ms",
            "p95",
            "rate/s",
            "DEL p50 ms",
            "p95",
            "rate/s",
        ]);
        for (concurrency, subject, row) in &rows {
            let mut cells = vec![subject.name().to_owned(), concurrency.to_string()];
            cells.extend(row.cells());
            table.row(cells);
        }
        say(
            &mut stdout(),
            &format!(
                "medians of {rounds} alternating rounds\n\n{}",
                table.render()
            ),
        )?;
        verb_aims(&rows, aims);
        Ok(())
    }

    fn round(
        &mut self,
        subject: Subject,
        calls: usize,
        concurrency: usize,
    ) -> Result<(Volley, Volley)> {
        let shots: Vec<_> = (0..calls)
            .map(|pod| {
                let number = self.next + pod;
                subject.shots(&self.programs, number, &format!("/run/netns/b{pod}"))
            })
            .collect();
        self.next += calls;
        let (adds, dels): (Vec<_>, Vec<_>) = shots.into_iter().unzip();
        let add = volley(&adds, concurrency)?;
        if subject != Subject::Floor {
            unique_addresses(&add)?;
        }
        let del = volley(&dels, concurrency)?;
        Ok((add, del))
    }

    /// ADD with many held bindings, beside an empty store: alternating daemons on alternating stores.
    fn preloaded(&mut self, rounds: usize, aims: &mut Vec<Aim>) -> Result<()> {
        let mut table = Table::new(&["held bindings", "ADD p50 ms", "DEL p50 ms", "ADD/empty"]);
        let counts: Vec<usize> = std::iter::once(0).chain(PRELOADS).collect();
        for count in &counts {
            let daemon = Daemon::start(&self.ipamd, &format!("held-{count}"))?;
            if *count > 0 {
                daemon.import(*count)?;
            }
        }
        let mut adds = vec![Vec::new(); counts.len()];
        let mut dels = vec![Vec::new(); counts.len()];
        let (concurrency, calls) = PLAN[0];
        for round in 0..=rounds {
            for (index, count) in counts.iter().enumerate() {
                progress(&format!("{count} held bindings, round {round} of {rounds}"));
                let _daemon = Daemon::start(&self.ipamd, &format!("held-{count}"))?;
                let (add, del) = self.round(Subject::Ours, calls, concurrency)?;
                if round > 0 {
                    adds[index].push(add.samples.percentile_ms(50));
                    dels[index].push(del.samples.percentile_ms(50));
                }
            }
        }
        let empty = median(adds[0].iter().copied());
        for (index, count) in counts.iter().enumerate() {
            let add = median(adds[index].iter().copied());
            table.row(vec![
                count.to_string(),
                format!("{add:.1}"),
                format!("{:.1}", median(dels[index].iter().copied())),
                format!("{:.2}", add / empty),
            ]);
            if *count > 0 {
                aims.push(Aim {
                    what: if *count == PRELOADS[0] {
                        "ADD p50 with 5,000 held / empty store"
                    } else {
                        "ADD p50 with 50,000 held / empty store"
                    },
                    measured: add / empty,
                    limit: 1.2,
                    at_least: false,
                    unit: "x",
                });
            }
        }
        say(&mut stdout(), &format!("\n{}", table.render()))
    }

    /// Resident memory of the daemon.
    fn memory(&self, aims: &mut Vec<Aim>) -> Result<()> {
        progress("memory");
        let daemon = Daemon::start(&self.ipamd, "memory")?;
        let empty = daemon.resident_mb()?;
        daemon.import(RSS_BINDINGS)?;
        let imported = daemon.resident_mb()?;
        drop(daemon);
        let daemon = Daemon::start(&self.ipamd, "memory")?;
        let started = daemon.resident_mb()?;
        say(
            &mut stdout(),
            &format!(
                "\nRSS of ipamd: {empty:.1} MB empty; with {RSS_BINDINGS} bindings {imported:.1} MB after their import, {started:.1} MB after a start"
            ),
        )?;
        aims.push(Aim {
            what: "RSS with 10,000 bindings (after a start)",
            measured: started,
            limit: 15.0,
            at_least: false,
            unit: "MB",
        });
        Ok(())
    }

    /// Start and VERSION, alternating.
    fn start_time(&self, rounds: usize, aims: &mut Vec<Aim>) -> Result<()> {
        progress("start");
        let peer = format!("{}/bridge", subject::PEER_DIR);
        let programs = [self.programs.berth.as_str(), &peer];
        let mut medians = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            let mut samples = [Vec::new(), Vec::new()];
            for _ in 0..100 {
                for (program, samples) in programs.iter().zip(&mut samples) {
                    samples.push(subject::version(program).fire()?.0);
                }
            }
            for (medians, samples) in medians.iter_mut().zip(samples) {
                medians.push(Samples::new(samples).percentile_ms(50));
            }
        }
        let [ours, theirs] = medians.map(median);
        say(
            &mut stdout(),
            &format!("\nexec and VERSION: berth {ours:.2} ms, bridge {theirs:.2} ms"),
        )?;
        aims.push(Aim {
            what: "VERSION, berth / bridge",
            measured: ours / theirs,
            limit: 0.5,
            at_least: false,
            unit: "x",
        });
        Ok(())
    }
}

fn verb_aims(rows: &[(usize, Subject, Row)], aims: &mut Vec<Aim>) {
    let find = |concurrency, subject| {
        rows.iter()
            .find(|(c, s, _)| *c == concurrency && *s == subject)
            .map(|(_, _, row)| row)
    };
    let ratio = |figure: fn(&Row) -> f64, concurrency, one, other| {
        find(concurrency, one).map_or(f64::NAN, figure)
            / find(concurrency, other).map_or(f64::NAN, figure)
    };
    let mut aim = |what, measured, limit, at_least| {
        aims.push(Aim {
            what,
            measured,
            limit,
            at_least,
            unit: "x",
        });
    };
    aim(
        "ADD p50 at 1, berth / peer",
        ratio(Row::add_p50, 1, Subject::Ours, Subject::Peer),
        0.25,
        false,
    );
    aim(
        "ADD p50 at 1, berth / floor",
        ratio(Row::add_p50, 1, Subject::Ours, Subject::Floor),
        1.5,
        false,
    );
    aim(
        "ADD rate at 32, berth / peer",
        ratio(Row::add_rate, 32, Subject::Ours, Subject::Peer),
        4.0,
        true,
    );
    aim(
        "DEL p50 at 1, berth / floor",
        ratio(Row::del_p50, 1, Subject::Ours, Subject::Floor),
        1.1,
        false,
    );
    aim(
        "DEL p50 at 1, berth with 2 NICs / floor of one",
        ratio(Row::del_p50, 1, Subject::OursTwice, Subject::Floor),
        1.1,
        false,
    );
}

/// A figure of calls that gave one address twice would be worth nothing.
fn unique_addresses(add: &Volley) -> Result<()> {
    let mut seen = std::collections::HashSet::new();
    for answer in &add.answers {
        let result: Value = serde_json::from_str(answer).context("parse a result")?;
        for ip in result["ips"].as_array().into_iter().flatten() {
            ensure!(
                seen.insert(ip["address"].to_string()),
                "{} was given twice",
                ip["address"]
            );
        }
    }
    ensure!(seen.len() >= add.answers.len(), "an ADD gave no address");
    Ok(())
}

fn progress(text: &str) {
    let _ = say(&mut stderr(), text);
}

/// Namespaces of the Pods, and the bridge of peer and floor over the second uplink.
fn prepare() -> Result<()> {
    progress("namespaces");
    for pod in 0..PODS {
        ip(&["netns", "add", &format!("b{pod}")])?;
    }
    ip(&[
        "link",
        "add",
        PEER_BRIDGE,
        "type",
        "bridge",
        "stp_state",
        "0",
        "forward_delay",
        "0",
    ])?;
    ip(&["link", "set", PEER_BRIDGE, "up"])?;
    ip(&["link", "set", "eth1", "master", PEER_BRIDGE])
}

fn ip(args: &[&str]) -> Result<()> {
    let status = Command::new("ip").args(args).status().context("run ip")?;
    ensure!(status.success(), "ip {args:?} ended with {status}");
    Ok(())
}

/// A `berth-ipamd` on a store of this name; ended when dropped.
struct Daemon {
    child: Child,
    ipamd: String,
    config: String,
}

impl Daemon {
    fn start(ipamd: &str, store: &str) -> Result<Self> {
        let config = format!("/etc/berth/{store}.toml");
        let pools = [
            ("external", subject::OURS, subject::OURS_GATEWAY),
            ("internal", subject::SECOND, subject::SECOND_GATEWAY),
        ]
        .map(|(network, subnet, gateway)| {
            format!("[[pool]]\nname = \"{network}-a\"\nnetwork = \"{network}\"\nrack = \"a\"\nsubnet = \"{subnet}\"\ngateway = \"{gateway}\"\n")
        })
        .join("\n");
        // Bench Pods are not held, so that a round leaves no binding behind that the next would meet.
        let rules = "[[rule]]\nnamespace = \"bench\"\npod = \"*\"\nhold = \"none\"\n";
        let text = format!(
            "node = \"n1\"\nrack = \"a\"\nsocket = \"/run/berth/ipamd.sock\"\nstore = \"/var/lib/berth/{store}\"\nmetrics = \"\"\n\n{pools}\n{rules}"
        );
        fs::write(&config, text).with_context(|| format!("write {config}"))?;
        let log = fs::File::create(format!("/run/berth/{store}.log")).context("create the log")?;
        let child = Command::new(ipamd)
            .args(["--config", &config])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {ipamd}"))?;
        let daemon = Self {
            child,
            ipamd: ipamd.to_owned(),
            config,
        };
        tests_testbed::wait_until("ipamd serving", Duration::from_secs(60), || {
            let status = Command::new(ipamd)
                .args(["status", "--config", &daemon.config])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            match status {
                Ok(status) if status.success() => Ok(()),
                other => Err(tests_testbed::Pending(format!("{other:?}"))),
            }
        })?;
        Ok(daemon)
    }

    /// Takes over this many held bindings by the operator's import.
    fn import(&self, count: usize) -> Result<()> {
        progress(&format!("import of {count} bindings"));
        let document = Path::new("/run/berth/import.json");
        fs::write(document, self.document(count)?).context("write the import")?;
        self.operator(&["import", "--from", "export", "/run/berth/import.json"])?;
        Ok(())
    }

    /// The export of a book with one reservation, with this many like it in its place: the form is the daemon's own.
    fn document(&self, count: usize) -> Result<String> {
        let (identity, address) = held(count);
        self.operator(&[
            "reserve",
            "--network",
            "external",
            "--ip",
            &address,
            "--identity",
            &identity,
        ])?;
        let export = self.operator(&["export"])?;
        let mut document: Value = serde_json::from_str(&export).context("parse the export")?;
        let records = document["records"]
            .as_array_mut()
            .context("an export without records")?;
        let templates: Vec<String> = records
            .iter()
            .map(ToString::to_string)
            .filter(|record| record.contains(&format!("\"{identity}\"")))
            .collect();
        ensure!(!templates.is_empty(), "the reservation is not in {export}");
        let mac = derived_mac(&address)?;
        records.clear();
        for number in 0..count {
            let (one, other) = held(number);
            let own = derived_mac(&other)?;
            for template in &templates {
                let text = template
                    .replace(&format!("\"{identity}\""), &format!("\"{one}\""))
                    .replace(&format!("\"{address}\""), &format!("\"{other}\""))
                    .replace(&mac, &own);
                records.push(serde_json::from_str(&text)?);
            }
        }
        Ok(document.to_string())
    }

    /// An operator's command that must succeed; its output.
    fn operator(&self, args: &[&str]) -> Result<String> {
        let output = Command::new(&self.ipamd)
            .args(args)
            .args(["--config", &self.config, "--deadline", "300s"])
            .output()
            .context("run berth-ipamd")?;
        ensure!(
            output.status.success(),
            "berth-ipamd {args:?} ended with {}: {}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn resident_mb(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kibibytes: f64 = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.split_whitespace().next())
            .and_then(|number| number.parse().ok())
            .context("no VmRSS")?;
        Ok(kibibytes * 1024.0 / 1_000_000.0)
    }
}

/// Identity and address of a held binding, from the upper half of the subnet: new Pods get those of the lower half.
fn held(number: usize) -> (String, String) {
    let first = u32::from(Ipv4Addr::new(10, 130, 0, 0));
    let address = first.saturating_add(u32::try_from(number).unwrap_or(u32::MAX));
    (
        format!("held/pod-{number}"),
        Ipv4Addr::from(address).to_string(),
    )
}

/// The MAC that an address has where nobody asked for another.
fn derived_mac(address: &str) -> Result<String> {
    let [a, b, c, d] = address.parse::<Ipv4Addr>()?.octets();
    Ok(format!("b6:e7:{a:02x}:{b:02x}:{c:02x}:{d:02x}"))
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // SIGTERM, so that the store is closed as in a restart; what is measured is not its recovery.
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap_or_default());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.child.wait();
    }
}
