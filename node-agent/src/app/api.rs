//! How the API server is reached: by a kubeconfig, or by what Kubernetes gives to a Pod. No call waits for ever, and none is tried
//! again by itself.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};

/// An API server that takes longer is away.
pub(super) const API_DEADLINE: Duration = Duration::from_secs(15);

/// A watch is told something every 60 to 75 seconds (bookmarks): one that is silent for longer has lost its connection. Single
/// calls of the controllers have deadlines of their own.
pub(super) const SILENCE_DEADLINE: Duration = Duration::from_secs(90);

/// Server and credentials, with a bound on every silence.
pub(super) async fn api_config(kubeconfig: Option<&Path>, silence: Duration) -> Result<Config> {
    let mut config = match kubeconfig {
        None => Config::incluster().context(
            "reading what Kubernetes gives to a Pod (environment and the token's volume); outside of a Pod give --kubeconfig",
        )?,
        Some(path) => {
            let refused = || {
                format!(
                    "reading {}; give --kubeconfig a file with which `kubectl --kubeconfig FILE get nodes` works",
                    path.display()
                )
            };
            let file = Kubeconfig::read_from(path).with_context(refused)?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                .await
                .with_context(refused)?
        }
    };
    config.connect_timeout = Some(API_DEADLINE);
    config.read_timeout = Some(silence);
    config.write_timeout = Some(API_DEADLINE);
    // Else the time that a connection was idle would count.
    config.reset_reader_on_write = true;
    // Who writes waits and tries again by a rule of its own.
    config.default_retry = false;
    Ok(config)
}
