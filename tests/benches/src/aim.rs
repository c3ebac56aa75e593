//! The aims beside the figures. Nothing fails: an aim that is missed is printed as missed.

/// One aim of the issue with what was measured.
#[derive(Debug)]
pub(crate) struct Aim {
    pub(crate) what: &'static str,
    pub(crate) measured: f64,
    pub(crate) limit: f64,
    /// Whether more is better.
    pub(crate) at_least: bool,
    pub(crate) unit: &'static str,
}

impl Aim {
    /// The row of the table of aims.
    pub(crate) fn row(&self) -> Vec<String> {
        let met = if self.at_least {
            self.measured >= self.limit
        } else {
            self.measured <= self.limit
        };
        let bound = if self.at_least { ">=" } else { "<=" };
        let verdict = match (met, self.measured.is_nan()) {
            (_, true) => "not measured",
            (true, false) => "met",
            (false, false) => "MISSED",
        };
        vec![
            self.what.to_owned(),
            format!("{:.2} {}", self.measured, self.unit),
            format!("{bound} {:.2} {}", self.limit, self.unit),
            verdict.to_owned(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aim_says_met_missed_or_not_measured() {
        let aim = |measured, at_least| Aim {
            what: "x",
            measured,
            limit: 2.0,
            at_least,
            unit: "",
        };
        assert_eq!(aim(1.0, false).row()[3], "met");
        assert_eq!(aim(1.0, true).row()[3], "MISSED");
        assert_eq!(aim(f64::NAN, true).row()[3], "not measured");
    }
}
