//! `conflist`: puts the configuration in place once the plugin says that it can serve, follows its source, and says
//! what is wrong, each thing once. Ends by SIGTERM and leaves everything in place: an upgrade must not take it away.
//!
//! The source is looked at by its content: kubelet changes a mounted `ConfigMap` by swapping a symbolic link.

use std::fs;
use std::time::Duration;

use anyhow::Context;
use tracing::{info, warn};

use crate::args::{KeepArgs, Paths};
use crate::arrange::{Step, apply};
use crate::check;
use crate::conflist::{Conflist, ParseConflistError};
use crate::lock;
use crate::log::chain;
use crate::outside;
use crate::stop::Stop;

/// Between two looks. kubelet brings a changed `ConfigMap` within a minute or so.
const PAUSE: Duration = Duration::from_secs(1);

/// Why a source is not put in place.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadSourceError {
    /// It could not be read.
    #[error("read {path:?}: is the ConfigMap mounted there, or the file named by --conflist?")]
    Read {
        path: std::path::PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// It makes no sense.
    #[error("{path:?}")]
    Parse {
        path: std::path::PathBuf,
        #[source]
        source: ParseConflistError,
    },
}

/// Things that are wrong, each said when it begins, changes, and ends.
#[derive(Debug, Default)]
struct Troubles {
    standing: Vec<(&'static str, String)>,
}

/// Reads and checks the source.
pub(crate) fn source(paths: &Paths) -> Result<Conflist, ReadSourceError> {
    let path = &paths.conflist;
    let bytes = fs::read(path).map_err(|source| ReadSourceError::Read {
        path: path.clone(),
        source,
    })?;
    Conflist::parse(&bytes).map_err(|source| ReadSourceError::Parse {
        path: path.clone(),
        source,
    })
}

/// Runs until it is asked to end; `false`: asked to end before the configuration was in place.
pub(crate) fn run(paths: &Paths, args: &KeepArgs) -> anyhow::Result<bool> {
    let stop = Stop::on_signals().context("wait for signals")?;
    check::conflist(paths)?;
    let _keeper = lock::keep(&paths.state_dir)?;
    let mut troubles = Troubles::default();
    let mut placed = false;
    loop {
        if look(paths, &stop, placed, &mut troubles)? {
            if !placed {
                info!(path = %paths.place().display(), "configuration is in place");
            }
            placed = true;
            if args.once {
                return Ok(true);
            }
        }
        if stop.within(PAUSE) {
            info!("asked to end; what is in place stays");
            return Ok(placed || !args.once);
        }
    }
}

/// One look, and what it makes necessary. Whether ours is in place, current, and the first.
fn look(paths: &Paths, stop: &Stop, placed: bool, troubles: &mut Troubles) -> anyhow::Result<bool> {
    let list = match source(paths) {
        Ok(list) => list,
        Err(error) => {
            let message = "configuration refused; what is in place stays";
            troubles.say("source", &chain(&error), message);
            return Ok(false);
        }
    };
    troubles.over("source");
    let steps = match apply::plan(paths, &list) {
        Ok(steps) => steps,
        Err(error) => {
            troubles.say(
                "place",
                &chain(&error),
                "the runtime does not use our configuration",
            );
            return Ok(false);
        }
    };
    if steps.is_empty() {
        troubles.over("place");
        troubles.over("status");
        return Ok(true);
    }
    if placed && !steps.contains(&Step::Place) {
        // Somebody put it there although ours is in place: two that move each other's files would never end.
        let others = others(&steps);
        let message = "the runtime uses another plugin's configuration: remove it, or restart this for --replace to move it aside";
        troubles.say("place", &others, message);
        return Ok(false);
    }
    let Some(answer) = outside::ask(&list, &paths.bin_dir, stop) else {
        return Ok(false);
    };
    troubles.set("chain", &answer.warnings.join("; "), "plugins of the chain");
    troubles.set(
        "status",
        &answer.waits.join("; "),
        "waiting: no Pod could start yet",
    );
    if !answer.waits.is_empty() {
        return Ok(false);
    }
    put(paths, &list, troubles)
}

fn put(paths: &Paths, list: &Conflist, troubles: &mut Troubles) -> anyhow::Result<bool> {
    let _lock = lock::change(&paths.state_dir)?;
    match apply::install(paths, list) {
        Ok(done) => {
            troubles.over("place");
            for step in done {
                info!(step, "changed");
            }
            Ok(true)
        }
        Err(error) => {
            troubles.say("place", &chain(&error), "configuration is not in place");
            Ok(false)
        }
    }
}

fn others(steps: &[Step]) -> String {
    let names: Vec<&str> = steps
        .iter()
        .filter_map(|step| match step {
            Step::TakeAway(name) | Step::Forget(name) => Some(name.as_str()),
            _ => None,
        })
        .collect();
    names.join(" and ")
}

impl Troubles {
    fn set(&mut self, what: &'static str, why: &str, message: &str) {
        if why.is_empty() {
            self.over(what);
        } else {
            self.say(what, why, message);
        }
    }

    fn say(&mut self, what: &'static str, why: &str, message: &str) {
        let standing = self.standing.iter_mut().find(|(known, _)| *known == what);
        match standing {
            Some((_, known)) if known == why => return,
            Some((_, known)) => why.clone_into(known),
            None => self.standing.push((what, why.to_owned())),
        }
        warn!(error = why, "{message}");
    }

    fn over(&mut self, what: &'static str) {
        let before = self.standing.len();
        self.standing.retain(|(known, _)| *known != what);
        if self.standing.len() < before {
            info!(what, "no longer in the way");
        }
    }
}
