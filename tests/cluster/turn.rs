//! Whose turn it is: a few tests at once, since each has a cluster and the machine has few cores.
//!
//! The runner starts all tests at the same time; each waits here before it makes or uses a cluster. So a test that waits for a cluster
//! that tests share (they use it one after the other) keeps no other from running, and that row of tests, which is the longest, is never
//! kept waiting. **Always holds:** a turn ends with its test's thread, also when the test fails.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, PoisonError};

/// Tests at once. Mostly they wait; what they do takes more than one core, and four wait for each other.
const AT_ONCE: usize = 3;

/// Who goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// Who has the cluster that many share: the others of the row wait for it.
    Row,
    /// Who takes minutes: late, it would be alone at the end.
    Long,
    /// Everybody else.
    Short,
    /// Who measures what a busy machine would spoil: at the end, and nobody beside it.
    Alone,
}

#[derive(Debug, Default)]
struct Waiting {
    running: usize,
    /// One that nobody may run beside.
    is_alone: bool,
    next: u64,
    queue: BTreeSet<(Rank, u64)>,
}

static WAITING: Mutex<Waiting> = Mutex::new(Waiting {
    running: 0,
    is_alone: false,
    next: 0,
    queue: BTreeSet::new(),
});
static CHANGED: Condvar = Condvar::new();

thread_local! {
    static TURN: RefCell<Option<Turn>> = const { RefCell::new(None) };
}

/// One of the turns that there are.
#[derive(Debug)]
struct Turn;

/// Waits until this test may run. Asked again it is answered at once.
pub(crate) fn take(rank: Rank) {
    TURN.with_borrow_mut(|turn| {
        turn.get_or_insert_with(|| Turn::wait(rank));
    });
}

impl Turn {
    fn wait(rank: Rank) -> Self {
        let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (rank, waiting.next);
        waiting.next += 1;
        waiting.queue.insert(place);
        let mut waiting = CHANGED
            .wait_while(waiting, |waiting| {
                let free = if rank == Rank::Alone { 1 } else { AT_ONCE };
                let is_full = waiting.is_alone || waiting.running >= free;
                is_full || waiting.queue.first() != Some(&place)
            })
            .unwrap_or_else(PoisonError::into_inner);
        waiting.queue.remove(&place);
        waiting.running += 1;
        waiting.is_alone = rank == Rank::Alone;
        drop(waiting);
        // Another turn may be free.
        CHANGED.notify_all();
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.running -= 1;
        waiting.is_alone = false;
        drop(waiting);
        CHANGED.notify_all();
    }
}
