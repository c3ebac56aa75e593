//! The operators' `LifecyclePolicy` as the configuration of the core. Pure.
//!
//! **Always holds:** without a policy, and with one that cannot be read, everything is in dry-run. The core has one default for all rules
//! and exceptions; what the policy leaves open follows it.

use std::time::Duration;

use node_agent_lifecycle::Config;
use node_agent_lifecycle::mode::{Mode, Modes, Rule};
use node_agent_lifecycle::observation::ZoneName;
use node_agent_lifecycle::window::{MinuteOfWeek, Window};
use proto_crd::lifecycle_policy::{
    BudgetOverrides, BusinessWindow, DEFAULT_DECISIONS_KEPT, Day, LifecycleMode,
    LifecyclePolicySpec, RuleModes, TimerOverrides,
};
use proto_ids::{ParseNameError, RackName};

/// What a policy says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    /// For the core.
    pub(super) config: Config,
    /// How many decisions stay in the API.
    pub(super) kept: usize,
}

/// A policy that is not gone by.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(super) enum PolicyError {
    /// A rack's name is none.
    #[error("racks: {name:?} is not the name of a rack")]
    Rack {
        /// As it is written.
        name: String,
        /// Why.
        #[source]
        source: ParseNameError,
    },
    /// A time of day is none.
    #[error(
        "businessWindows: {text:?} is neither a time of day, such as 09:00, nor a difference from UTC, such as +08:00"
    )]
    Time {
        /// As it is written.
        text: String,
    },
}

impl Default for Rules {
    /// Without a policy.
    fn default() -> Self {
        Self {
            config: Config::default(),
            kept: DEFAULT_DECISIONS_KEPT as usize,
        }
    }
}

/// What this policy says.
///
/// # Errors
/// What in it cannot be understood.
pub(super) fn rules(spec: &LifecyclePolicySpec) -> Result<Rules, PolicyError> {
    let mut config = Config {
        modes: modes(spec)?,
        ..Config::default()
    };
    for window in &spec.business_windows {
        config.business.extend(windows(window)?);
    }
    override_budgets(&mut config, spec.budgets);
    override_timers(&mut config, spec.timers);
    let (quorum, breakers) = (&mut config.quorum, &mut config.breakers);
    for (to, from) in [
        (&mut quorum.dead, spec.quorum.dead),
        (&mut quorum.dark_observers, spec.quorum.dark_observers),
        (&mut quorum.dark_racks, spec.quorum.dark_racks),
    ] {
        set(to, from.map(|from| from as usize));
    }
    // One that outvotes has to be more than a quorum.
    quorum.outvoting = quorum.outvoting.max(quorum.dead + 1);
    set(&mut breakers.stale_percent, spec.breakers.stale_percent);
    set(&mut breakers.stale_nodes, spec.breakers.stale_nodes);
    set(
        &mut breakers.warm_up,
        seconds(spec.breakers.warm_up_seconds),
    );
    set(
        &mut breakers.slow_gap,
        seconds(spec.breakers.slow_gap_seconds),
    );
    let kept = spec.decisions_kept.unwrap_or(DEFAULT_DECISIONS_KEPT);
    Ok(Rules {
        config,
        kept: kept as usize,
    })
}

fn set<T>(to: &mut T, from: Option<T>) {
    if let Some(from) = from {
        *to = from;
    }
}

fn seconds(seconds: Option<u32>) -> Option<Duration> {
    seconds.map(|seconds| Duration::from_secs(seconds.into()))
}

fn override_budgets(config: &mut Config, wanted: BudgetOverrides) {
    let budgets = &mut config.budgets;
    for (to, from) in [
        (&mut budgets.rack_percent, wanted.rack_percent),
        (&mut budgets.zone_nodes, wanted.zone_nodes),
        (&mut budgets.cluster_percent, wanted.cluster_percent),
        (&mut budgets.zone_dark_racks, wanted.zone_dark_racks),
        (&mut budgets.cluster_dark_racks, wanted.cluster_dark_racks),
        (&mut budgets.pods_per_second, wanted.pods_per_second),
        (&mut budgets.app_surge_percent, wanted.app_surge_percent),
    ] {
        set(to, from);
    }
}

fn override_timers(config: &mut Config, wanted: TimerOverrides) {
    let timers = &mut config.timers;
    for (to, from) in [
        (&mut timers.quorum_hold, wanted.quorum_hold_seconds),
        (&mut timers.quorum_steady, wanted.quorum_steady_seconds),
        (&mut timers.outvoted_hold, wanted.outvoted_hold_seconds),
        (&mut timers.rack_hold, wanted.rack_hold_seconds),
        (&mut timers.cordon_hold, wanted.cordon_hold_seconds),
        (&mut timers.drain_hold, wanted.drain_hold_seconds),
        (&mut timers.healthy_delay, wanted.healthy_delay_seconds),
        (&mut timers.recovery, wanted.recovery_seconds),
        (&mut timers.cut_escalate, wanted.cut_escalate_seconds),
    ] {
        set(to, seconds(from));
    }
}

