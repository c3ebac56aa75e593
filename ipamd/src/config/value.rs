//! Single values of a configuration: a text parsed, or a problem noted at its place.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use toml::Spanned;

use super::file::Text;
use super::problem::Problems;

/// The value; `None`: a problem was noted.
pub(super) fn parse<T: FromStr<Err: Display>>(
    subject: &str,
    key: &str,
    text: &Text,
    problems: &mut Problems<'_>,
) -> Option<T> {
    match text.get_ref().parse() {
        Ok(value) => Some(value),
        Err(error) => {
            let written = text.get_ref();
            let error = error.to_string();
            // Most of our errors quote the text already; those of the standard library do not.
            let problem = if error.contains(written.as_str()) {
                format!("{subject}{key}: {error}")
            } else {
                format!("{subject}{key}: {written:?}: {error}")
            };
            problems.at(Some(text.span()), problem);
            None
        }
    }
}

/// A problem was noted.
pub(super) struct Noted;

pub(super) fn parse_optional<T: FromStr<Err: Display>>(
    subject: &str,
    key: &str,
    text: Option<&Text>,
    problems: &mut Problems<'_>,
) -> Result<Option<T>, Noted> {
    match text {
        None => Ok(None),
        Some(text) => parse(subject, key, text, problems).map(Some).ok_or(Noted),
    }
}

/// `None` when any is wrong, after all were looked at.
pub(super) fn parse_all<T: FromStr<Err: Display>>(
    subject: &str,
    key: &str,
    texts: &[Text],
    problems: &mut Problems<'_>,
) -> Option<Vec<T>> {
    let values: Vec<_> = texts
        .iter()
        .map(|text| parse(subject, key, text, problems))
        .collect();
    values.into_iter().collect()
}

/// A duration; `None` where nothing is written or it is wrong.
pub(super) fn duration(
    subject: &str,
    key: &str,
    text: Option<&Text>,
    problems: &mut Problems<'_>,
) -> Option<Duration> {
    let text = text?;
    let Period(duration) = parse(subject, key, text, problems)?;
    Some(duration)
}

/// A duration as an operator writes it.
pub(crate) struct Period(pub(crate) Duration);

/// Why a text is no duration.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not \"forever\", \"none\" or a duration such as \"10m\"")]
pub(crate) struct ParsePeriodError(String);

impl FromStr for Period {
    type Err = ParsePeriodError;

    fn from_str(text: &str) -> Result<Self, ParsePeriodError> {
        match text {
            "forever" => Ok(Self(Duration::MAX)),
            "none" => Ok(Self(Duration::ZERO)),
            _ => humantime::parse_duration(text)
                .map(Self)
                .map_err(|_| ParsePeriodError(text.to_owned())),
        }
    }
}

pub(super) fn number(
    subject: &str,
    key: &str,
    number: Option<&Spanned<i64>>,
    (least, most): (i64, i64),
    problems: &mut Problems<'_>,
) -> Option<u32> {
    let number = number?;
    let value = *number.get_ref();
    if !(least..=most).contains(&value) {
        let problem = format!("{subject}{key}: {value} is not between {least} and {most}");
        problems.at(Some(number.span()), problem);
    }
    value.try_into().ok()
}
