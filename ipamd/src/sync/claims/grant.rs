//! An ADD where addresses are claimed: at once where they are here, else as soon as they have come, or refused with what it waits
//! for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ipamd_core::{AllocateError, Hold, PodPolicy, Settings};
use proto_ids::{AllocateRequest, Grant, Identity, NetworkName};
use tokio::sync::watch;
use tokio::time::timeout_at;
use tracing::info;

use super::board::{Elsewhere, Need, Search, Stamp, Told};
use super::{ClaimsHandle, Shared};
use crate::ledger::claims::Wanted;
use crate::ledger::{LedgerError, LedgerHandle};
use crate::sync::outbox::Topic;
use crate::sync::pods::{PodFacts, RackChange};

/// How long an ADD waits for its claims: a hand-over between two nodes that are well takes some hundred milliseconds. With what it
/// waited before to hear of its Pod, less than the ten seconds that the plugin waits for an answer: else nobody hears the words.
const PATIENCE: Duration = Duration::from_secs(6);

/// An ADD, with what its Pod says.
#[derive(Clone, Debug)]
pub(crate) struct Granting {
    /// The request.
    pub(crate) request: AllocateRequest,
    /// What counts after the Pod.
    pub(crate) policy: PodPolicy,
    /// What is known of the Pod; `None`: nothing.
    pub(crate) facts: Option<Arc<PodFacts>>,
}

/// Why an ADD is not granted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GrantError {
    /// The book refuses it, or cannot be asked.
    #[error(transparent)]
    Ledger(#[from] LedgerError<AllocateError>),
    /// Its addresses are not here yet.
    #[error("{cause}")]
    Waits {
        /// What it waits for.
        cause: String,
        /// What an operator does about it.
        advice: String,
    },
}

/// An ADD on the board, as long as it waits.
struct OnBoard<'a> {
    shared: &'a Shared,
    number: u64,
}

impl Drop for OnBoard<'_> {
    fn drop(&mut self) {
        self.shared.board().take(self.number);
    }
}

impl ClaimsHandle {
    /// Addresses for an ADD.
    ///
    /// # Errors
    /// As the book says; or what it waits for, after some seconds.
    pub(crate) async fn grant(
        &self,
        ledger: &LedgerHandle,
        granting: Granting,
    ) -> Result<Grant, GrantError> {
        let Some(shared) = &self.shared else {
            let granted = ledger.allocate(granting.request, granting.policy);
            return Ok(granted.await?);
        };
        let settings = ledger.status().borrow().settings.clone();
        let add = Add::new(granting, settings.settings());
        if add.is_here(ledger).await? {
            return Ok(ledger.allocate(add.request, add.policy).await?);
        }
        self.claimed(shared, ledger, add).await
    }

    /// Waits until the addresses are here, and takes them.
    async fn claimed(
        &self,
        shared: &Shared,
        ledger: &LedgerHandle,
        add: Add,
    ) -> Result<Grant, GrantError> {
        let deadline = Instant::now() + PATIENCE;
        let mut arrived = shared.arrived.subscribe();
        let number = shared.board().put(add.need());
        let _on_board = OnBoard { shared, number };
        let mut woken = false;
        loop {
            arrived.mark_unchanged();
            let refused = match add.step(shared, ledger).await? {
                Step::Granted(grant, elsewhere) => {
                    self.tell_moved(&add.identity, &grant, &elsewhere);
                    return Ok(grant);
                }
                Step::Stays(told) => return Err(told.into()),
                Step::Waits(refused) => refused,
            };
            if !std::mem::replace(&mut woken, true) {
                shared.metrics.awaited.inc();
                shared.wake.notify_one();
            }
            if !arrives(&mut arrived, deadline).await {
                return Err(add.told(shared, refused));
            }
        }
    }

    /// The Pod has other addresses than in the rack where it was.
    fn tell_moved(&self, identity: &Identity, grant: &Grant, elsewhere: &[Elsewhere]) {
        let Some(note) = moved(identity, grant, elsewhere) else {
            return;
        };
        info!(%identity, "{note}");
        self.events.put(Topic::AddressChanged, note);
    }
}

/// What a Pod has here, and what it had in other racks, of networks that it joins.
fn moved(identity: &Identity, grant: &Grant, elsewhere: &[Elsewhere]) -> Option<String> {
    let old: Vec<_> = elsewhere
        .iter()
        .filter(|old| grant.interfaces.iter().any(|it| it.network == old.network))
        .map(|old| format!("{} (rack {}, node {})", old.address, old.rack, old.node))
        .collect();
    let rack = &grant.interfaces.first()?.rack;
    let new = grant.interfaces.iter().flat_map(|it| &it.addresses);
    let new: Vec<_> = new.map(|it| it.address.addr().to_string()).collect();
    (!old.is_empty()).then(|| {
        format!(
            "{identity} has {} of rack {rack} now; kept for it is {}",
            new.join(", "),
            old.join(", ")
        )
    })
}

async fn arrives(arrived: &mut watch::Receiver<u64>, deadline: Instant) -> bool {
    matches!(
        timeout_at(deadline.into(), arrived.changed()).await,
        Ok(Ok(()))
    )
}

/// An ADD that is decided about.
struct Add {
    request: AllocateRequest,
    policy: PodPolicy,
    identity: Identity,
    networks: Vec<NetworkName>,
    stamp: Stamp,
    sticky: bool,
    rack_change: RackChange,
}