fn modes(spec: &LifecyclePolicySpec) -> Result<Modes, PolicyError> {
    // A restart of kubelet is opted in to by its own field, whatever the default is; and it is not carried out yet.
    let mut modes = Modes::all(spec.mode.map_or(Mode::DryRun, mode))
        .with_rule(Rule::LocalRepair, Mode::Observe);
    for (rule, wanted) in each(&spec.rules) {
        modes = modes.with_rule(rule, mode(wanted));
    }
    for rack in &spec.racks {
        let name: RackName = rack.rack.parse().map_err(|source| PolicyError::Rack {
            name: rack.rack.clone(),
            source,
        })?;
        for (rule, wanted) in each(&rack.rules) {
            modes = modes.with_rack(rule, name.clone(), mode(wanted));
        }
    }
    Ok(modes)
}

fn each(modes: &RuleModes) -> impl Iterator<Item = (Rule, LifecycleMode)> {
    let all = [
        (Rule::Cordon, modes.cordon),
        (Rule::Endpoints, modes.endpoints),
        // Nobody carries it out yet: it is not ordered either.
        (
            Rule::LocalRepair,
            modes.local_repair.map(|_| LifecycleMode::Observe),
        ),
        (Rule::SoftEvict, modes.soft_evict),
        (Rule::Drain, modes.drain),
        (Rule::Fence, modes.fence),
        (Rule::HardEvict, modes.hard_evict),
        (Rule::RecoveryGuard, modes.recovery_guard),
    ];
    all.into_iter()
        .filter_map(|(rule, mode)| mode.map(|mode| (rule, mode)))
}

const fn mode(mode: LifecycleMode) -> Mode {
    match mode {
        LifecycleMode::Observe => Mode::Observe,
        LifecycleMode::DryRun => Mode::DryRun,
        LifecycleMode::Enforce => Mode::Enforce,
    }
}

/// A window of each day, in minutes of UTC's week.
fn windows(window: &BusinessWindow) -> Result<Vec<Window>, PolicyError> {
    let from = minute(&window.from)?;
    let until = minute(&window.until)?;
    let ahead = window.time_zone.as_deref().map_or(Ok(0), zone)?;
    let windows = window.days.iter().map(|day| {
        let days = i64::from(ordinal(*day)) * i64::from(DAY);
        let next = if until <= from { i64::from(DAY) } else { 0 };
        Window {
            from: of_week(days + i64::from(from) - ahead),
            until: of_week(days + i64::from(until) + next - ahead),
        }
    });
    Ok(windows.collect())
}

const DAY: u16 = 24 * 60;

/// A minute of the week, counted from Monday, before it or after Sunday too.
pub(super) fn of_week(minutes: i64) -> MinuteOfWeek {
    let minute = minutes.rem_euclid(i64::from(DAY) * 7);
    let day = i64::from(DAY);
    let part = |value: i64| u16::try_from(value).unwrap_or_default();
    MinuteOfWeek::new(part(minute / day), part(minute % day))
}

fn minute(text: &str) -> Result<u16, PolicyError> {
    let wrong = || PolicyError::Time {
        text: text.to_owned(),
    };
    let (hour, minute) = text.split_once(':').ok_or_else(wrong)?;
    let hour: u16 = hour.parse().map_err(|_| wrong())?;
    let minute: u16 = minute.parse().map_err(|_| wrong())?;
    if minute < 60 && hour * 60 + minute <= DAY {
        Ok(hour * 60 + minute)
    } else {
        Err(wrong())
    }
}

/// Minutes that a clock is ahead of UTC.
fn zone(text: &str) -> Result<i64, PolicyError> {
    let sign = match text.as_bytes().first() {
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ => {
            return Err(PolicyError::Time {
                text: text.to_owned(),
            });
        }
    };
    minute(&text[1..]).map(|minutes| sign * i64::from(minutes))
}

const fn ordinal(day: Day) -> u8 {
    match day {
        Day::Monday => 0,
        Day::Tuesday => 1,
        Day::Wednesday => 2,
        Day::Thursday => 3,
        Day::Friday => 4,
        Day::Saturday => 5,
        Day::Sunday => 6,
    }
}

