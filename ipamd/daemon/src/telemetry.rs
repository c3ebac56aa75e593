//! Structured logs on stderr, and the flags that shape them. stdout is never written here.
//!
//! A panic is logged like any other error, so that a collector that reads JSON lines sees it too.

use clap::{Args, ValueEnum};
use tracing::error;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// Flags of the log.
#[derive(Args, Clone, Debug)]
pub struct TelemetryArgs {
    /// Form of the log on stderr
    #[arg(long, value_enum, default_value_t = LogFormat::Text, global = true)]
    pub log_format: LogFormat,

    /// What is logged: a level, or target=level pairs separated by commas
    #[arg(long, value_name = "FILTER", default_value = "info", global = true)]
    pub log_filter: String,
}

/// Form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line, for collectors
    Json,
}

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum InitTelemetryError {
    /// `--log-filter` is not a filter.
    #[error("--log-filter {filter:?} is neither a level nor a list of target=level")]
    ParseFilter {
        /// The flag's value.
        filter: String,
        /// Where it is wrong.
        #[source]
        source: ParseError,
    },
    /// The process has a log already.
    #[error("setting up the log")]
    Install {
        /// Who was first.
        #[source]
        source: TryInitError,
    },
}

/// Sets up the process's log and the panic hook. Call once, first thing.
///
/// # Errors
/// When the filter does not parse, or a log was set up before.
pub fn init(args: &TelemetryArgs) -> Result<(), InitTelemetryError> {
    // Targets, not EnvFilter: nobody filters a daemon's log by field values, and a regex engine stays out of the binary.
    let filter: Targets =
        args.log_filter
            .parse()
            .map_err(|source| InitTelemetryError::ParseFilter {
                filter: args.log_filter.clone(),
                source,
            })?;
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let layer = match args.log_format {
        LogFormat::Text => layer.with_ansi(false).with_filter(filter).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_filter(filter).boxed(),
    };
    tracing_subscriber::registry()
        .with(layer)
        .try_init()
        .map_err(|source| InitTelemetryError::Install { source })?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

fn log_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let payload = panic.payload();
    let message = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a payload that is not text");
    let location = panic.location().map(ToString::to_string);
    let thread = std::thread::current();
    error!(
        error = message,
        location = location.as_deref(),
        thread = thread.name(),
        "panic"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_filter_is_refused_by_name() {
        let args = TelemetryArgs {
            log_format: LogFormat::Text,
            log_filter: "ipamd=loud".to_owned(),
        };
        let error = init(&args).unwrap_err();
        assert!(
            error.to_string().contains("--log-filter \"ipamd=loud\""),
            "{error}"
        );
    }
}
