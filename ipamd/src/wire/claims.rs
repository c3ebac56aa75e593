//! What the ledger said of claims a short time ago, so that it is not asked again for each frame. Pure, bounded.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use proto_ids::MacAddr;

/// What the ledger makes of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A foreign host has an address of ours.
    Foreign,
    /// It is our own Pod, or no address of ours.
    Harmless,
}

/// A harmless claim may become foreign as soon as the address changes hands: asked again soon.
const HARMLESS: Duration = Duration::from_secs(2);
/// A foreign one stays so until the conflict is over, and that is told ([`Claims::keep_foreign`]).
const FOREIGN: Duration = Duration::from_secs(60);
/// More than the hosts of any sane segment; who forges more of them only makes us forget and ask again.
const LIMIT: usize = 4096;

/// Judged claims.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims(HashMap<(IpAddr, MacAddr), (Verdict, Instant)>);

impl Claims {
    /// What was said, unless that is too long ago.
    pub(super) fn verdict(&self, address: IpAddr, mac: MacAddr, now: Instant) -> Option<Verdict> {
        let (verdict, at) = *self.0.get(&(address, mac))?;
        is_fresh(verdict, at, now).then_some(verdict)
    }

    /// Remembers what was said.
    pub(super) fn judged(&mut self, address: IpAddr, mac: MacAddr, said: Verdict, now: Instant) {
        if self.0.len() >= LIMIT {
            self.0
                .retain(|_, (verdict, at)| is_fresh(*verdict, *at, now));
        }
        if self.0.len() >= LIMIT {
            self.0.clear();
        }
        self.0.insert((address, mac), (said, now));
    }

    /// Forgets foreign claims to addresses that are in conflict no more, so that the next one is reported.
    pub(super) fn keep_foreign(&mut self, conflict: impl Fn(IpAddr) -> bool) {
        self.0.retain(|(address, _), (verdict, _)| {
            *verdict == Verdict::Harmless || conflict(*address)
        });
    }
}

fn is_fresh(verdict: Verdict, at: Instant, now: Instant) -> bool {
    let valid = match verdict {
        Verdict::Harmless => HARMLESS,
        Verdict::Foreign => FOREIGN,
    };
    now.saturating_duration_since(at) < valid
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddr = MacAddr::from_octets([2, 0, 0, 0, 0, 9]);

    fn address(n: u32) -> IpAddr {
        std::net::Ipv4Addr::from(0x0a00_0000 + n).into()
    }

    #[test]
    fn verdict_is_forgotten_after_its_time_and_when_the_conflict_is_over() {
        let start = Instant::now();
        let mut claims = Claims::default();
        claims.judged(address(1), MAC, Verdict::Harmless, start);
        claims.judged(address(2), MAC, Verdict::Foreign, start);
        claims.judged(address(3), MAC, Verdict::Foreign, start);
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(
            claims.verdict(address(1), MAC, at(1)),
            Some(Verdict::Harmless)
        );
        assert_eq!(claims.verdict(address(1), MAC, at(2)), None);
        assert_eq!(
            claims.verdict(address(2), MAC, at(59)),
            Some(Verdict::Foreign)
        );
        assert_eq!(claims.verdict(address(2), MAC, at(60)), None);
        let other = MacAddr::from_octets([2, 0, 0, 0, 0, 8]);
        assert_eq!(
            claims.verdict(address(2), other, at(1)),
            None,
            "another host"
        );
        claims.keep_foreign(|conflict| conflict == address(3));
        assert_eq!(
            claims.verdict(address(1), MAC, at(1)),
            Some(Verdict::Harmless)
        );
        assert_eq!(claims.verdict(address(2), MAC, at(1)), None);
        assert_eq!(
            claims.verdict(address(3), MAC, at(1)),
            Some(Verdict::Foreign)
        );
    }

    #[test]
    fn forged_claims_do_not_fill_memory() {
        let start = Instant::now();
        let mut claims = Claims::default();
        for n in 0..100_000 {
            claims.judged(address(n), MAC, Verdict::Foreign, start);
            assert!(claims.0.len() <= LIMIT);
        }
        assert_eq!(
            claims.verdict(address(99_999), MAC, start),
            Some(Verdict::Foreign)
        );
    }
}
