//! How often something happened of late. Pure; every instant is passed in.
//!
//! What is older than the span does not count any more: five restarts in a year are not five in twenty minutes. Memory is
//! bounded: beyond its room a window keeps the latest, and its count is "at least".

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The times of something within a span.
#[derive(Clone, Debug)]
pub(super) struct Window {
    span: Duration,
    room: usize,
    times: VecDeque<Instant>,
}

impl Window {
    /// Nothing happened. `room`: how many times are kept; a threshold that is compared with must not be above it.
    pub(super) fn new(span: Duration, room: usize) -> Self {
        Self {
            span,
            room,
            times: VecDeque::new(),
        }
    }

    /// It happened. Instants are noted in the order in which they come.
    pub(super) fn note(&mut self, now: Instant) {
        self.times.push_back(now);
        if self.times.len() > self.room {
            self.times.pop_front();
        }
    }

    /// How often it happened within the span that ends now; at most the room.
    pub(super) fn count(&mut self, now: Instant) -> usize {
        while let Some(first) = self.times.front()
            && now.saturating_duration_since(*first) >= self.span
        {
            self.times.pop_front();
        }
        self.times.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_happened_within_the_span_counts() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut window = Window::new(Duration::from_secs(60), 8);
        assert_eq!(window.count(start), 0);
        for seconds in [0, 10, 20] {
            window.note(after(seconds));
        }
        assert_eq!(window.count(after(59)), 3);
        assert_eq!(window.count(after(60)), 2);
        assert_eq!(window.count(after(79)), 1);
        assert_eq!(window.count(after(1000)), 0);
    }

    #[test]
    fn beyond_its_room_a_window_keeps_the_latest() {
        let start = Instant::now();
        let mut window = Window::new(Duration::from_secs(60), 4);
        for second in 0..100 {
            window.note(start + Duration::from_secs(second));
        }
        assert_eq!(window.count(start + Duration::from_secs(99)), 4);
        assert_eq!(window.count(start + Duration::from_secs(157)), 2);
    }
}
