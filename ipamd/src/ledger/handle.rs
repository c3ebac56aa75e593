//! Asking the ledger.
//!
//! Cheap to clone. Every method waits for the ledger's answer; what it answers as done is on the disk. Times go in and come
//! out by the wall clock of now, whatever the book's own clock says.
//!
//! # Cancellation
//! A request whose future was dropped before its turn is not done; later it may be, and nobody is told.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipamd_core::{
    AllocateError, AuditEntry, BindingView, CheckError, CheckedInterface, FreeError, FreeRequest,
    Holder, ListFilter, PodPolicy, ProbeCandidate, ReconfigureError, ReserveError, ReserveRequest,
    Sighting, Timestamp, ValidSettings,
};
use proto_ids::{AllocateRequest, Attachment, CniNetworkName, Grant, Identity, NetworkName};
use tokio::sync::{mpsc, oneshot, watch};

use super::audit::Query;
use super::document::{Document, ImportError};
use super::error::{LedgerError, Unavailable};
use super::figures::Figures;
use super::status::{LedgerStatus, Phase};
use super::storage::Storage;
use super::task::{Access, Answer, Work};
use super::transaction::Transaction;

/// How long a request waits for a ledger that is recovering: a restart of the daemon is not noticed then.
const PATIENCE: Duration = Duration::from_secs(2);

/// What ended with a DEL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Released {
    /// Whether there was such an attachment.
    pub(crate) known: bool,
    /// The addresses it had.
    pub(crate) addresses: Vec<IpAddr>,
}

/// Who has and had an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Who {
    /// As of now, once for each network that knows it.
    pub(crate) current: Vec<BindingView>,
    /// Closed lines of the log, oldest first.
    pub(crate) log: Vec<AuditEntry>,
}

/// What an identity has and had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Why {
    /// As of now.
    pub(crate) bindings: Vec<BindingView>,
    /// Closed lines of the log, oldest first.
    pub(crate) log: Vec<AuditEntry>,
    /// The same in sentences, and what would happen next.
    pub(crate) story: Vec<String>,
}

/// What a check of the whole found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fsck {
    /// Records of the book.
    pub(crate) records: u64,
    /// What does not agree, or an operator should know.
    pub(crate) findings: Vec<String>,
}

/// What an operator wants taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImportRequest {
    /// As [`LedgerHandle::export`] writes it.
    pub(crate) document: Document,
    /// Whether it is only tried.
    pub(crate) dry_run: bool,
}

/// What was taken over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Imported {
    /// Records that are, or would be, new in the book.
    pub(crate) imported: u64,
    /// One line for each record that cannot be taken over; nothing is imported when there is one.
    pub(crate) refused: Vec<String>,
}

/// What a claim heard on the wire means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    /// Whether it is foreign: the address is ours and the MAC is not its holder's.
    pub(crate) foreign: bool,
    /// Who of ours has the address.
    pub(crate) holder: Option<Holder>,
    /// Whether it was not known before.
    pub(crate) new: bool,
}

/// How the networks that a caller needs are provided for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NetworkStatus {
    /// Without a pool in this node's rack.
    pub(crate) without_pool: Vec<NetworkName>,
    /// With pools, but no free address in a family.
    pub(crate) exhausted: Vec<NetworkName>,
}

/// The way to the ledger.
#[derive(Clone, Debug)]
pub(crate) struct LedgerHandle {
    requests: mpsc::Sender<(Access, Work)>,
    status: watch::Receiver<LedgerStatus>,
    figures: Arc<Figures>,
    storage: Storage,
}

impl LedgerHandle {
    pub(super) const fn new(
        requests: mpsc::Sender<(Access, Work)>,
        status: watch::Receiver<LedgerStatus>,
        figures: Arc<Figures>,
        storage: Storage,
    ) -> Self {
        Self {
            requests,
            status,
            figures,
            storage,
        }
    }

    /// What the ledger says of itself, now and whenever it changes.
    pub(crate) fn status(&self) -> watch::Receiver<LedgerStatus> {
        self.status.clone()
    }

    /// Changes whenever something was committed.
    pub(crate) fn commits(&self) -> watch::Receiver<u64> {
        self.figures.changes.subscribe()
    }

    /// What the ledger counts.
    pub(crate) fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Addresses for one CNI ADD, all interfaces or none; `policy` is what the Pod says of them.
    pub(crate) async fn allocate(
        &self,
        request: AllocateRequest,
        policy: PodPolicy,
    ) -> Result<Grant, LedgerError<AllocateError>> {
        self.ask(Access::Grant, move |book| {
            let plan = book.book().allocate_for(&request, &policy, book.now())?;
            book.apply(&plan.changes);
            Ok(plan.grant)
        })
        .await
    }

    /// Ends an attachment; one that is not known is no error.
    pub(crate) async fn release(&self, attachment: Attachment) -> Result<Released, Unavailable> {
        self.tell(Access::Release, move |book| {
            let plan = book.book().release(&attachment, book.now());
            book.apply(&plan.changes);
            Released {
                known: plan.known,
                addresses: plan.addresses,
            }
        })
        .await
    }

