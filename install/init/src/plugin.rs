//! `plugin`: the programs in the runtime's plugin folder.
//!
//! `berth-ipam` is a symbolic link to `berth`: one rename changes both, so that neither is ever absent nor of another
//! version than the other.

use std::path::Path;

use anyhow::Context;
use tracing::info;

use crate::args::Paths;
use crate::{check, lock, place};

/// The plugin, which is also the main program's name in a configuration.
pub(crate) const PLUGIN: &str = "berth";
/// Its second name.
pub(crate) const IPAM: &str = "berth-ipam";

/// Puts the programs there.
pub(crate) fn run(paths: &Paths) -> anyhow::Result<()> {
    check::plugin(paths)?;
    let _lock = lock::change(&paths.state_dir)?;
    place::clean(&paths.bin_dir)?;
    place::ensure_folder(&paths.bin_dir)?;
    let source = paths
        .source(PLUGIN)
        .context("find this program's own folder")?;
    let target = paths.plugin();
    let (program, link) = (
        place::program(&source, &target)?,
        place::link(Path::new(PLUGIN), &paths.bin_dir.join(IPAM))?,
    );
    let done = if program || link {
        "plugin put in place"
    } else {
        "plugin is in place already"
    };
    info!(path = %target.display(), "{done}");
    Ok(())
}

/// Takes the programs away again: the second name first, so that it never points to nothing.
pub(crate) fn remove(paths: &Paths) -> anyhow::Result<()> {
    place::clean(&paths.bin_dir)?;
    place::take_away(&paths.bin_dir.join(IPAM))?;
    place::take_away(&paths.plugin())?;
    Ok(())
}
