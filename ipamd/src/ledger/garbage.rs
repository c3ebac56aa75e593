//! Asking the ledger about what is left over: book against runtime and ports.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use ipamd_core::{Doubts, GarbagePlan, Look, Patience, Sandbox};
use proto_ids::SandboxId;

use super::error::Unavailable;
use super::handle::LedgerHandle;
use super::task::Access;

/// What the last comparison found, for whoever asks.
#[derive(Debug, Default)]
pub(crate) struct Findings(Mutex<Vec<String>>);

impl Findings {
    /// One line each.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Takes what there is now; answers what is new.
    fn replace(&self, lines: Vec<String>) -> Vec<String> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = |line: &&String| !known.contains(line);
        let new = lines.iter().filter(is_new).cloned().collect();
        *known = lines;
        new
    }
}

impl LedgerHandle {
    /// The running sandboxes of which the book has no attachment.
    pub(crate) async fn unknown_sandboxes(
        &self,
        sandboxes: BTreeMap<SandboxId, Sandbox>,
    ) -> Result<Vec<SandboxId>, Unavailable> {
        self.tell(Access::Read, move |book| {
            let unknown = book.book().unknown_sandboxes(&sandboxes);
            unknown.into_iter().cloned().collect()
        })
        .await
    }

    /// Ends the attachments whose sandbox is gone by all evidence, and remembers what else did not fit. Tells of each once.
    pub(crate) async fn collect_garbage(
        &self,
        look: Look,
        doubts: Doubts,
        patience: Patience,
    ) -> Result<GarbagePlan, Unavailable> {
        let plan = self
            .tell(Access::Release, move |book| {
                let plan = book.book().garbage(&look, &doubts, patience, book.now());
                book.apply(&plan.changes);
                plan
            })
            .await?;
        let figures = self.figures();
        if plan.flaw.is_none() {
            figures.comparisons.increment();
        } else {
            figures.comparison_failures.increment();
        }
        for ended in &plan.ended {
            let addresses: Vec<_> = ended.addresses.iter().map(ToString::to_string).collect();
            tracing::warn!(
                pod = %ended.identity,
                sandbox = %ended.attachment.sandbox,
                ifname = %ended.attachment.ifname,
                ip = addresses.join(","),
                evidence = %ended.evidence,
                "attachment ended, its sandbox is gone"
            );
        }
        figures.sandboxless_ended.add(plan.ended.len() as u64);
        figures.garbage_unknown.set(0);
        self.found_garbage(plan.findings.clone());
        Ok(plan)
    }

    /// The runtime could not be asked: known is what is said here, and no more.
    pub(crate) fn garbage_unknown(&self, why: String) {
        self.figures().comparison_failures.increment();
        self.figures().garbage_unknown.set(1);
        self.found_garbage(vec![why]);
    }

    fn found_garbage(&self, lines: Vec<String>) {
        let figures = self.figures();
        figures.garbage.set(lines.len() as u64);
        for finding in figures.garbage_findings.replace(lines) {
            tracing::warn!(finding = %finding, "sandboxes and book differ");
        }
    }
}