/// Where it stands.
enum Step {
    Granted(Grant, Vec<Elsewhere>),
    /// It is refused as long as nothing changes elsewhere.
    Stays(Told),
    /// Something is to come first; the book's refusal, where it was asked.
    Waits(Option<AllocateError>),
}

impl Add {
    fn new(granting: Granting, settings: &Settings) -> Self {
        let Granting {
            request,
            policy,
            facts,
        } = granting;
        let identity = request.effective_identity();
        let sticky = match &facts {
            Some(facts) => facts.is_sticky_by(settings),
            // Nobody knows of the Pod, so its name decides.
            None => settings.holds(&request),
        };
        Self {
            identity,
            networks: request
                .interfaces
                .iter()
                .map(|interface| interface.network.clone())
                .collect(),
            stamp: request.pod_uid.as_ref().map(ToString::to_string),
            sticky,
            policy: facts
                .as_ref()
                .map_or(policy, |facts| facts.policy_by(settings)),
            rack_change: facts.map(|facts| facts.rack_change).unwrap_or_default(),
            request,
        }
    }

    fn need(&self) -> Need {
        Need {
            wanted: Wanted {
                identity: self.identity.clone(),
                networks: Some(self.networks.clone()),
                addresses: self
                    .request
                    .interfaces
                    .iter()
                    .flat_map(|interface| interface.addresses.iter().copied())
                    .collect(),
            },
            stamp: self.stamp.clone(),
            sticky: self.sticky,
        }
    }

    /// Whether all of it is here and known.
    async fn is_here(&self, ledger: &LedgerHandle) -> Result<bool, GrantError> {
        let ready = ledger.has_ready(self.identity.clone(), self.networks.clone());
        let ready = ready.await.map_err(LedgerError::Unavailable)?;
        Ok(ready)
    }

    async fn step(&self, shared: &Shared, ledger: &LedgerHandle) -> Result<Step, GrantError> {
        let mut elsewhere = Vec::new();
        if self.sticky && !self.is_here(ledger).await? {
            let search = shared
                .board()
                .search(&self.identity, &self.stamp, Instant::now());
            match search {
                Search::Open | Search::Coming(_) => return Ok(Step::Waits(None)),
                Search::Clear(found) => elsewhere = found,
            }
            if self.rack_change == RackChange::Wait
                && let Some(told) = self.stays(&elsewhere)
            {
                return Ok(Step::Stays(told));
            }
        }
        let granted = ledger.allocate(self.request.clone(), self.policy.clone());
        match granted.await {
            Ok(grant) => Ok(Step::Granted(grant, elsewhere)),
            Err(LedgerError::Refused(
                refused @ (AllocateError::Exhausted { .. }
                | AllocateError::Unclaimed { .. }
                | AllocateError::HalfCome { .. }),
            )) => Ok(Step::Waits(Some(refused))),
            Err(error) => Err(error.into()),
        }
    }

    /// The Pod says that it does not start in another rack than its address's.
    fn stays(&self, elsewhere: &[Elsewhere]) -> Option<Told> {
        let joins = |old: &&Elsewhere| self.networks.contains(&old.network);
        let old = elsewhere.iter().find(joins)?;
        let (identity, rack) = (&self.identity, &old.rack);
        Some(Told {
            cause: format!(
                "{identity} has address {} of rack {rack} (node {}), and its annotation berth.dev/rack-change says `wait`",
                old.address, old.node
            ),
            advice: format!(
                "let it run on a node of rack {rack}, release the address (`kubectl berth release {identity}`), or set the \
                 annotation to `new-address`"
            ),
        })
    }

    /// Why it was not granted in time.
    fn told(&self, shared: &Shared, refused: Option<AllocateError>) -> GrantError {
        let board = shared.board();
        if let Some(told) = board.told(&self.identity, &self.stamp, Instant::now()) {
            return told.into();
        }
        match refused {
            Some(AllocateError::Exhausted { network, rack, .. }) if board.short.contains(&network) => {
                GrantError::Waits {
                    cause: format!(
                        "no address of network {network} in rack {rack} is free for this node: every one of the pools is claimed \
                         by a node of the rack, and none was given"
                    ),
                    advice: "add a range to the pool, or release addresses that nobody needs (`kubectl berth pools`, \
                             `kubectl berth ips --held`)"
                        .to_owned(),
                }
            }
            Some(refused) => LedgerError::Refused(refused).into(),
            None => GrantError::Waits {
                cause: format!("who has addresses of {} is being asked", self.identity),
                advice: "nothing: the runtime tries again".to_owned(),
            },
        }
    }
}

impl From<Told> for GrantError {
    fn from(Told { cause, advice }: Told) -> Self {
        Self::Waits { cause, advice }
    }
}

impl PodFacts {
    /// Its policy, with what the rules say where it says nothing itself. Of a Pod that is known the name decides nothing.
    pub(super) fn policy_by(&self, settings: &Settings) -> PodPolicy {
        let rule = || settings.rule_hold(&self.pod);
        let hold = self.policy.hold.or_else(rule);
        PodPolicy {
            hold: hold.or_else(|| (!self.named).then_some(Hold::None)),
            owner: self.policy.owner.clone(),
        }
    }

    /// Whether its addresses are kept after it.
    pub(super) fn is_sticky_by(&self, settings: &Settings) -> bool {
        self.policy_by(settings).hold != Some(Hold::None)
    }
}