/// The zone of nodes that name none: all of them are one.
pub(super) fn zone_of(label: Option<&str>) -> ZoneName {
    ZoneName::new(label.unwrap_or("cluster"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parsed(spec: &Value) -> Result<Rules, PolicyError> {
        let spec: LifecyclePolicySpec = serde_json::from_value(spec.clone()).unwrap();
        rules(&spec)
    }

    fn rack(name: &str) -> RackName {
        name.parse().unwrap()
    }

    #[test]
    fn without_a_policy_and_with_an_empty_one_everything_is_dry_run() {
        for rules in [Rules::default(), parsed(&json!({})).unwrap()] {
            let modes = &rules.config.modes;
            assert_eq!(modes.of(Rule::SoftEvict, &rack("r1")), Mode::DryRun);
            assert_eq!(modes.of(Rule::LocalRepair, &rack("r1")), Mode::Observe);
            assert_eq!(rules.kept, 2000);
        }
        assert_eq!(parsed(&json!({})).unwrap(), Rules::default());
    }

    #[test]
    fn what_is_said_more_closely_wins_and_kubelets_are_never_restarted() {
        let policy = json!({
            "mode": "Enforce",
            "rules": {"hardEvict": "DryRun", "localRepair": "Enforce"},
            "racks": [{"rack": "r2", "rules": {"hardEvict": "Enforce", "softEvict": "Observe"}}],
        });
        let modes = parsed(&policy).unwrap().config.modes;
        for (rule, at, expected) in [
            (Rule::SoftEvict, "r1", Mode::Enforce),
            (Rule::HardEvict, "r1", Mode::DryRun),
            (Rule::HardEvict, "r2", Mode::Enforce),
            (Rule::SoftEvict, "r2", Mode::Observe),
            (Rule::LocalRepair, "r1", Mode::Observe),
        ] {
            assert_eq!(modes.of(rule, &rack(at)), expected, "{rule:?} {at}");
        }
    }

    #[test]
    fn numbers_are_taken_over_and_the_rest_stays() {
        let policy = json!({
            "budgets": {"podsPerSecond": 9, "clusterDarkRacks": 0},
            "timers": {"quorumHoldSeconds": 40, "recoverySeconds": 30},
            "quorum": {"dead": 2, "darkObservers": 2},
            "breakers": {"warmUpSeconds": 10, "staleNodes": 4},
            "decisionsKept": 100,
        });
        let rules = parsed(&policy).unwrap();
        let config = rules.config;
        assert_eq!(
            (
                config.budgets.pods_per_second,
                config.budgets.cluster_dark_racks
            ),
            (9, 0)
        );
        assert_eq!(config.timers.quorum_hold, Duration::from_secs(40));
        assert_eq!(config.timers.quorum_steady, Duration::from_secs(30));
        assert_eq!((config.quorum.dead, config.quorum.dark_observers), (2, 2));
        assert_eq!(config.breakers.warm_up, Duration::from_secs(10));
        assert_eq!(
            (config.breakers.stale_nodes, config.breakers.stale_percent),
            (4, 20)
        );
        assert_eq!(rules.kept, 100);
    }

    #[test]
    fn windows_are_of_the_week_of_utc_and_may_go_over_midnight_and_sunday() {
        for (window, inside, outside) in [
            (
                json!({"days": ["Monday"], "from": "09:00", "until": "11:30"}),
                vec![(0, 9 * 60), (0, 11 * 60 + 29)],
                vec![(0, 11 * 60 + 30), (1, 9 * 60)],
            ),
            (
                json!({"days": ["Monday"], "from": "09:00", "until": "24:00"}),
                vec![(0, 23 * 60 + 59)],
                vec![(1, 0)],
            ),
            // Shanghai's Monday 06:00 is Sunday 22:00 of UTC.
            (
                json!({"days": ["Monday"], "from": "06:00", "until": "09:00", "timeZone": "+08:00"}),
                vec![(6, 22 * 60), (0, 0), (0, 59)],
                vec![(0, 60), (0, 6 * 60)],
            ),
            (
                json!({"days": ["Sunday"], "from": "22:00", "until": "02:00", "timeZone": "-01:00"}),
                vec![(6, 23 * 60), (0, 2 * 60)],
                vec![(6, 22 * 60), (0, 3 * 60)],
            ),
        ] {
            let config = parsed(&json!({"businessWindows": [window]}))
                .unwrap()
                .config;
            let holds = |(day, minute): &(u16, u16)| {
                let at = MinuteOfWeek::new(*day, *minute);
                config.business.iter().any(|window| window.holds(at))
            };
            assert!(inside.iter().all(holds), "{window}");
            assert!(!outside.iter().any(holds), "{window}");
        }
        let wrong =
            json!({"businessWindows": [{"days": ["Monday"], "from": "9", "until": "11:30"}]});
        assert!(parsed(&wrong).is_err());
    }
}
