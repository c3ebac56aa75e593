//! A refused call: why, in a form a program reads and in words for the operator.

use std::fmt;

use prost::Message;

use crate::v1::{self, Reason};

/// Why a call was refused. Travels in the details of the gRPC status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For programs.
    pub reason: Reason,
    /// What is the case, with names.
    pub message: String,
    /// What the operator does about it.
    pub advice: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if !self.advice.is_empty() {
            write!(f, "; {}", self.advice)?;
        }
        Ok(())
    }
}

impl std::error::Error for Refusal {}

impl Refusal {
    /// The refusal as a gRPC status of this code.
    pub fn into_status(self, code: tonic::Code) -> tonic::Status {
        let details = v1::Refusal {
            reason: self.reason.into(),
            message: self.message.clone(),
            advice: self.advice.clone(),
        }
        .encode_to_vec();
        tonic::Status::with_details(code, self.to_string(), details.into())
    }

    /// The refusal a status carries; `None` for a status that is not a refusal (transport, an older daemon).
    pub fn from_status(status: &tonic::Status) -> Option<Self> {
        let wire = v1::Refusal::decode(status.details()).ok()?;
        let reason = wire.reason();
        (reason != Reason::Unspecified).then_some(Self {
            reason,
            message: wire.message,
            advice: wire.advice,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_survives_the_status() {
        let refusal = Refusal {
            reason: Reason::Exhausted,
            message: "pool external-a has no free address".to_owned(),
            advice: "add a range".to_owned(),
        };
        let status = refusal.clone().into_status(tonic::Code::ResourceExhausted);
        assert_eq!(Refusal::from_status(&status), Some(refusal));
        assert_eq!(
            Refusal::from_status(&tonic::Status::unavailable("gone")),
            None
        );
    }
}
