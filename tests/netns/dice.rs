//! The choices of tests that kill at random: all of them come from one seed, which is printed; `BERTH_SEED` repeats it.

use std::time::{SystemTime, UNIX_EPOCH};

use tests::plugin::flag;

/// A small generator of our own, so that a seed is all there is to a run's choices.
pub(crate) struct Dice(u64);

impl Dice {
    /// The choices of this seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn roll(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to just below the limit.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.roll() % limit
    }
}

/// The seed of this run, told to whoever wants to repeat it.
pub(crate) fn seed(test: &str) -> u64 {
    let seed = flag("BERTH_SEED")
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| {
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(1, |time| u64::from(time.subsec_nanos()) ^ time.as_secs())
        });
    say(&format!("{test}: BERTH_SEED={seed}"));
    seed
}

/// Tells the reader of the test's output.
#[allow(
    clippy::print_stderr,
    reason = "seeds and figures are for who reads the output of a run"
)]
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}
