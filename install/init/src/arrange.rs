//! Which configuration comes first in the runtime's folder: the steps that put ours first, and those that give the
//! folder back. Pure; `apply` does them.
//!
//! After every single step the first configuration is the one that was first before, or ours. So ours is put down before
//! anybody else's goes, others go last one first, and come back first one first, before ours goes.

pub(crate) mod apply;

use crate::folder::{Entry, Owner};

/// What is there, and what is wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene<'a> {
    /// Name of our configuration.
    pub(crate) name: &'a str,
    /// Name under which an earlier run put it, by the state.
    pub(crate) placed: Option<&'a str>,
    /// What a runtime reads, in its order.
    pub(crate) entries: &'a [Entry],
    /// Whether our configuration is there with the wanted content.
    pub(crate) current: bool,
    /// Whether others may be moved aside.
    pub(crate) replace: bool,
}

/// One change of the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Note that this one is about to be moved aside, and copy it.
    Keep(String),
    /// Put ours down, over whatever has the name.
    Place,
    /// Remove one that was kept.
    TakeAway(String),
    /// Remove ours of an earlier name.
    Forget(String),
    /// Put one that was kept back, over whatever has the name.
    GiveBack(String),
    /// Remove ours.
    Leave(String),
}

/// Why ours is not put down.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PlanError {
    /// Others would win, or would be overwritten.
    #[error(
        "the runtime uses the first configuration in lexical order, and {} would come before {name}: remove it, or say \
         --replace (it is moved aside, and given back by `berth-install uninstall`), or choose a --name that sorts before it",
        list(.others)
    )]
    Behind { name: String, others: Vec<String> },
    /// The name is taken.
    #[error(
        "{name} exists and is another plugin's configuration ({found}): remove it, or say --replace (it is kept, and given \
         back by `berth-install uninstall`), or choose another --name"
    )]
    Taken { name: String, found: String },
}

fn list(names: &[String]) -> String {
    names.join(" and ")
}

/// What would win over ours, or is put there instead of ours.
pub(crate) fn ahead<'a>(name: &str, placed: Option<&str>, entries: &'a [Entry]) -> Vec<&'a Entry> {
    entries
        .iter()
        .filter(|entry| entry.name.as_str() < name)
        .filter(|entry| !(placed == Some(&entry.name) && entry.owner == Owner::Berth))
        .collect()
}

/// The steps that make ours the first.
pub(crate) fn install(scene: Scene<'_>) -> Result<Vec<Step>, PlanError> {
    let Scene { name, placed, .. } = scene;
    let taken = scene.entries.iter().find(|entry| {
        entry.name == name
            && match entry.owner {
                Owner::Berth => false,
                Owner::Other(_) => true,
                // What we put down and somebody damaged is ours to repair.
                Owner::Unreadable(_) => placed != Some(name),
            }
    });
    let ahead = ahead(name, placed, scene.entries);
    if !scene.replace {
        if let Some(entry) = taken {
            return Err(PlanError::Taken {
                name: name.to_owned(),
                found: entry.describe(),
            });
        }
        if !ahead.is_empty() {
            return Err(PlanError::Behind {
                name: name.to_owned(),
                others: ahead.iter().map(|entry| entry.describe()).collect(),
            });
        }
    }
    let mut steps = Vec::new();
    steps.extend(taken.map(|entry| Step::Keep(entry.name.clone())));
    if !scene.current {
        steps.push(Step::Place);
    }
    for entry in ahead.iter().rev() {
        steps.push(Step::Keep(entry.name.clone()));
        steps.push(Step::TakeAway(entry.name.clone()));
    }
    if let Some(old) = placed.filter(|old| *old != name)
        && has_ours(scene.entries, old)
    {
        steps.push(Step::Forget(old.to_owned()));
    }
    Ok(steps)
}

/// The steps that give the folder back. `kept` are those whose copies are there.
pub(crate) fn uninstall(name: &str, entries: &[Entry], kept: &[String]) -> Vec<Step> {
    let mut kept = kept.to_vec();
    kept.sort_unstable();
    kept.dedup();
    let mut steps = Vec::new();
    for other in &kept {
        let there = entries.iter().any(|entry| entry.name == *other);
        // One that is there was written since, or was never taken away: it is newer than the copy.
        if !there || (other == name && has_ours(entries, name)) {
            steps.push(Step::GiveBack(other.clone()));
        }
    }
    let given_back = kept.iter().any(|other| other == name);
    if has_ours(entries, name) && !given_back {
        steps.push(Step::Leave(name.to_owned()));
    }
    steps
}

fn has_ours(entries: &[Entry], name: &str) -> bool {
    entries
        .iter()
        .any(|entry| entry.name == name && entry.owner == Owner::Berth)
}

#[cfg(test)]
mod tests;
