//! `fsck`: whether store and book are sound.

use clap::Args;
use serde::Serialize;

use super::error::{Answer, CommandError};
use super::output::Output;
use super::source::Source;

/// Nothing to choose.
#[derive(Clone, Debug, Args)]
pub(crate) struct FsckArgs {}

#[derive(Serialize)]
struct Report {
    records: u64,
    findings: Vec<String>,
}

pub(super) async fn run(
    _args: &FsckArgs,
    mut source: Source,
    output: Output,
) -> Result<Answer, CommandError> {
    let told = source.fsck().await?;
    let report = Report {
        records: told.records,
        findings: told.findings,
    };
    output.answer(&report, |report| {
        if report.findings.is_empty() {
            return format!("{} records, no findings", report.records);
        }
        format!(
            "{} records, {} findings:\n{}",
            report.records,
            report.findings.len(),
            report.findings.join("\n")
        )
    })?;
    Ok(Answer::when(report.findings.is_empty()))
}
