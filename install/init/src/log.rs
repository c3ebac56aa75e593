//! Log lines on standard error, in the form and with the field names of the other daemons.
//!
//! The one place where an error is printed with its causes, and with what to do about it.

use std::io::{self, Write};

use clap::{Args, ValueEnum};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Flags of the log.
#[derive(Args, Clone, Debug)]
pub(crate) struct LogArgs {
    /// Form of the log on stderr
    #[arg(long, value_enum, default_value_t = LogFormat::Text, env = "BERTH_INSTALL_LOG_FORMAT", global = true)]
    log_format: LogFormat,
    /// What is logged: a level, or target=level pairs separated by commas
    #[arg(
        long,
        value_name = "FILTER",
        default_value = "info",
        env = "BERTH_INSTALL_LOG_FILTER",
        global = true
    )]
    log_filter: String,
}

/// Form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line, for collectors
    Json,
}

/// Sets up the log. Call once, first thing.
pub(crate) fn init(args: &LogArgs) -> anyhow::Result<()> {
    let filter: Targets = args.log_filter.parse().map_err(|error| {
        anyhow::Error::new(error).context(format!(
            "--log-filter {:?} is neither a level nor a list of target=level",
            args.log_filter
        ))
    })?;
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let layer = match args.log_format {
        LogFormat::Text => layer.with_ansi(false).with_filter(filter).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_filter(filter).boxed(),
    };
    tracing_subscriber::registry().with(layer).try_init()?;
    Ok(())
}

/// Says why there is no log.
pub(crate) fn complain(error: &anyhow::Error) {
    let _ = writeln!(io::stderr(), "berth-install: {error:#}");
}

/// An error with all its causes on one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Logs why the run failed, with what to do where the kernel's answer says it.
pub(crate) fn failure(error: &anyhow::Error) {
    let text = format!("{error:#}");
    if let Some(advice) = advice(error) {
        tracing::error!(error = text, advice, "failed");
    } else {
        tracing::error!(error = text, "failed");
    }
}

fn advice(error: &anyhow::Error) -> Option<&'static str> {
    let cause = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<io::Error>())?;
    match cause.kind() {
        io::ErrorKind::ReadOnlyFilesystem => Some(
            "the folder is read-only: mount it writable, or name another that the runtime reads too",
        ),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Some("make room on that file system; nothing in place was changed by this step")
        }
        io::ErrorKind::PermissionDenied => {
            Some("run it as root, with the folder mounted from the node")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_the_kernel_that_a_person_can_act_upon_have_advice() {
        for (number, word) in [(30, "read-only"), (28, "room"), (13, "root")] {
            let error = anyhow::Error::new(io::Error::from_raw_os_error(number)).context("write");
            assert!(advice(&error).unwrap().contains(word), "{number}");
        }
        assert_eq!(advice(&anyhow::anyhow!("plain")), None);
    }
}
