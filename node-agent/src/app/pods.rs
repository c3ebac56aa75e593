//! The watch of the node's Pods, and the recovery guard, which follows from it and from when the API server was heard.

use ipamd_daemon::Tasks;
use kube::Client;

use crate::args::Args;
use crate::contact::Contact;
use crate::guard::{Guard, spawn_guard};
use crate::health::Watched;
use crate::metrics::Metrics;
use crate::pods::spawn_pods;

/// Starts to watch, and to guard where a helper is named.
pub(super) fn watch_pods(args: &Args, tasks: &Tasks, metrics: &Metrics, client: Client) -> Watched {
    let contact = Contact::new();
    let pods = spawn_pods(tasks, client, &args.node, contact.clone());
    let storms = args.guard.socket.clone().map(|socket| {
        let guard = Guard {
            socket,
            pods: pods.clone(),
            contact: contact.clone(),
            own: args.health.daemons.pod_uid.clone(),
            metrics: metrics.guard.clone(),
        };
        spawn_guard(tasks, guard)
    });
    Watched {
        pods,
        storms,
        contact,
    }
}
