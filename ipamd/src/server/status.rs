//! From why something is refused to what the caller is told: gRPC code, reason, cause, advice.

use std::error::Error;
use std::fmt;

use ipamd_core::{AllocateError, CheckError, FreeError, ReconfigureError, ReserveError};
use ipamd_daemon::chain;
use proto_ipam::convert::ConvertError;
use proto_ipam::refusal::Refusal;
use proto_ipam::v1::Reason;
use tonic::{Code, Status};

use super::pod::FollowPodError;
use crate::ledger::document::ImportError;
use crate::ledger::{LedgerError, Unavailable};
use crate::reload::ReloadError;
use crate::sync::GrantError;

/// A call that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused(Refusal);

impl Refused {
    fn new(reason: Reason, error: &(dyn Error + 'static), advice: impl Into<String>) -> Self {
        Self(Refusal {
            reason,
            message: chain(error),
            advice: advice.into(),
        })
    }

    /// A field that is not what the contract says.
    pub(crate) fn field(field: &'static str, problem: impl fmt::Display) -> Self {
        ConvertError {
            field,
            problem: problem.to_string(),
        }
        .into()
    }

    /// For programs.
    pub(crate) const fn reason(&self) -> Reason {
        self.0.reason
    }

    /// Whether the caller's request is the cause, not the state of daemon or node.
    pub(crate) const fn is_callers(&self) -> bool {
        !matches!(
            code(self.0.reason),
            Code::Unavailable | Code::DataLoss | Code::ResourceExhausted | Code::Internal
        ) && !matches!(self.0.reason, Reason::VersionSkew)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Refused> for Status {
    fn from(refused: Refused) -> Self {
        let code = code(refused.0.reason);
        refused.0.into_status(code)
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        refused.0
    }
}

/// The gRPC code of a reason: what a client without our contract makes of it.
const fn code(reason: Reason) -> Code {
    match reason {
        Reason::InvalidRequest => Code::InvalidArgument,
        Reason::NotFound => Code::NotFound,
        Reason::Exhausted => Code::ResourceExhausted,
        Reason::AddressOutside => Code::OutOfRange,
        Reason::AddressTaken | Reason::MacTaken | Reason::AlreadyAttached => Code::AlreadyExists,
        Reason::NoPool | Reason::AddressConflict | Reason::Mismatch | Reason::VersionSkew => {
            Code::FailedPrecondition
        }
        Reason::Recovering | Reason::Busy | Reason::StoreUnavailable => Code::Unavailable,
        Reason::StoreDamaged => Code::DataLoss,
        Reason::Unspecified => Code::Internal,
    }
}

const fn wire(reason: ipamd_core::Reason) -> Reason {
    match reason {
        ipamd_core::Reason::InvalidRequest => Reason::InvalidRequest,
        ipamd_core::Reason::NoPool => Reason::NoPool,
        ipamd_core::Reason::NotYet => Reason::Recovering,
        ipamd_core::Reason::Exhausted => Reason::Exhausted,
        ipamd_core::Reason::AddressTaken => Reason::AddressTaken,
        ipamd_core::Reason::AddressOutside => Reason::AddressOutside,
        ipamd_core::Reason::AddressConflict => Reason::AddressConflict,
        ipamd_core::Reason::MacTaken => Reason::MacTaken,
        ipamd_core::Reason::AlreadyAttached => Reason::AlreadyAttached,
        ipamd_core::Reason::Mismatch => Reason::Mismatch,
        ipamd_core::Reason::NotFound => Reason::NotFound,
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}

impl From<ConvertError> for Refused {
    fn from(error: ConvertError) -> Self {
        let advice = "correct the request; where the caller is berth, plugin and daemon may be of different versions";
        Self::new(Reason::InvalidRequest, &error, advice)
    }
}

impl From<Unavailable> for Refused {
    fn from(error: Unavailable) -> Self {
        let reason = match &error {
            Unavailable::Busy => Reason::Busy,
            Unavailable::Ended | Unavailable::Recovering { .. } => Reason::Recovering,
            Unavailable::DiskFull { .. } | Unavailable::StoreFailing { .. } => {
                Reason::StoreUnavailable
            }
            Unavailable::StoreDamaged { .. } => Reason::StoreDamaged,
        };
        Self::new(reason, &error, error.advice())
    }
}

impl From<AllocateError> for Refused {
    fn from(error: AllocateError) -> Self {
        Self::new(wire(error.reason()), &error, error.advice())
    }
}

impl From<CheckError> for Refused {
    fn from(error: CheckError) -> Self {
        Self::new(wire(error.reason()), &error, error.advice())
    }
}

impl From<ReserveError> for Refused {
    fn from(error: ReserveError) -> Self {
        Self::new(wire(error.reason()), &error, error.advice())
    }
}

impl From<FreeError> for Refused {
    fn from(error: FreeError) -> Self {
        Self::new(wire(error.reason()), &error, error.advice())
    }
}

impl From<ReconfigureError> for Refused {
    fn from(error: ReconfigureError) -> Self {
        Self::new(Reason::InvalidRequest, &error, error.advice())
    }
}

impl From<ImportError> for Refused {
    fn from(error: ImportError) -> Self {
        let advice = "give a document that `berth-ipamd export` of this or an older version wrote";
        Self::new(Reason::InvalidRequest, &error, advice)
    }
}

impl From<GrantError> for Refused {
    fn from(error: GrantError) -> Self {
        match error {
            GrantError::Ledger(error) => error.into(),
            GrantError::Waits { ref advice, .. } => {
                Self::new(Reason::Recovering, &error, advice.clone())
            }
        }
    }
}

impl From<FollowPodError> for Refused {
    fn from(error: FollowPodError) -> Self {
        Self::new(wire(error.reason()), &error, error.advice())
    }
}

impl From<ReloadError> for Refused {
    fn from(error: ReloadError) -> Self {
        match error {
            ReloadError::Unavailable(unavailable) => unavailable.into(),
            error => Self::new(Reason::InvalidRequest, &error, error.advice()),
        }
    }
}

impl<E: Error + Into<Self>> From<LedgerError<E>> for Refused {
    fn from(error: LedgerError<E>) -> Self {
        match error {
            LedgerError::Refused(error) => error.into(),
            LedgerError::Unavailable(unavailable) => unavailable.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_of_the_ledger_has_code_reason_and_advice() {
        let message = || "x".to_owned();
        let cases = [
            (Unavailable::Busy, Code::Unavailable, Reason::Busy),
            (Unavailable::Ended, Code::Unavailable, Reason::Recovering),
            (
                Unavailable::Recovering { message: message() },
                Code::Unavailable,
                Reason::Recovering,
            ),
            (
                Unavailable::DiskFull { message: message() },
                Code::Unavailable,
                Reason::StoreUnavailable,
            ),
            (
                Unavailable::StoreFailing { message: message() },
                Code::Unavailable,
                Reason::StoreUnavailable,
            ),
            (
                Unavailable::StoreDamaged { message: message() },
                Code::DataLoss,
                Reason::StoreDamaged,
            ),
        ];
        for (unavailable, code, reason) in cases {
            let status = Status::from(Refused::from(unavailable));
            let refusal = Refusal::from_status(&status).unwrap();
            assert_eq!((status.code(), refusal.reason), (code, reason));
            assert!(!refusal.advice.is_empty(), "{reason:?}");
        }
    }

    #[test]
    fn refusal_of_the_book_keeps_cause_and_advice() {
        let error = AllocateError::AddressTaken {
            address: "10.20.1.100".parse().unwrap(),
            network: "external".parse().unwrap(),
            holder: ipamd_core::Holder::Held {
                identity: "prod/db-0".parse().unwrap(),
                until: None,
            },
        };
        let status = Status::from(Refused::from(LedgerError::Refused(error)));
        assert_eq!(status.code(), Code::AlreadyExists);
        let refusal = Refusal::from_status(&status).unwrap();
        assert_eq!(refusal.reason, Reason::AddressTaken);
        assert!(refusal.message.contains("held for prod/db-0"), "{refusal}");
        assert!(!refusal.advice.is_empty());
    }

    #[test]
    fn bad_field_is_an_invalid_argument_that_names_it() {
        let refused = Refused::field("address", "is not an address");
        assert!(refused.is_callers());
        let status = Status::from(refused);
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().starts_with("address: is not an address"));
    }
}
