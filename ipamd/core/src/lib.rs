//! The address book of one node, as pure decisions: who may have which address, and since when.
//!
//! **Observe, plan, apply.** Every verb of [`Book`] (`allocate`, `release`, `collect`, `expire`, `reserve`, `free`,
//! `conflict`, `reboot`, `adopt`, …) reads the book and answers a plan: what to tell the caller, and the [`Change`]s that
//! make it true. The caller stores the changes durably, then gives them to [`Book::apply`], the only mutation.
//! [`Book::restore`] builds the same book from the stored [`Record`]s.
//!
//! **Always holds.** An address has at most one holder; a binding's addresses and MAC never change while it lives; no
//! address is handed out before its quarantine ends, except back to the identity that left it.
//!
//! **Never does.** No IO, no clock, no async: the caller says what time it is.

mod adopt;
mod allocate;
mod binding;
mod book;
mod change;
mod check;
mod claim;
mod collect;
mod conflict;
mod draft;
mod expire;
#[cfg(test)]
mod fixture;
mod free;
mod garbage;
mod policy;
mod pool;
mod probe;
mod rack;
mod range;
mod reconfigure;
mod refusal;
mod release;
mod reserve;
mod rule;
mod settings;
mod status;
mod story;
mod time;
mod view;

pub use adopt::{AdoptError, AdoptPlan, AdoptedInterface};
pub use allocate::{AllocateError, AllocatePlan};
pub use binding::{BindingRecord, BindingState, Origin};
pub use book::{Book, Contradiction, RestoreError};
pub use change::{
    AddressRecord, AddressUse, AuditEntry, Change, ConflictRecord, Ended, Former, Record, RecordKey,
};
pub use check::{CheckError, CheckedInterface, Difference};
pub use claim::{
    ANSWER_LIMIT, ASK_SETTLES, Claim, ClaimAhead, ClaimContent, ClaimPlan, ClaimRecord, ClaimWait,
    ClaimWrite, ClaimedBinding, FENCE_SETTLES, Holding, Sight, Tenure, Wishes,
};
pub use collect::CollectPlan;
pub use conflict::{ConflictPlan, Sighting};
pub use expire::ExpirePlan;
pub use free::{FreeError, FreePlan, FreeRequest};
pub use garbage::{Doubts, EndedAttachment, GarbagePlan, Look, Patience, Sandbox};
pub use policy::{Owner, PodPolicy};
pub use pool::Pool;
pub use probe::ProbeCandidate;
pub use rack::{NodeRack, RackUnknown, Unplaced, label_command};
pub use range::{AddressRange, Family, ParseRangeError};
pub use reconfigure::{Displaced, ReconfigureError, ReconfigurePlan};
pub use refusal::{Holder, Reason};
pub use release::ReleasePlan;
pub use reserve::{ReserveError, ReservePlan, ReserveRequest};
pub use rule::{Hold, ParseHoldError, ParsePatternError, Pattern, Rule};
pub use settings::{Settings, SettingsError, Subject, ValidSettings, objections};
pub use status::PoolStatus;
pub use time::{ParseTimestampError, Timestamp};
pub use view::{BindingView, ListFilter, ParseStateError, ViewState};
