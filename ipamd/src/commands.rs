//! The operator's sub-commands. Each asks the running daemon through its socket; `list`, `who`, `why`, `fsck` and `export`
//! also read a store whose daemon is down.
//!
//! Never opens the store of a daemon that runs, and never changes a store itself: what changes the book goes through
//! the daemon. Answers go to stdout by [`output`] only, errors to stderr with what to do about them.

mod check_config;
mod client;
mod error;
mod fsck;
mod host_local;
mod list;
mod offline;
mod output;
mod record;
mod release;
mod reserve;
mod source;
mod status;
mod transfer;
mod who;
mod why;

use std::process::ExitCode;

use crate::args::{Args, Command};

pub(crate) use check_config::CheckConfigArgs;
pub(crate) use client::ClientArgs;
pub(crate) use fsck::FsckArgs;
pub(crate) use list::ListArgs;
use output::Output;
pub(crate) use output::print_error;
pub(crate) use release::ReleaseArgs;
pub(crate) use reserve::ReserveArgs;
pub(crate) use transfer::{ExportArgs, ImportArgs};
pub(crate) use who::WhoArgs;
pub(crate) use why::WhyArgs;

use client::Client;
use error::{Answer, CommandError};
use source::Source;

/// Runs a sub-command to its end. The exit code says how it went; see [`error`].
pub(crate) fn run(args: &Args, command: &Command) -> ExitCode {
    let output = Output::new(args.client.output);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| CommandError::Runtime { source });
    let outcome = runtime.and_then(|runtime| runtime.block_on(dispatch(args, command, output)));
    match outcome {
        Ok(answer) => answer.exit_code(),
        Err(error) => {
            print_error(&error);
            error.exit_code()
        }
    }
}

async fn dispatch(args: &Args, command: &Command, output: Output) -> Result<Answer, CommandError> {
    match command {
        // What lives on is started by `main`, before any runtime exists.
        Command::Run | Command::RelaySandboxes(_) => Ok(Answer::Yes),
        Command::CheckConfig(own) => check_config::run(own, args, output),
        Command::List(own) => list::run(own, Source::open(args).await?, output).await,
        Command::Who(own) => who::run(own, Source::open(args).await?, output).await,
        Command::Fsck(own) => fsck::run(own, Source::open(args).await?, output).await,
        Command::Export(own) => transfer::export(own, Source::open(args).await?).await,
        Command::Import(own) => transfer::import(own, args, output).await,
        Command::Why(own) => why::run(own, Source::open(args).await?, output).await,
        Command::Reserve(own) => reserve::run(own, Client::connect(args).await?, output).await,
        Command::Release(own) => release::run(own, Client::connect(args).await?, output).await,
        Command::Status => status::run(Client::connect(args).await?, output).await,
        Command::Reload => status::reload(Client::connect(args).await?, output).await,
    }
}
