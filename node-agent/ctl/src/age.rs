//! How long ago something was, as kubectl shows it. Pure.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

/// How long ago a time was; nothing, where it is to come.
pub(crate) fn since(time: Timestamp, now: Timestamp) -> Duration {
    now.duration_since(time)
        .try_into()
        .unwrap_or(Duration::ZERO)
}

/// A duration as kubectl shows ages.
pub(crate) fn short(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{minutes}m"),
        7_200..172_800 => format!("{hours}h"),
        _ => format!("{days}d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (7_199, "119m"),
            (7_200, "2h"),
            (200_000, "2d"),
        ] {
            assert_eq!(short(Duration::from_secs(seconds)), text);
        }
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(since(at(10), at(0)), Duration::ZERO);
        assert_eq!(since(at(0), at(10)), Duration::from_secs(10));
    }
}
