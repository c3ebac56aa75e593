//! `status` and `reload`: the daemon's state, and its configuration read again.

use proto_ipam::v1::{self, Phase};
use serde::Serialize;

use super::client::Client;
use super::error::{Answer, CommandError};
use super::output::{Output, table};

#[derive(Serialize)]
struct Status {
    phase: &'static str,
    message: String,
    node: String,
    rack: String,
    version: String,
    capabilities: Vec<String>,
    refuse_when_exhausted: bool,
    networks_without_pool: Vec<String>,
    pools: Vec<PoolLine>,
}

#[derive(Serialize)]
struct PoolLine {
    pool: String,
    network: String,
    rack: String,
    subnet: String,
    capacity: u64,
    attached: u64,
    held: u64,
    quarantined: u64,
    conflicting: u64,
    free: u64,
}

#[derive(Serialize)]
struct Reloaded {
    changes: Vec<String>,
}

pub(super) async fn run(mut client: Client, output: Output) -> Result<Answer, CommandError> {
    let told = client.ipam.status(v1::StatusRequest::default()).await;
    let told = told
        .map_err(|status| CommandError::call("tell its status", &status))?
        .into_inner();
    let serving = told.phase() == Phase::Serving;
    let status = Status {
        phase: phase_word(told.phase()),
        message: told.message,
        node: told.node,
        rack: told.rack,
        version: told.version,
        capabilities: told.capabilities,
        refuse_when_exhausted: told.refuse_when_exhausted,
        networks_without_pool: told.networks_without_pool,
        pools: told.pools.into_iter().map(Into::into).collect(),
    };
    output.answer(&status, describe)?;
    Ok(Answer::when(serving))
}

pub(super) async fn reload(mut client: Client, output: Output) -> Result<Answer, CommandError> {
    let told = client.admin.reload(v1::ReloadRequest {}).await;
    let told = told.map_err(|status| CommandError::call("reload", &status))?;
    let reloaded = Reloaded {
        changes: told.into_inner().changes,
    };
    output.answer(&reloaded, |reloaded| {
        if reloaded.changes.is_empty() {
            return "nothing changed".to_owned();
        }
        reloaded.changes.join("\n")
    })?;
    Ok(Answer::Yes)
}

impl From<v1::PoolStatus> for PoolLine {
    fn from(wire: v1::PoolStatus) -> Self {
        Self {
            pool: wire.pool,
            network: wire.network,
            rack: wire.rack,
            subnet: wire.subnet,
            capacity: wire.capacity,
            attached: wire.attached,
            held: wire.held,
            quarantined: wire.quarantined,
            conflicting: wire.conflicting,
            free: wire.free,
        }
    }
}

const fn phase_word(phase: Phase) -> &'static str {
    match phase {
        Phase::Unspecified => "unknown",
        Phase::Serving => "serving",
        Phase::Recovering => "recovering",
        Phase::ReadOnly => "read-only",
        Phase::Damaged => "damaged",
        Phase::NoRack => "no-rack",
    }
}

fn describe(status: &Status) -> String {
    let capabilities = match status.capabilities.as_slice() {
        [] => "none".to_owned(),
        kept => kept.join(", "),
    };
    let mut text = format!(
        "node {}, rack {}, version {}\nphase {}{}\ncapabilities {capabilities}\n\n",
        status.node,
        if status.rack.is_empty() {
            "unknown"
        } else {
            &status.rack
        },
        status.version,
        status.phase,
        if status.message.is_empty() {
            String::new()
        } else {
            format!(": {}", status.message)
        },
    );
    let headings = [
        "POOL",
        "NETWORK",
        "RACK",
        "SUBNET",
        "CAPACITY",
        "ATTACHED",
        "HELD",
        "QUARANTINED",
        "CONFLICTING",
        "FREE",
    ];
    let rows = status.pools.iter().map(|pool| {
        [
            pool.pool.clone(),
            pool.network.clone(),
            pool.rack.clone(),
            pool.subnet.clone(),
            pool.capacity.to_string(),
            pool.attached.to_string(),
            pool.held.to_string(),
            pool.quarantined.to_string(),
            pool.conflicting.to_string(),
            pool.free.to_string(),
        ]
    });
    text.push_str(&table(headings, rows));
    text
}
