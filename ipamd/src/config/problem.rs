//! What is wrong with a configuration file, and where: all of it at once, each with line and column.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Why a configuration was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadConfigError {
    /// The file could not be read.
    #[error("reading configuration {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The file does not say what it must.
    #[error("{}", listed(problems))]
    Refused {
        /// All that is wrong, in the order of the file.
        problems: Vec<Problem>,
    },
}

fn listed(problems: &[Problem]) -> String {
    let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// One thing that is wrong, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The file.
    pub(crate) path: PathBuf,
    /// Line and column, from 1; `None` for what is about no line, such as a host name that does not serve as a node's.
    pub(crate) place: Option<(usize, usize)>,
    /// What, beginning with the section and the key.
    pub(crate) text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path.display())?;
        if let Some((line, column)) = self.place {
            write!(f, "{line}:{column}:")?;
        }
        write!(f, " {}", self.text)
    }
}

/// Gathers the problems of one file.
#[derive(Debug)]
pub(crate) struct Problems<'a> {
    path: &'a Path,
    input: &'a str,
    found: Vec<(usize, Problem)>,
}

impl<'a> Problems<'a> {
    /// None yet, of this file.
    pub(crate) const fn new(path: &'a Path, input: &'a str) -> Self {
        Self {
            path,
            input,
            found: Vec::new(),
        }
    }

    /// Notes a problem at these bytes of the input.
    pub(crate) fn at(&mut self, span: Option<Range<usize>>, text: impl Into<String>) {
        let start = span.map(|span| span.start);
        let problem = Problem {
            path: self.path.into(),
            place: start.map(|start| place(self.input, start)),
            text: text.into(),
        };
        if !self.found.iter().any(|(_, known)| *known == problem) {
            self.found.push((start.unwrap_or(0), problem));
        }
    }

    /// Whether there is none.
    pub(crate) const fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The refusal that lists them all.
    pub(crate) fn into_error(mut self) -> LoadConfigError {
        self.found.sort_by_key(|(start, _)| *start);
        LoadConfigError::Refused {
            problems: self.found.into_iter().map(|(_, problem)| problem).collect(),
        }
    }
}

/// Line and column, in characters from 1, of a byte of the input.
fn place(input: &str, offset: usize) -> (usize, usize) {
    let before = input.get(..offset).unwrap_or(input);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.matches('\n').count() + 1;
    let column = before[line_start..].chars().count() + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_listed_in_the_order_of_the_file_and_once() {
        let input = "a = 1\nä = 2\n";
        let mut problems = Problems::new(Path::new("/x.toml"), input);
        problems.at(Some(11..12), "second");
        problems.at(Some(0..1), "first");
        problems.at(Some(0..1), "first");
        assert_eq!(
            problems.into_error().to_string(),
            "/x.toml:1:1: first\n/x.toml:2:5: second"
        );
    }
}
