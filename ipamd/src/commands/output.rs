//! Everything a command prints: tables for people, one JSON document for programs. The only writer of stdout.

use std::io::{self, Write};

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use ipamd_daemon::chain;
use serde::Serialize;

use super::error::CommandError;

/// Form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// For people
    Table,
    /// For programs: one document, field names as in the protocol
    Json,
}

/// Prints answers in the form asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    format: OutputFormat,
}

impl Output {
    /// In this form.
    pub(crate) const fn new(format: OutputFormat) -> Self {
        Self { format }
    }

    /// Prints the document, or what people read instead.
    pub(crate) fn answer<D: Serialize>(
        self,
        document: &D,
        text: impl FnOnce(&D) -> String,
    ) -> Result<(), CommandError> {
        let mut text = match self.format {
            OutputFormat::Table => text(document),
            OutputFormat::Json => {
                serde_json::to_string_pretty(document).map_err(|source| CommandError::Write {
                    source: source.into(),
                })?
            }
        };
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        raw(&text)
    }
}

/// Says on stderr what went wrong.
pub(crate) fn print_error(error: &(dyn std::error::Error + 'static)) {
    let _ = writeln!(io::stderr().lock(), "berth-ipamd: {}", chain(error));
}

/// A remark for people beside the answer, on stderr.
pub(super) fn print_remark(remark: &str) {
    let _ = writeln!(io::stderr().lock(), "{remark}");
}

/// Prints a text as it is.
pub(crate) fn raw(text: &str) -> Result<(), CommandError> {
    let mut stdout = io::stdout().lock();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    match written {
        // `berth-ipamd list | head`: who reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|source| CommandError::Write { source }),
    }
}

/// A table with these headings; bare, so that it can be cut and pasted into a ticket.
pub(crate) fn table<const N: usize>(
    headings: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(headings);
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_begin_at_the_margin_and_trail_nothing() {
        let text = table(
            ["ADDRESS", "NOTE"],
            [["10.0.0.1".to_owned(), String::new()]],
        );
        assert_eq!(text, "ADDRESS   NOTE\n10.0.0.1");
    }
}
