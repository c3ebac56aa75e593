//! Everything that is printed: columns for people, one document for programs. The only writer of stdout and stderr.

use std::io::{self, IsTerminal as _, Write};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use serde::Serialize;

/// Form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people: what matters
    Table,
    /// For people: everything
    Wide,
    /// For programs
    Json,
    /// For programs, and people
    Yaml,
}

/// When to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    /// On a terminal, unless `NO_COLOR` says otherwise
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// How answers are printed.
#[derive(Clone, Debug, Args)]
pub(crate) struct OutputArgs {
    /// Form of the answer
    #[arg(long, short, value_enum, default_value_t = Format::Table, global = true)]
    pub(crate) output: Format,

    /// Whether to colour
    #[arg(long, value_enum, default_value_t = When::Auto, global = true)]
    pub(crate) color: When,

    /// No colours, whatever the value (see no-color.org)
    #[arg(long, env = "NO_COLOR", hide = true, global = true)]
    pub(crate) no_color: Option<String>,
}

/// Prints answers in the form asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    /// The form.
    pub(crate) format: Format,
    /// What words may be painted with.
    pub(crate) paint: Paint,
}

/// Colours, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Paint {
    colours: bool,
}

/// What a word means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Nothing special.
    Plain,
    /// As it should be.
    Fine,
    /// Not known.
    Doubtful,
    /// Wrong.
    Wrong,
}

impl Output {
    /// As the flags say.
    pub(crate) fn new(args: &OutputArgs) -> Self {
        let forbidden = args
            .no_color
            .as_ref()
            .is_some_and(|value| !value.is_empty());
        let colours = match args.color {
            When::Always => true,
            When::Never => false,
            When::Auto => !forbidden && io::stdout().is_terminal(),
        };
        Self {
            format: args.output,
            paint: Paint { colours },
        }
    }

    /// Prints a document for programs.
    pub(crate) fn document<D: Serialize>(self, document: &D) -> Result<()> {
        let text = match self.format {
            Format::Yaml => serde_saphyr::to_string(document).context("writing YAML")?,
            _ => serde_json::to_string_pretty(document).context("writing JSON")? + "\n",
        };
        Self::text(&text)
    }

    /// Prints a text for people.
    pub(crate) fn text(text: &str) -> Result<()> {
        let mut stdout = io::stdout().lock();
        let written = stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush());
        match written {
            // `kubectl berth health | head`: who reads has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written.context("writing the answer"),
        }
    }
}

impl Paint {
    /// Without colours.
    #[cfg(test)]
    pub(crate) const NONE: Self = Self { colours: false };

    /// The text in the colour of its tone.
    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Fine => 32,
            Tone::Doubtful => 33,
            Tone::Wrong => 31,
            Tone::Plain => return text.to_owned(),
        };
        if self.colours {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// One cell of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// With a tone.
    pub(crate) fn new(tone: Tone, text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            tone,
        }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(Tone::Plain, text)
    }
}

/// Rows in columns, as kubectl prints them; bare, so that they can be cut and pasted into a ticket.
pub(crate) fn columns<const N: usize>(
    headings: [&str; N],
    rows: impl IntoIterator<Item = [Cell; N]>,
    paint: Paint,
) -> String {
    let mut all = vec![headings.map(Cell::from)];
    all.extend(rows);
    let mut widths = [0; N];
    for row in &all {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.text.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in &all {
        let mut line = String::new();
        let mut gap = 0;
        for (width, cell) in widths.iter().zip(row) {
            if !cell.text.is_empty() {
                // Nothing trails a line.
                line.extend(std::iter::repeat_n(' ', gap));
                line += &paint.paint(cell.tone, &cell.text);
                gap = 0;
            }
            gap += width - cell.text.chars().count() + 3;
        }
        text += &line;
        text.push('\n');
    }
    text
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        // Some libraries print their source themselves.
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}

/// Says on stderr what went wrong.
pub(crate) fn print_error(error: &anyhow::Error) {
    let error = chain(error.as_ref());
    let _ = writeln!(io::stderr().lock(), "kubectl berth: {error}");
}

/// A remark for people beside the answer, on stderr.
pub(crate) fn print_remark(remark: &str) {
    let _ = writeln!(io::stderr().lock(), "{remark}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_begin_at_the_margin_and_trail_nothing() {
        let rows = [
            ["n1".into(), "".into(), "x".into()],
            ["node-2".into(), "äö".into(), "".into()],
        ];
        let text = columns(["NODE", "B", "C"], rows, Paint::NONE);
        assert_eq!(text, "NODE     B    C\nn1            x\nnode-2   äö\n");
    }

    #[test]
    fn cause_that_a_library_prints_itself_is_said_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("reading it: {0}")]
        struct Read(#[source] io::Error);
        let error = anyhow::Error::from(Read(io::Error::other("no such file")));
        let error = error.context("which cluster");
        assert_eq!(
            chain(error.as_ref()),
            "which cluster: reading it: no such file"
        );
    }

    #[test]
    fn colours_do_not_change_the_columns() {
        let rows = || [[Cell::new(Tone::Wrong, "no"), "x".into()]];
        let plain = columns(["STATE", "B"], rows(), Paint::NONE);
        let coloured = columns(["STATE", "B"], rows(), Paint { colours: true });
        assert_ne!(plain, coloured);
        assert_eq!(
            coloured.replace("\x1b[31m", "").replace("\x1b[0m", ""),
            plain
        );
    }
}
