//! Every way in which a call can fail, and the one place where that becomes a CNI error: code, message, details.
//!
//! Codes below 100 are the specification's. Those from 100 are ours and are listed in `cni/README.md`, with what an
//! operator does about each; none is ever given another meaning.

use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

use cni_datapath::check::CheckError;
use cni_datapath::fault::Fault;
use cni_datapath::netns::{EnterNetnsError, OpenNetnsError};
use cni_datapath::node_address::ObserveNodeAddressesError;
use cni_datapath::ports::ObservePortsError;
use cni_datapath::segment::{EnsureSegmentError, ObserveSegmentError};
use cni_datapath::unwire::UnwireErrors;
use cni_datapath::wire::WireError;
use cni_spec::{CniVersion, Failure, ParseConfError, ParseEnvironmentError, SpecCode};
use proto_ids::{IfName, NetworkName};
use proto_ipam::v1::Reason;

use crate::ipam::AskIpamdError;
use crate::spool::LeaveTombstoneError;

/// Berth's own codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub(crate) enum OwnCode {
    Exhausted = 100,
    AddressTaken = 101,
    AddressConflict = 102,
    NoPool = 103,
    UplinkMissing = 104,
    NeedsTakeOver = 105,
    UplinkConflict = 106,
    TakeOverRolledBack = 107,
    InterfaceExists = 108,
    Kernel = 109,
    BookDiffers = 110,
    KernelDiffers = 111,
    StoreDamaged = 112,
    AddressOutside = 113,
    MacTaken = 114,
    AlreadyAttached = 115,
    DaemonAnswer = 116,
}

