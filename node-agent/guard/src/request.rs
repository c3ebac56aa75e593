//! What can be asked, as lines of text. Pure.
//!
//! `limit POD_UID MILLICORES WHY`, `release POD_UID WHY`, `list`; answered by `ok`, or `error` with the reason. `list` has a line
//! `held POD_UID MILLICORES` for each Pod before its `ok`.

use std::fmt;
use std::str::FromStr;

/// The longest line, in bytes, without its end.
pub const LINE_LIMIT: usize = 512;

/// The UID of a Pod, as the API server makes them: `8-4-4-4-12` small hexadecimal digits. So it can be part of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodUid(String);

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// The Pod gets no more of the processors than this.
    Limit {
        /// The Pod.
        pod: PodUid,
        /// Thousandths of a processor.
        millicores: u32,
        /// The reason, for the log.
        why: String,
    },
    /// The Pod gets back what it had.
    Release {
        /// The Pod.
        pod: PodUid,
        /// The reason, for the log.
        why: String,
    },
    /// Which Pods are limited?
    List,
}

/// A Pod that is limited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The Pod.
    pub pod: PodUid,
    /// Thousandths of a processor.
    pub millicores: u32,
}

/// It is no UID of a Pod.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no UID of a Pod: 8-4-4-4-12 small hexadecimal digits, as metadata.uid has them"
)]
pub struct ParsePodUidError {
    text: String,
}

/// It is no request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseRequestError {
    /// There is no such verb, or it lacks words.
    #[error(
        "{line:?} is not known; there are \"limit POD_UID MILLICORES WHY\", \"release POD_UID WHY\" and \"list\""
    )]
    Verb {
        /// The line.
        line: String,
    },
    /// The Pod.
    #[error(transparent)]
    Pod(#[from] ParsePodUidError),
    /// The amount.
    #[error("{text:?} is no number of thousandths of a processor, from 1 to 1000000")]
    Millicores {
        /// The word.
        text: String,
    },
    /// The reason.
    #[error("a use without a reason, or with one of other than printable characters, is refused")]
    Why,
}

impl PodUid {
    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for PodUid {
    type Err = ParsePodUidError;

    fn from_str(text: &str) -> Result<Self, ParsePodUidError> {
        let is_hex = |it: u8| it.is_ascii_digit() || (b'a'..=b'f').contains(&it);
        let fits = text.len() == 36
            && text.bytes().enumerate().all(|(at, it)| match at {
                8 | 13 | 18 | 23 => it == b'-',
                _ => is_hex(it),
            });
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParsePodUidError { text: text.into() })
        }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limit {
                pod,
                millicores,
                why,
            } => write!(f, "limit {pod} {millicores} {why}"),
            Self::Release { pod, why } => write!(f, "release {pod} {why}"),
            Self::List => f.write_str("list"),
        }
    }
}

impl FromStr for Request {
    type Err = ParseRequestError;

    fn from_str(line: &str) -> Result<Self, ParseRequestError> {
        let unknown = || ParseRequestError::Verb { line: line.into() };
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match (verb, rest) {
            ("list", "") => Ok(Self::List),
            ("limit", rest) => {
                let (pod, rest) = rest.split_once(' ').ok_or_else(unknown)?;
                let (millicores, why) = rest.split_once(' ').ok_or_else(unknown)?;
                Ok(Self::Limit {
                    pod: pod.parse()?,
                    millicores: parse_millicores(millicores)?,
                    why: parse_why(why)?,
                })
            }
            ("release", rest) => {
                let (pod, why) = rest.split_once(' ').ok_or_else(unknown)?;
                Ok(Self::Release {
                    pod: pod.parse()?,
                    why: parse_why(why)?,
                })
            }
            _ => Err(unknown()),
        }
    }
}

fn parse_millicores(text: &str) -> Result<u32, ParseRequestError> {
    let is_plain = text.bytes().all(|it| it.is_ascii_digit());
    let number = text.parse().ok().filter(|it| (1..=1_000_000).contains(it));
    number
        .filter(|_| is_plain)
        .ok_or_else(|| ParseRequestError::Millicores { text: text.into() })
}

fn parse_why(text: &str) -> Result<String, ParseRequestError> {
    let is_plain = text.bytes().all(|it| (b' '..=b'~').contains(&it));
    if is_plain && !text.trim().is_empty() {
        Ok(text.to_owned())
    } else {
        Err(ParseRequestError::Why)
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "held {} {}", self.pod, self.millicores)
    }
}

impl Held {
    /// From a line of the list.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (pod, millicores) = line.strip_prefix("held ")?.split_once(' ')?;
        Some(Self {
            pod: pod.parse().ok()?,
            millicores: parse_millicores(millicores).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "0f3a2b1c-4d5e-4f60-8a7b-9c0d1e2f3a4b";

    #[test]
    fn what_is_written_is_read_again() {
        let pod: PodUid = UID.parse().unwrap();
        let why = "kill storm: 40 of 60 Pods".to_owned();
        let limit = Request::Limit {
            pod: pod.clone(),
            millicores: 10,
            why: why.clone(),
        };
        let release = Request::Release {
            pod: pod.clone(),
            why,
        };
        for request in [limit, release, Request::List] {
            assert_eq!(request.to_string().parse(), Ok(request));
        }
        let held = Held {
            pod,
            millicores: 10,
        };
        assert_eq!(Held::parse(&held.to_string()), Some(held));
    }

    #[test]
    fn nothing_but_the_three_verbs_is_understood() {
        let upper = UID.to_uppercase();
        let table = [
            (String::new(), "is not known"),
            ("stop".to_owned(), "is not known"),
            ("list all".to_owned(), "is not known"),
            ("LIST".to_owned(), "is not known"),
            (format!("limit {UID} 10"), "is not known"),
            (format!("release {UID}"), "is not known"),
            ("release ../../system.slice x".to_owned(), "no UID of a Pod"),
            (format!("release {}/.. x", &UID[..33]), "no UID of a Pod"),
            (format!("release {upper} x"), "no UID of a Pod"),
            (format!("release {}\u{e9} x", &UID[..34]), "no UID of a Pod"),
            (format!("release  {UID} x"), "no UID of a Pod"),
            (format!("limit {UID} 0 x"), "thousandths"),
            (format!("limit {UID} -1 x"), "thousandths"),
            (format!("limit {UID} +5 x"), "thousandths"),
            (format!("limit {UID} 1000001 x"), "thousandths"),
            (format!("limit {UID} 10  "), "without a reason"),
            (format!("release {UID} a\tb"), "without a reason"),
            (format!("release {UID} \u{1b}[2J"), "without a reason"),
        ];
        for (line, because) in table {
            let refused = line.parse::<Request>().unwrap_err().to_string();
            assert!(refused.contains(because), "{line:?}: {refused}");
        }
    }
}
