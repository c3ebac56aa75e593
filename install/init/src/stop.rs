//! SIGTERM and SIGINT, as something a waiting loop can look at. The only reader of signals.
//!
//! The signals are blocked and waited for in a thread of their own, so that they also end a process that is PID 1 of a
//! container, where signals without a handler are dropped.

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};

/// Whether the process was asked to end.
#[derive(Debug)]
pub(crate) struct Stop {
    // `None`: nobody asks; for runs that end by themselves.
    asked: Option<Receiver<()>>,
}

impl Stop {
    /// Waits for signals from now on. Call before any other thread is started.
    pub(crate) fn on_signals() -> nix::Result<Self> {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGTERM);
        signals.add(Signal::SIGINT);
        signals.thread_block()?;
        let (ask, asked) = channel();
        std::thread::spawn(move || {
            // Programs that are started meanwhile begin with no signal blocked: the standard library sees to it.
            while signals.wait().is_ok() && ask.send(()).is_ok() {}
        });
        Ok(Self { asked: Some(asked) })
    }

    /// Never.
    pub(crate) const fn never() -> Self {
        Self { asked: None }
    }

    /// Waits this long; whether the process was asked to end meanwhile.
    pub(crate) fn within(&self, pause: Duration) -> bool {
        let Some(asked) = &self.asked else {
            std::thread::sleep(pause);
            return false;
        };
        match asked.recv_timeout(pause) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => true,
            Err(RecvTimeoutError::Timeout) => false,
        }
    }
}
