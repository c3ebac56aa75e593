//! The crash tests over and over, for as long as asked: rare orders of events need many tries.

use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;

use crate::{
    build::Workspace,
    step::{run as run_step, say},
    tier::{in_namespaces, netns_programs},
};

/// How long and what.
#[derive(Debug, Args)]
pub(crate) struct SoakArgs {
    /// For how many minutes a new round is begun
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// Part of the names of the tests to repeat
    #[arg(long, default_value = "crash::")]
    filter: String,
}

/// One round; the tests bound themselves more tightly.
const ROUND_BUDGET: Duration = Duration::from_secs(30 * 60);

/// Repeats the tests until the time is over or one fails.
pub(crate) fn run(args: &SoakArgs) -> Result<()> {
    let workspace = Workspace::find()?;
    let (bin_dir, programs) = netns_programs(&workspace)?;
    let end = Instant::now() + Duration::from_secs(args.minutes * 60);
    let mut rounds = 0_u32;
    while Instant::now() < end {
        rounds += 1;
        for program in &programs {
            let mut command = in_namespaces(&workspace, program, &bin_dir)?;
            run_step(
                &format!("round {rounds}"),
                command.arg(&args.filter),
                ROUND_BUDGET,
            )?;
        }
    }
    say(&format!("{rounds} rounds passed"));
    Ok(())
}
