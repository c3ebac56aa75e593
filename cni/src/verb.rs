//! One file per verb, and the choice among them. Every verb is given what was parsed, and returns one text or one error.

mod add;
mod check;
mod container;
mod del;
mod delegate;
mod gc;
mod status;
mod version;

use cni_datapath::segment::Node;
use cni_spec::{Call, CniVersion, Daemon, Document, Failure};

pub(crate) use add::Lingering;

use crate::error::CallError;
use crate::request::{self, Role};

/// What a call is answered with.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// Printed on standard output; empty where the verb has no result.
    pub(crate) output: String,
    /// What must outlive the printing.
    pub(crate) lingering: Lingering,
}

impl From<String> for Answer {
    fn from(output: String) -> Self {
        Self {
            output,
            lingering: Lingering::default(),
        }
    }
}

/// Runs the call that environment and standard input describe.
///
/// # Errors
/// The error object that the runtime gets.
pub(crate) fn answer(role: Role) -> Result<Answer, Failure> {
    let call = request::call().map_err(|error| error.failure(None))?;
    if call == Call::Version {
        return Ok(version::run().into());
    }
    let document = request::document();
    let version: Option<CniVersion> = document.as_ref().ok().and_then(Document::version);
    run(role, &call, document).map_err(|error| error.failure(version))
}

fn run(
    role: Role,
    call: &Call,
    document: Result<Document, CallError>,
) -> Result<Answer, CallError> {
    let done = |()| Answer::default();
    match (call, role) {
        (Call::Add(target), Role::Plugin) => add::run(target, &document?),
        (Call::Add(target), Role::Ipam) => delegate::add(target, &document?).map(Answer::from),
        (Call::Check(target), Role::Plugin) => check::run(target, &document?).map(done),
        (Call::Check(target), Role::Ipam) => delegate::check(target, &document?).map(done),
        (Call::Del(ended), role) => del::run(role, ended, document).map(done),
        (Call::Gc, role) => gc::run(role, &document?).map(done),
        (Call::Status, role) => status::run(role, &document?).map(done),
        (Call::Version, _) => Ok(version::run().into()),
    }
}

/// Where this node keeps lock and snapshots, with the configuration's deadline.
pub(crate) fn node(daemon: &Daemon) -> Node {
    Node {
        gateway_deadline: daemon.gateway,
        ..Node::default()
    }
}
