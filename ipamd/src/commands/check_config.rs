//! `check-config`: whether a configuration would be taken, without touching the daemon.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use serde::Serialize;

use super::error::{Answer, CommandError};
use super::output::Output;
use crate::args::Args;
use crate::config;

/// Which file.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct CheckConfigArgs {
    /// The file; default: --config
    file: Option<PathBuf>,
}

#[derive(Serialize)]
struct Checked {
    file: String,
    node: String,
    rack: String,
    pools: usize,
    rules: usize,
}

pub(super) fn run(
    own: &CheckConfigArgs,
    args: &Args,
    output: Output,
) -> Result<Answer, CommandError> {
    let path = own.file.as_ref().unwrap_or(&args.config);
    let config = config::load(path, &args.overrides)?;
    let settings = config.settings.settings();
    let checked = Checked {
        file: path.display().to_string(),
        node: settings.node.to_string(),
        rack: settings.rack.to_string(),
        pools: settings.pools.len(),
        rules: settings.rules.len(),
    };
    output.answer(&checked, |checked| {
        format!(
            "{}: good: node {}, rack {}, {} pools, {} rules",
            checked.file, checked.node, checked.rack, checked.pools, checked.rules
        )
    })?;
    Ok(Answer::Yes)
}