    /// Compares what a runtime believes of an attachment with the book.
    pub(crate) async fn check(
        &self,
        attachment: Attachment,
        interfaces: Vec<CheckedInterface>,
    ) -> Result<(), LedgerError<CheckError>> {
        self.ask(Access::Read, move |book| {
            book.book().check(&attachment, &interfaces)
        })
        .await
    }

    /// Ends every attachment of a network configuration that is not in `keep`; answers those that ended.
    pub(crate) async fn collect(
        &self,
        cni_network: CniNetworkName,
        keep: Vec<Attachment>,
    ) -> Result<Vec<Attachment>, Unavailable> {
        self.tell(Access::Release, move |book| {
            let plan = book.book().collect(&cni_network, &keep, book.now());
            book.apply(&plan.changes);
            plan.ended
        })
        .await
    }

    /// All addresses that are not simply free.
    pub(crate) async fn list(&self, filter: ListFilter) -> Result<Vec<BindingView>, Unavailable> {
        self.tell(Access::Read, move |book| {
            book.shown(book.book().list(&filter))
        })
        .await
    }

    /// Who has an address, and who had it: at a time, or as far back as the log reaches.
    pub(crate) async fn who(
        &self,
        address: IpAddr,
        at: Option<Timestamp>,
    ) -> Result<Who, Unavailable> {
        let (current, clock) = self
            .tell(Access::Read, move |book| {
                (book.shown(book.book().who(address)), book.clock().clone())
            })
            .await?;
        let query = Query::Address {
            address,
            at: at.map(|at| clock.to_book(at)),
        };
        let mut log = self.storage.log(query).await?;
        for line in &mut log {
            super::audit::show(line, &clock);
        }
        let current = current
            .into_iter()
            .filter(|view| at.is_none_or(|at| view.since <= at))
            .collect();
        Ok(Who { current, log })
    }

    /// What an identity has, had, and would get next.
    pub(crate) async fn why(&self, identity: Identity) -> Result<Why, Unavailable> {
        let asked = identity.clone();
        let (bindings, mut story, clock) = self
            .tell(Access::Read, move |book| {
                (
                    book.shown(book.book().why(&asked)),
                    book.book().story(&asked, book.now()),
                    book.clock().clone(),
                )
            })
            .await?;
        let mut log = self.storage.log(Query::Identity { identity }).await?;
        for line in &mut log {
            super::audit::show(line, &clock);
        }
        story.extend(super::audit::last(&log));
        Ok(Why {
            bindings,
            log,
            story,
        })
    }

    /// Reserves an address for an identity, or sets one aside.
    pub(crate) async fn reserve(
        &self,
        request: ReserveRequest,
    ) -> Result<Vec<BindingView>, LedgerError<ReserveError>> {
        self.ask(Access::Grant, move |book| {
            let plan = book.book().reserve(&request, book.now())?;
            book.apply(&plan.changes);
            Ok(book.shown(plan.bindings))
        })
        .await
    }

    /// Gives a held, reserved, quarantined or conflicting address back; answers what was the case before.
    pub(crate) async fn free(
        &self,
        request: FreeRequest,
    ) -> Result<BindingView, LedgerError<FreeError>> {
        self.ask(Access::Release, move |book| {
            let plan = book.book().free(&request, book.now())?;
            book.apply(&plan.changes);
            Ok(book.shown_one(plan.was))
        })
        .await
    }

    /// Compares book and store record by record, and lists what an operator should know.
    pub(crate) async fn fsck(&self) -> Result<Fsck, Unavailable> {
        let (known, mut findings) = self
            .tell(Access::Read, |book| {
                (book.book().records().collect::<Vec<_>>(), book.findings())
            })
            .await?;
        let records = known.len() as u64;
        findings.extend(self.figures.garbage_findings.lines());
        findings.extend(self.storage.differences(known).await?);
        Ok(Fsck { records, findings })
    }

    /// The whole book as a document that [`Self::import`] reads.
    pub(crate) async fn export(&self) -> Result<Document, Unavailable> {
        self.tell(Access::Read, |book| Document::of(book.book(), book.now()))
            .await
    }

    /// Takes over the records of a document, all or none.
    pub(crate) async fn import(
        &self,
        request: ImportRequest,
    ) -> Result<Imported, LedgerError<ImportError>> {
        self.ask(Access::Grant, move |book| {
            let plan = request.document.plan(book.book())?;
            if !request.dry_run && plan.refused.is_empty() {
                book.apply(&plan.changes);
            }
            Ok(Imported {
                imported: plan.imported,
                refused: plan.refused,
            })
        })
        .await
    }

