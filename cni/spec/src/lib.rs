//! The CNI specification in checked types: what a runtime sends (environment, configuration, previous result) and what
//! a plugin answers (result, error, versions), in every version Berth speaks.
//!
//! Holds no IO: bytes and variables come in, values come out. Everything a runtime sends is untrusted and is parsed
//! once, here. Nothing here knows bridges, sockets or ipamd.

pub mod asked;
pub mod cni_args;
pub mod delegate;
pub mod document;
pub mod environment;
pub mod failure;
pub mod net_conf;
mod object;
pub mod result;
pub mod version;

pub use asked::{AnnotationKey, Asked};
pub use cni_args::{CniArgs, ParseArgsError};
pub use delegate::DelegateConf;
pub use document::{Daemon, Document, Header, ParseConfError};
pub use environment::{Call, Ended, ParseEnvironmentError, Target};
pub use failure::{Failure, SpecCode};
pub use net_conf::{NetConf, Network, NodeReach, UplinkMode, VlanMode};
pub use result::{CniResult, ParseResultError, ResultInterface, ResultIp, ResultRoute};
pub use version::{CniVersion, Verb};
