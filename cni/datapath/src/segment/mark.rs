//! The mark on a bridge or VLAN device that Berth made: its alias, for Berth and for an operator with `ip link`.
//!
//! Form: `berth-segment1 MODE UPLINK STATE`. A link without the mark is somebody else's and never changed.

use std::fmt;
use std::str::FromStr;

use proto_ids::IfName;

use crate::wiring::UplinkMode;

const MARK: &str = "berth-segment1";

/// What a link that Berth made for a segment says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) mode: UplinkMode,
    pub(crate) uplink: IfName,
    pub(crate) state: State,
}

/// How far the making got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Begun; whoever finds it so goes on.
    Begun,
    /// Done.
    Whole,
}

/// The alias is not Berth's mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Foreign;

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.mode {
            UplinkMode::Existing => "existing",
            UplinkMode::Plain => "plain",
            UplinkMode::TakeOver => "take-over",
        };
        let state = match self.state {
            State::Begun => "begun",
            State::Whole => "whole",
        };
        write!(f, "{MARK} {mode} {} {state}", self.uplink)
    }
}

impl FromStr for Mark {
    type Err = Foreign;

    fn from_str(text: &str) -> Result<Self, Foreign> {
        let fields: Vec<_> = text.split(' ').collect();
        let [MARK, mode, uplink, state] = fields[..] else {
            return Err(Foreign);
        };
        Ok(Self {
            mode: match mode {
                "plain" => UplinkMode::Plain,
                "take-over" => UplinkMode::TakeOver,
                _ => return Err(Foreign),
            },
            uplink: uplink.parse().map_err(|_| Foreign)?,
            state: match state {
                "begun" => State::Begun,
                "whole" => State::Whole,
                _ => return Err(Foreign),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mark_round_trips_and_other_aliases_are_foreign() {
        for (mode, state) in [
            (UplinkMode::Plain, State::Whole),
            (UplinkMode::TakeOver, State::Begun),
        ] {
            let mark = Mark {
                mode,
                uplink: "eth0".parse().unwrap(),
                state,
            };
            assert_eq!(mark.to_string().parse(), Ok(mark));
        }
        for text in [
            "",
            "uplink to rack 7",
            "berth-segment1 plain eth0",
            "berth1 a b",
        ] {
            assert_eq!(text.parse::<Mark>(), Err(Foreign), "{text:?}");
        }
    }
}