    /// Works by new settings from now on; answers what changed.
    pub(crate) async fn reload(
        &self,
        settings: ValidSettings,
    ) -> Result<Vec<String>, LedgerError<ReconfigureError>> {
        self.ask(Access::Read, move |book| {
            let plan = book.book().reconfigure(settings)?;
            book.replace(plan.book);
            Ok(plan.report)
        })
        .await
    }

    /// Judges a claim heard on the wire, and sets the address aside when it is foreign.
    pub(crate) async fn conflict(&self, sighting: Sighting) -> Result<Conflict, Unavailable> {
        self.tell(Access::Release, move |book| {
            let plan = book.book().conflict(&sighting, book.now());
            book.apply(&plan.changes);
            Conflict {
                foreign: plan.foreign,
                holder: plan.holder,
                new: !plan.changes.is_empty(),
            }
        })
        .await
    }

    /// Ends a conflict: nobody answers for the address any more. Answers whether there was one.
    pub(crate) async fn clear_conflict(
        &self,
        network: NetworkName,
        address: IpAddr,
    ) -> Result<bool, Unavailable> {
        self.tell(Access::Release, move |book| {
            let changes = book.book().clear_conflict(&network, address);
            book.apply(&changes);
            !changes.is_empty()
        })
        .await
    }

    /// All conflicts.
    pub(crate) async fn conflicts(&self) -> Result<Vec<ipamd_core::ConflictRecord>, Unavailable> {
        self.tell(Access::Read, |book| book.book().conflicts())
            .await
    }

    /// The `per_pool` addresses of each pool that would be handed out next.
    pub(crate) async fn probe_candidates(
        &self,
        per_pool: usize,
    ) -> Result<Vec<ProbeCandidate>, Unavailable> {
        self.tell(Access::Read, move |book| {
            book.book().probe_candidates(per_pool)
        })
        .await
    }

    /// Up to `limit` held addresses behind `after`; fewer: begin again with `None`.
    pub(crate) async fn held_candidates(
        &self,
        after: Option<(NetworkName, IpAddr)>,
        limit: usize,
    ) -> Result<Vec<ProbeCandidate>, Unavailable> {
        self.tell(Access::Read, move |book| {
            let after = after.as_ref().map(|(network, address)| (network, *address));
            book.book().held_candidates(after, limit)
        })
        .await
    }

    /// How these networks (none: all configured in this rack) are provided for.
    pub(crate) async fn networks(
        &self,
        networks: Vec<NetworkName>,
    ) -> Result<NetworkStatus, Unavailable> {
        self.tell(Access::Read, move |book| NetworkStatus {
            without_pool: book.book().networks_without_pool(&networks),
            exhausted: book.book().exhausted_networks(&networks),
        })
        .await
    }

    pub(super) async fn tell<T: Send + 'static>(
        &self,
        access: Access,
        work: impl FnOnce(&mut Transaction<'_>) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        let asked = self
            .ask(access, |book| Ok::<_, std::convert::Infallible>(work(book)))
            .await;
        asked.map_err(|error| match error {
            LedgerError::Unavailable(unavailable) => unavailable,
            LedgerError::Refused(never) => match never {},
        })
    }

    async fn ask<T, E>(
        &self,
        access: Access,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, LedgerError<E>>
    where
        T: Send + 'static,
        E: std::error::Error + Send + 'static,
    {
        self.ready().await?;
        let (sender, receiver) = oneshot::channel();
        let work: Work = Box::new(move |book| {
            let answer: Answer = match book {
                Ok(_) if sender.is_closed() => Box::new(|_| {}),
                Ok(book) => {
                    let result = work(book).map_err(LedgerError::Refused);
                    Box::new(move |durable| {
                        // Whoever asked may have gone meanwhile.
                        let _gone = sender.send(durable.map_err(Into::into).and(result));
                    })
                }
                Err(unavailable) => Box::new(move |_| {
                    let _gone = sender.send(Err(unavailable.into()));
                }),
            };
            answer
        });
        self.requests.try_send((access, work)).map_err(|error| {
            if matches!(error, mpsc::error::TrySendError::Full(_)) {
                self.figures.busy_refusals.increment();
                Unavailable::Busy
            } else {
                Unavailable::Ended
            }
        })?;
        receiver.await.unwrap_or(Err(Unavailable::Ended.into()))
    }

    /// Waits a little for a ledger that recovers.
    async fn ready(&self) -> Result<(), Unavailable> {
        let mut status = self.status.clone();
        let recovered = status.wait_for(|status| status.phase != Phase::Recovering);
        let (phase, message) = match tokio::time::timeout(PATIENCE, recovered).await {
            Ok(Ok(status)) => (status.phase, status.message.clone()),
            Ok(Err(_)) => return Err(Unavailable::Ended),
            Err(_) => (Phase::Recovering, self.status.borrow().message.clone()),
        };
        match phase {
            Phase::Serving | Phase::ReadOnly | Phase::NoRack => Ok(()),
            Phase::Recovering => Err(Unavailable::Recovering { message }),
            Phase::Damaged => Err(Unavailable::StoreDamaged { message }),
        }
    }
}
