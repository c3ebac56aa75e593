//! `why`: what an identity has, how it came to it, and what would happen next.

use clap::Args;
use proto_ipam::v1;
use serde::Serialize;

use super::error::{Answer, CommandError};
use super::output::Output;
use super::record::{Audit, Binding, audit_table, binding_table};
use super::source::Source;

/// Whose addresses.
#[derive(Clone, Debug, Args)]
pub(crate) struct WhyArgs {
    /// Pod as namespace/name, or the identity it names
    identity: String,
}

#[derive(Serialize)]
struct Told {
    story: Vec<String>,
    bindings: Vec<Binding>,
    log: Vec<Audit>,
}

pub(super) async fn run(
    args: &WhyArgs,
    mut source: Source,
    output: Output,
) -> Result<Answer, CommandError> {
    let request = v1::WhyRequest {
        identity: args.identity.clone(),
    };
    let told = source.why(request).await?;
    let answer = Told {
        story: told.story,
        bindings: told.bindings.into_iter().map(Into::into).collect(),
        log: told.log.into_iter().map(Into::into).collect(),
    };
    output.answer(&answer, describe)?;
    Ok(Answer::when(
        !(answer.bindings.is_empty() && answer.log.is_empty()),
    ))
}

fn describe(told: &Told) -> String {
    let mut text = told.story.join("\n");
    if !told.bindings.is_empty() {
        text.push_str("\n\n");
        text.push_str(&binding_table(&told.bindings));
    }
    if !told.log.is_empty() {
        text.push_str("\n\nlog:\n");
        text.push_str(&audit_table(&told.log));
    }
    text
}
