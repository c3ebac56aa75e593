//! Work that may hang for ever, as anything may that touches a disk, done by a thread of its own.
//!
//! At most one thread at a time for each [`Aside`], however long the kernel keeps it: it is asked for again, not started again. A
//! thread, not a child process: what hangs uninterruptibly cannot be killed either way, and a container does not end before
//! all of its processes have, so that a child would free nobody; and it would cost a process every few seconds.

use std::io;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// Memory is locked, and a locked stack is there as a whole: 2 MiB, if nothing is said.
const STACK_BYTES: usize = 128 * 1024;

/// A place for one piece of work at a time.
#[derive(Debug)]
pub(super) struct Aside<T> {
    name: &'static str,
    under_way: Option<UnderWay<T>>,
}

#[derive(Debug)]
struct UnderWay<T> {
    since: Instant,
    answer: oneshot::Receiver<T>,
}

/// How the work went.
#[derive(Debug)]
pub(super) enum Outcome<T> {
    /// It ended.
    Done(T),
    /// It has not ended for so long: this one, or one that was begun at an earlier time.
    Hangs(Duration),
    /// It could not be begun, or panicked.
    NotDone(io::Error),
}

impl<T: Send + 'static> Aside<T> {
    /// Nothing is under way. The name is that of the threads.
    pub(super) const fn new(name: &'static str) -> Self {
        Self {
            name,
            under_way: None,
        }
    }

    /// Does the work, unless an earlier one has not ended; waits for either until the deadline. What an earlier one that ended late
    /// found is of no use any more: then the work is begun anew, with what is left of the deadline.
    pub(super) async fn run(
        &mut self,
        deadline: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Outcome<T> {
        let begun = Instant::now();
        if let Some(earlier) = self.under_way.take()
            && let Err(outcome) = self.wait(earlier, deadline).await
        {
            return outcome;
        }
        let (answers, answer) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name(self.name.to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                // Nobody waits any more only when the process is on its way out.
                let _ = answers.send(work());
            });
        if let Err(error) = thread {
            return Outcome::NotDone(error);
        }
        let since = Instant::now();
        let left = deadline.saturating_sub(since - begun);
        match self.wait(UnderWay { since, answer }, left).await {
            Ok(Some(found)) => Outcome::Done(found),
            Ok(None) => Outcome::NotDone(io::Error::other("the thread that looked panicked")),
            Err(outcome) => outcome,
        }
    }

    /// What the work found, nothing where it panicked; or that it hangs, and then it stays under way.
    async fn wait(
        &mut self,
        mut under_way: UnderWay<T>,
        deadline: Duration,
    ) -> Result<Option<T>, Outcome<T>> {
        let waited = tokio::time::timeout(deadline, &mut under_way.answer).await;
        waited.map(Result::ok).map_err(|_| {
            let lasting = under_way.since.elapsed();
            self.under_way = Some(under_way);
            Outcome::Hangs(lasting)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn work_that_hangs_is_begun_once_and_told_so_until_it_ends() {
        let mut aside = Aside::new("test");
        let (release, hold) = mpsc::channel::<()>();
        let hang = move || {
            let _ = hold.recv();
            1
        };
        assert!(matches!(aside.run(SHORT, hang).await, Outcome::Hangs(_)));
        let never = || -> i32 { panic!("begun while another hangs") };
        let outcome = aside.run(SHORT, never).await;
        assert!(
            matches!(outcome, Outcome::Hangs(lasting) if lasting >= 2 * SHORT),
            "{outcome:?}"
        );
        drop(release);
        // What the late one found is not taken for what this one finds.
        assert!(matches!(aside.run(LONG, || 2).await, Outcome::Done(2)));
        assert!(matches!(aside.run(LONG, || 3).await, Outcome::Done(3)));
    }

    #[tokio::test]
    async fn work_that_panics_is_not_done() {
        let mut aside = Aside::<()>::new("test");
        let outcome = aside.run(LONG, || panic!("as the test wants")).await;
        assert!(matches!(outcome, Outcome::NotDone(_)));
        assert!(matches!(aside.run(LONG, || ()).await, Outcome::Done(())));
    }
}
