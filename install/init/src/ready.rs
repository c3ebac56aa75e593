//! `ready`: whether the node has what this version and this configuration want. For a readiness probe.

use tracing::warn;

use crate::args::Paths;
use crate::arrange::{self, apply};
use crate::folder;
use crate::keep;
use crate::log::chain;
use crate::plugin;
use crate::state::State;

/// Looks once.
pub(crate) fn run(paths: &Paths) -> anyhow::Result<bool> {
    let reasons = reasons(paths)?;
    for reason in &reasons {
        warn!(error = reason, "not ready");
    }
    Ok(reasons.is_empty())
}

fn reasons(paths: &Paths) -> anyhow::Result<Vec<String>> {
    let mut reasons = Vec::new();
    for program in [plugin::PLUGIN, plugin::IPAM] {
        let path = paths.bin_dir.join(program);
        if !path.is_file() {
            reasons.push(format!("{} is missing", path.display()));
        }
    }
    match keep::source(paths) {
        Err(error) => reasons.push(chain(&error)),
        Ok(list) if !apply::is_current(&paths.place(), &list.bytes) => reasons.push(format!(
            "{} is not what {} says",
            paths.place().display(),
            paths.conflist.display()
        )),
        Ok(_) => {}
    }
    let state = State::load(&paths.state_dir)?;
    let entries = folder::configurations(&paths.conf_dir)?;
    for entry in arrange::ahead(&paths.name, state.placed.as_deref(), &entries) {
        reasons.push(format!(
            "the runtime uses {} instead of ours",
            entry.describe()
        ));
    }
    Ok(reasons)
}
