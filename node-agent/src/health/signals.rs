//! Where signals come from: one module each, which looks (IO) and says what the look means (pure).

pub(in crate::health) mod addresses;
pub(in crate::health) mod book;
pub(in crate::health) mod certificates;
pub(in crate::health) mod clock;
pub(in crate::health) mod conntrack;
pub(in crate::health) mod disk_write;
pub(in crate::health) mod dns;
pub(in crate::health) mod exec;
pub(in crate::health) mod gateway;
pub(in crate::health) mod ipamd;
pub(in crate::health) mod kernel_log;
pub(in crate::health) mod kill_storm;
pub(in crate::health) mod kubelet;
pub(in crate::health) mod kubelet_lease;
pub(in crate::health) mod leaks;
pub(in crate::health) mod limits;
pub(in crate::health) mod lost_addresses;
pub(in crate::health) mod memory;
pub(in crate::health) mod mounts;
pub(in crate::health) mod neighbours;
pub(in crate::health) mod pressure;
pub(in crate::health) mod processes;
pub(in crate::health) mod reboots;
pub(in crate::health) mod restarts;
pub(in crate::health) mod runtime;
pub(in crate::health) mod space;
pub(in crate::health) mod terminating;
pub(in crate::health) mod uplink;

use std::io;
use std::sync::LazyLock;
use std::time::Duration;

use ipamd_daemon::Tasks;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::keeper::Notice;
use super::signal::Verdict;

/// Something that can be looked at, again and again.
pub(super) trait Look: Send + 'static {
    /// Of the task that looks.
    const NAME: &'static str;

    /// From one look to the next.
    const PERIOD: Duration;

    /// Looks once. Must end by itself within [`super::assess::LOOK_DEADLINE`], and not keep the process's one thread from its other work:
    /// what may block goes through `tokio::task::spawn_blocking`.
    fn look(&mut self) -> impl Future<Output = Vec<Verdict>> + Send;
}

/// All sources look at whole periods from one instant: looks that are due together wake the process once, and are judged together.
static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Starts a task that looks every [`Look::PERIOD`]. A look that takes longer is one for those that it was in the way of.
pub(super) fn spawn_source<L: Look>(tasks: &Tasks, mut source: L, notices: mpsc::Sender<Notice>) {
    let token = tasks.token();
    tasks.spawn(L::NAME, async move {
        let mut tick = interval_at(*BEGUN, L::PERIOD);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                () = token.cancelled() => return,
                _ = tick.tick() => {}
            }
            let verdicts = tokio::select! {
                () = token.cancelled() => return,
                verdicts = source.look() => verdicts,
            };
            // Nobody listens any more only when the process is on its way out.
            if notices.send(Notice::Looks(verdicts)).await.is_err() {
                token.cancelled().await;
                return;
            }
        }
    });
}

/// Whether an error is about this process and not about what it looked at: then the look says nothing.
fn is_own(error: &io::Error) -> bool {
    use io::ErrorKind::{AddrNotAvailable, OutOfMemory, PermissionDenied};
    // No free descriptor, of this process or of the machine: these have no kind of their own.
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    matches!(
        error.kind(),
        AddrNotAvailable | OutOfMemory | PermissionDenied
    ) || matches!(error.raw_os_error(), Some(EMFILE | ENFILE))
}