impl From<OwnCode> for u32 {
    fn from(code: OwnCode) -> Self {
        code as Self
    }
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The environment.
    #[error(transparent)]
    Environment(ParseEnvironmentError),
    /// Standard input could not be read.
    #[error("read the network configuration from standard input")]
    ReadStdin {
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Standard input does not end.
    #[error("network configuration is longer than {limit_bytes} bytes")]
    LongStdin {
        /// The limit.
        limit_bytes: u64,
    },
    /// The configuration, or what is asked in it.
    #[error(transparent)]
    Conf(#[from] ParseConfError),
    /// A previous result where there must be none.
    #[error("prevResult is given: berth must be the first plugin of its chain")]
    NotFirst,
    /// No previous result where there must be one.
    #[error("Required prevResult missing")]
    PrevResultMissing,
    /// The container's namespace is ours.
    #[error("CNI_NETNS {path:?} is the network namespace of the plugin itself")]
    OwnNetns {
        /// The path.
        path: PathBuf,
    },
    /// The container's namespace cannot be used.
    #[error("open the container's network namespace")]
    OpenNetns {
        /// Why.
        #[source]
        source: OpenNetnsError,
    },
    /// The namespace of the plugin itself cannot be told from the container's.
    #[error("open the plugin's own network namespace")]
    OpenOwnNetns {
        /// Why.
        #[source]
        source: OpenNetnsError,
    },
    /// The container's namespace cannot be entered.
    #[error("look at the container's interfaces")]
    EnterNetns {
        /// Why.
        #[source]
        source: EnterNetnsError,
    },
    /// The container's interfaces cannot be listed.
    #[error("list the container's interfaces")]
    ListInterfaces {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An interface of a wanted name is there and is not ours.
    #[error("interface {ifname} exists in the container already")]
    InterfaceExists {
        /// Its name.
        ifname: IfName,
    },
    /// All of the attachment is there.
    #[error("container veth name ({ifname}) already exists: this attachment is wired already")]
    AlreadyWired {
        /// `CNI_IFNAME`
        ifname: IfName,
    },
    /// A network's bridge does not stand.
    #[error("prepare network {network}")]
    Segment {
        /// The network.
        network: NetworkName,
        /// Why.
        #[source]
        source: EnsureSegmentError,
    },
    /// A network's bridge could not be looked at.
    #[error("look at network {network}")]
    ObserveSegment {
        /// The network.
        network: NetworkName,
        /// Why.
        #[source]
        source: ObserveSegmentError,
    },
    /// The node's own addresses could not be found.
    #[error("find the node's addresses")]
    NodeAddresses {
        /// Why.
        #[source]
        source: ObserveNodeAddressesError,
    },
    /// ipamd.
    #[error("{doing}")]
    Ipamd {
        /// What was asked of it.
        doing: &'static str,
        /// Why not.
        #[source]
        source: AskIpamdError,
    },
    /// Neither ipamd nor the spool took a release.
    #[error("leave a note of the release for berth-ipamd")]
    Tombstone {
        /// Why.
        #[source]
        source: LeaveTombstoneError,
    },
    /// The wiring failed and is undone.
    #[error("wire the container")]
    Wire {
        /// Why.
        #[source]
        source: WireError,
    },
    /// Links could not be removed.
    #[error("remove the container's interfaces")]
    Unwire(#[source] UnwireErrors),
    /// The host-side ports could not be listed.
    #[error("list the host-side ports")]
    Ports {
        /// Why.
        #[source]
        source: ObservePortsError,
    },
    /// The kernel could not be compared.
    #[error("compare the kernel with the result")]
    Check {
        /// Why.
        #[source]
        source: CheckError,
    },
    /// The kernel is not as the result says.
    #[error("the container's network is not as it was made: {}", differences.join("; "))]
    Drift {
        /// Every difference.
        differences: Vec<String>,
    },
    /// No ADD could succeed.
    #[error("{}", reasons.join("; "))]
    Unavailable {
        /// 50 or 51.
        code: SpecCode,
        /// Every reason.
        reasons: Vec<String>,
    },
    /// Several things failed, and everything was tried.
    #[error("{}", joined(.0))]
    Several(Vec<Self>),
}

fn joined(errors: &[CallError]) -> String {
    let texts: Vec<_> = errors.iter().map(|error| chain(error)).collect();
    texts.join("; ")
}

/// An error with all its causes, outermost first.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

fn of_fault(fault: Fault) -> u32 {
    match fault {
        Fault::NetnsMissing => SpecCode::UnknownContainer.into(),
        Fault::UplinkMissing => OwnCode::UplinkMissing.into(),
        Fault::NeedsTakeOver => OwnCode::NeedsTakeOver.into(),
        Fault::UplinkConflict => OwnCode::UplinkConflict.into(),
        Fault::RolledBack => OwnCode::TakeOverRolledBack.into(),
        Fault::IfnameExists => OwnCode::InterfaceExists.into(),
        Fault::Kernel => OwnCode::Kernel.into(),
        Fault::Busy => SpecCode::TryAgainLater.into(),
    }
}

fn of_ipamd(error: &AskIpamdError) -> u32 {
    match error {
        AskIpamdError::Away { .. }
        | AskIpamdError::Silent { .. }
        | AskIpamdError::Unfinished(_)
        | AskIpamdError::Broken { .. } => SpecCode::TryAgainLater.into(),
        AskIpamdError::Start { .. } => SpecCode::Io.into(),
        AskIpamdError::Call { .. } | AskIpamdError::Skew(_) | AskIpamdError::Answer(_) => {
            OwnCode::DaemonAnswer.into()
        }
        AskIpamdError::Refused(refusal) => match refusal.reason {
            Reason::InvalidRequest => SpecCode::InvalidConfig.into(),
            Reason::NoPool => OwnCode::NoPool.into(),
            Reason::Exhausted => OwnCode::Exhausted.into(),
            Reason::AddressTaken => OwnCode::AddressTaken.into(),
            Reason::AddressOutside => OwnCode::AddressOutside.into(),
            Reason::AddressConflict => OwnCode::AddressConflict.into(),
            Reason::MacTaken => OwnCode::MacTaken.into(),
            Reason::AlreadyAttached => OwnCode::AlreadyAttached.into(),
            // A full disk is emptied by somebody, and the daemon goes on by itself.
            Reason::Recovering | Reason::StoreUnavailable | Reason::Busy => {
                SpecCode::TryAgainLater.into()
            }
            Reason::StoreDamaged => OwnCode::StoreDamaged.into(),
            Reason::Mismatch | Reason::NotFound => OwnCode::BookDiffers.into(),
            Reason::Unspecified | Reason::VersionSkew => OwnCode::DaemonAnswer.into(),
        },
    }
}

impl CallError {
    fn code(&self) -> u32 {
        match self {
            Self::Environment(_) | Self::OwnNetns { .. } => SpecCode::InvalidEnvironment.into(),
            Self::ReadStdin { .. } | Self::LongStdin { .. } | Self::Tombstone { .. } => {
                SpecCode::Io.into()
            }
            Self::Conf(error) => error.code().into(),
            Self::NotFirst | Self::PrevResultMissing => SpecCode::InvalidConfig.into(),
            Self::OpenNetns { source } => of_fault(source.fault()),
            Self::OpenOwnNetns { .. } | Self::EnterNetns { .. } | Self::ListInterfaces { .. } => {
                OwnCode::Kernel.into()
            }
            Self::InterfaceExists { .. } | Self::AlreadyWired { .. } => {
                OwnCode::InterfaceExists.into()
            }
            Self::Segment { source, .. } => of_fault(source.fault()),
            Self::ObserveSegment { .. } | Self::NodeAddresses { .. } => OwnCode::Kernel.into(),
            Self::Ipamd { source, .. } => of_ipamd(source),
            Self::Wire { source } => of_fault(source.fault()),
            Self::Unwire(errors) => of_fault(errors.fault()),
            Self::Ports { source } => of_fault(source.fault()),
            Self::Check { source } => of_fault(source.fault()),
            Self::Drift { .. } => OwnCode::KernelDiffers.into(),
            Self::Unavailable { code, .. } => (*code).into(),
            Self::Several(errors) => errors
                .first()
                .map_or_else(|| OwnCode::Kernel.into(), Self::code),
        }
    }

    fn advice(&self) -> Option<String> {
        match self {
            Self::Conf(error) => error.advice(),
            Self::OwnNetns { .. } => Some(
                "the runtime must make a namespace for the container; set CNI_NETNS_OVERRIDE=1 to test on this one"
                    .to_owned(),
            ),
            Self::InterfaceExists { .. } => Some(
                "another plugin or configuration made it: give the configurations different interface names".to_owned(),
            ),
            Self::AlreadyWired { .. } => Some("call DEL before the next ADD".to_owned()),
            Self::Ipamd { source, .. } => source.advice().map(str::to_owned),
            _ => None,
        }
        .filter(|advice| !advice.is_empty())
    }

    /// The error as the runtime gets it.
    pub(crate) fn failure(&self, version: Option<CniVersion>) -> Failure {
        Failure::new(
            version,
            self.code(),
            chain(self),
            self.advice().unwrap_or_default(),
        )
    }
}

/// The error object as text.
pub(crate) fn to_json(failure: &Failure) -> String {
    // Texts and a number: nothing serde_json could refuse.
    serde_json::to_string(failure).unwrap_or_default()
}

#[cfg(test)]
mod tests;
