//! Does the steps of a plan, each noted in the state before it begins, so that a kill anywhere is repaired by the next run.

use std::path::Path;

use super::{Scene, Step};
use crate::args::Paths;
use crate::conflist::Conflist;
use crate::folder::{self, ListConfigurationsError};
use crate::place::{self, PlaceFileError};
use crate::state::{self, LoadStateError, State};

/// Anyone may read a configuration: it holds no secret, and people look at it.
const MODE: u32 = 0o644;

/// Why the folder was not arranged. What was done before it is right in itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArrangeError {
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] LoadStateError),
    /// The folder could not be read.
    #[error(transparent)]
    List(#[from] ListConfigurationsError),
    /// Others are in the way.
    #[error(transparent)]
    Plan(#[from] super::PlanError),
    /// A step failed.
    #[error("{step}")]
    Step {
        step: String,
        #[source]
        source: PlaceFileError,
    },
}

/// What would be done. Changes nothing.
pub(crate) fn plan(paths: &Paths, list: &Conflist) -> Result<Vec<Step>, ArrangeError> {
    let state = State::load(&paths.state_dir)?;
    let entries = folder::configurations(&paths.conf_dir)?;
    Ok(super::install(Scene {
        name: &paths.name,
        placed: state.placed.as_deref(),
        entries: &entries,
        current: is_current(&paths.place(), &list.bytes),
        replace: paths.replace,
    })?)
}

/// Puts ours first. Call with the lock held. What was done, in words.
pub(crate) fn install(paths: &Paths, list: &Conflist) -> Result<Vec<String>, ArrangeError> {
    tidy(paths)?;
    let steps = plan(paths, list)?;
    let mut state = State::load(&paths.state_dir)?;
    let done = apply(paths, &mut state, &steps, &list.bytes)?;
    // Only now: until it was put down, a file of that name was somebody else's.
    if state.placed.as_deref() != Some(&paths.name) {
        state.placed = Some(paths.name.clone());
        store(&state, paths)?;
    }
    Ok(done)
}

/// Gives the folder back. Call with the lock held. What was done, in words.
pub(crate) fn uninstall(paths: &Paths) -> Result<Vec<String>, ArrangeError> {
    tidy(paths)?;
    let mut state = State::load(&paths.state_dir)?;
    let entries = folder::configurations(&paths.conf_dir)?;
    let previous = state::previous(&paths.state_dir);
    let kept: Vec<String> = state
        .kept
        .iter()
        .filter(|name| previous.join(name).symlink_metadata().is_ok())
        .cloned()
        .collect();
    let name = state.placed.clone().unwrap_or_else(|| paths.name.clone());
    let steps = super::uninstall(&name, &entries, &kept);
    apply(paths, &mut state, &steps, &[])
}

/// Whether a plain file with these bytes is in place.
pub(crate) fn is_current(place: &Path, wanted: &[u8]) -> bool {
    place.symlink_metadata().is_ok_and(|found| found.is_file())
        && std::fs::read(place).is_ok_and(|found| found == wanted)
}

fn tidy(paths: &Paths) -> Result<(), ArrangeError> {
    let previous = state::previous(&paths.state_dir);
    for folder in [&paths.conf_dir, &paths.state_dir, &previous] {
        place::clean(folder).map_err(|source| ArrangeError::Step {
            step: "clean up after an earlier run".to_owned(),
            source,
        })?;
    }
    Ok(())
}

fn store(state: &State, paths: &Paths) -> Result<(), ArrangeError> {
    state
        .store(&paths.state_dir)
        .map_err(|source| ArrangeError::Step {
            step: "note what is about to be done".to_owned(),
            source,
        })
}

fn apply(
    paths: &Paths,
    state: &mut State,
    steps: &[Step],
    ours: &[u8],
) -> Result<Vec<String>, ArrangeError> {
    let mut done = Vec::new();
    for step in steps {
        if let Step::Keep(name) = step
            && !state.kept.contains(name)
        {
            state.kept.push(name.clone());
            store(state, paths)?;
        }
        let words = say(paths, step);
        make(paths, step, ours).map_err(|source| ArrangeError::Step {
            step: words.clone(),
            source,
        })?;
        done.push(words);
    }
    Ok(done)
}

fn make(paths: &Paths, step: &Step, ours: &[u8]) -> Result<(), PlaceFileError> {
    let previous = state::previous(&paths.state_dir);
    let there = |name: &String| paths.conf_dir.join(name);
    match step {
        Step::Keep(name) => {
            place::ensure_folder(&previous)?;
            place::copy(&there(name), &previous.join(name))
        }
        Step::Place => {
            place::ensure_folder(&paths.conf_dir)?;
            place::bytes(&paths.place(), ours, MODE)
        }
        Step::GiveBack(name) => place::copy(&previous.join(name), &there(name)),
        Step::TakeAway(name) | Step::Forget(name) | Step::Leave(name) => {
            place::take_away(&there(name))
        }
    }
}

fn say(paths: &Paths, step: &Step) -> String {
    let folder = paths.conf_dir.display();
    match step {
        Step::Keep(name) => format!("keep a copy of {folder}/{name}"),
        Step::Place => format!("put {folder}/{} in place", paths.name),
        Step::TakeAway(name) => format!("move {folder}/{name} aside"),
        Step::GiveBack(name) => format!("give {folder}/{name} back"),
        Step::Forget(name) | Step::Leave(name) => format!("remove {folder}/{name}"),
    }
}
