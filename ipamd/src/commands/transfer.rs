//! `export` and `import`: the whole book as a document, and bindings taken over from an export or from host-local.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::{Args as ClapArgs, ValueEnum};
use ipamd_core::Record;
use proto_ids::{CniNetworkName, NetworkName, RackName};
use proto_ipam::v1;
use serde::Serialize;

use super::client::Client;
use super::error::{Answer, CommandError};
use super::host_local::{self, Take};
use super::output::{Output, raw};
use super::source::Source;
use crate::args::Args;
use crate::ledger::document::Document;

/// Where an export goes.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct ExportArgs {
    /// The file, written whole or not at all; default: stdout
    file: Option<PathBuf>,
}

/// What is taken over.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct ImportArgs {
    /// What is read
    #[arg(long, value_enum, value_name = "KIND")]
    from: Kind,

    /// The file of an export, or host-local's folder of one network, such as /var/lib/cni/networks/NAME
    path: PathBuf,

    /// Berth's network that host-local's addresses belong to
    #[arg(long, required_if_eq("from", "host-local"))]
    network: Option<NetworkName>,

    /// Name of the CNI configuration the Pods were added with; default: the name of host-local's folder
    #[arg(long, value_name = "NAME")]
    cni_network: Option<CniNetworkName>,

    /// libcni's cache of results: tells which Pod a container is
    #[arg(long, value_name = "FOLDER", default_value = "/var/lib/cni/results")]
    results: PathBuf,

    /// Say what would happen, and change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// The files of the host-local IPAM plugin
    HostLocal,
    /// What `berth-ipamd export` wrote
    Export,
}

#[derive(Serialize)]
struct Outcome {
    imported: u64,
    refused: Vec<String>,
    dry_run: bool,
    /// Addresses of the book that are in no configured pool: kept, but never handed out again.
    in_no_pool: Vec<String>,
}

pub(super) async fn export(args: &ExportArgs, mut source: Source) -> Result<Answer, CommandError> {
    let mut document = source.export().await?;
    document.push('\n');
    match &args.file {
        None => raw(&document)?,
        Some(path) => write_whole(path, &document).map_err(|source| CommandError::File {
            doing: "writing",
            path: path.clone(),
            source,
        })?,
    }
    Ok(Answer::Yes)
}

/// Writes aside and renames, so that a full disk leaves the last export as it was.
fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut aside = name.to_owned();
    aside.push(".new");
    let aside = path.with_file_name(aside);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&aside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&aside, path)?;
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

pub(super) async fn import(
    own: &ImportArgs,
    args: &Args,
    output: Output,
) -> Result<Answer, CommandError> {
    let mut client = Client::connect(args).await?;
    let document = match own.from {
        Kind::Export => fs::read_to_string(&own.path).map_err(|source| CommandError::File {
            doing: "reading",
            path: own.path.clone(),
            source,
        })?,
        Kind::HostLocal => from_host_local(own, &mut client).await?,
    };
    let request = v1::ImportRequest {
        document,
        dry_run: own.dry_run,
    };
    let told = client.admin.import(request).await;
    let told = told
        .map_err(|status| CommandError::call("import", &status))?
        .into_inner();
    let imported = Outcome {
        imported: told.imported,
        refused: told.refused,
        dry_run: own.dry_run,
        in_no_pool: in_no_pool(&mut client).await?,
    };
    output.answer(&imported, describe)?;
    Ok(Answer::when(imported.refused.is_empty()))
}

async fn in_no_pool(client: &mut Client) -> Result<Vec<String>, CommandError> {
    let listed = client.admin.list(v1::ListRequest::default()).await;
    let listed = listed.map_err(|status| CommandError::call("list", &status))?;
    let bindings = listed.into_inner().bindings.into_iter();
    let strays = bindings.filter(|binding| binding.pool.is_empty());
    Ok(strays.map(|binding| binding.address).collect())
}

fn describe(imported: &Outcome) -> String {
    let count = imported.imported;
    if imported.refused.is_empty() {
        let verb = if imported.dry_run {
            "would be taken over"
        } else {
            "taken over"
        };
        let mut text = format!("{count} records {verb}");
        if !imported.in_no_pool.is_empty() {
            text.push_str("\nin no configured pool, so kept but never handed out again: ");
            text.push_str(&imported.in_no_pool.join(", "));
        }
        return text;
    }
    format!(
        "nothing taken over; {} contradict the book:\n{}",
        imported.refused.len(),
        imported.refused.join("\n")
    )
}

async fn from_host_local(own: &ImportArgs, client: &mut Client) -> Result<String, CommandError> {
    let status = client.ipam.status(v1::StatusRequest::default()).await;
    let status = status
        .map_err(|status| CommandError::call("tell its status", &status))?
        .into_inner();
    let unreadable = |error: &dyn std::fmt::Display| {
        CommandError::call("tell its rack", &tonic::Status::internal(error.to_string()))
    };
    let rack: RackName = status.rack.parse().map_err(|error| unreadable(&error))?;
    // clap asks for the network with host-local.
    let network = own.network.clone().ok_or(CommandError::NetworkMissing)?;
    let bindings = host_local::read(&Take {
        folder: &own.path,
        results: &own.results,
        cni_network: own.cni_network.as_ref(),
        network: &network,
        rack: &rack,
    })?;
    let records = bindings.into_iter().map(Record::Binding).collect();
    serde_json::to_string(&Document::new(records, SystemTime::now().into())).map_err(|source| {
        CommandError::Write {
            source: source.into(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn export_replaces_the_last_one_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("book.json");
        write_whole(&path, "one").unwrap();
        write_whole(&path, "two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
