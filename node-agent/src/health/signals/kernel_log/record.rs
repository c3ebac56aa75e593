//! One line of the kernel's log, in either of its forms. Pure.
//!
//! `/dev/kmsg`: `priority,sequence,microseconds,flags[,…];text`, lines that begin with a space belong to the one before.
//! syslog(2): `<priority>[seconds.microseconds] text`, maybe with `[ caller]` before the text.

/// The longest text that is looked at and told.
const TEXT_LIMIT: usize = 400;

/// A line that the kernel itself wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    /// Since boot.
    pub(super) micros: u64,
    /// What it says.
    pub(super) text: &'a str,
}

impl<'a> Record<'a> {
    /// Nothing where the line is none, or was written by a program: whoever may write to `/dev/kmsg` must not be able to have a node
    /// drained. The kernel marks what programs write (facility) and lets none pass for its own.
    pub(super) fn parse(line: &'a str) -> Option<Self> {
        if let Some(rest) = line.strip_prefix('<') {
            return parse_syslog(rest);
        }
        let (head, text) = line.split_once(';')?;
        let mut fields = head.split(',');
        let priority = fields.next()?.parse().ok()?;
        let micros = fields.nth(1)?.parse().ok()?;
        is_kernels(priority).then_some(())?;
        Some(Self {
            micros,
            text: bounded(text),
        })
    }
}

/// Which one of all a line of `/dev/kmsg` is, whoever wrote it.
pub(super) fn sequence(line: &str) -> Option<u64> {
    let (head, _) = line.split_once(';')?;
    head.split(',').nth(1)?.parse().ok()
}

fn parse_syslog(rest: &str) -> Option<Record<'_>> {
    let (priority, rest) = rest.split_once('>')?;
    is_kernels(priority.parse().ok()?).then_some(())?;
    let (time, rest) = rest.strip_prefix('[')?.split_once(']')?;
    let (seconds, fraction) = time.trim().split_once('.')?;
    let seconds: u64 = seconds.parse().ok()?;
    let fraction: u64 = (fraction.len() == 6).then(|| fraction.parse().ok())??;
    // `[  T123]` or `[  C1]`, where the kernel was built to say who (PRINTK_CALLER).
    let text = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let text = text.map_or(rest, |(_, text)| text);
    Some(Record {
        micros: seconds.checked_mul(1_000_000)?.checked_add(fraction)?,
        text: bounded(text.strip_prefix(' ').unwrap_or(text)),
    })
}

/// Facility 0 is the kernel; the lower three bits are how grave it is.
const fn is_kernels(priority: u32) -> bool {
    priority >> 3 == 0
}

fn bounded(text: &str) -> &str {
    let end = text.floor_char_boundary(TEXT_LIMIT);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let table = [
            (
                "6,1234,5678901,-;hello; world",
                Some((5_678_901, "hello; world")),
            ),
            ("3,7,12,c,caller=T1;part", Some((12, "part"))),
            (
                "<6>[   12.345678] hello [1] x",
                Some((12_345_678, "hello [1] x")),
            ),
            (
                "<3>[12345.000001][  T123] hello",
                Some((12_345_000_001, "hello")),
            ),
            ("<4>[    0.000000] ", Some((0, ""))),
            // Programs' own: facility 1 (user), 3 (daemon), and the most a kernel of today has.
            ("12,1,2,-;Out of memory", None),
            ("<30>[    1.000000] systemd[1]: hello", None),
            ("191,1,2,-;x", None),
            // Belongs to the line before; no time; nonsense.
            (" SUBSYSTEM=block", None),
            ("<6>hello", None),
            ("<6>[12.3] hello", None),
            ("6,1,x,-;hello", None),
            ("", None),
            (";", None),
            ("<", None),
        ];
        for (line, expected) in table {
            let read = Record::parse(line).map(|it| (it.micros, it.text));
            assert_eq!(read, expected, "{line}");
        }
    }

    #[test]
    fn every_record_has_its_number_whoever_wrote_it() {
        for (line, expected) in [
            ("6,1234,5,-;hello", Some(1234)),
            ("12,7,5,-;a program's", Some(7)),
            (" SUBSYSTEM=block;1,2", None),
            ("<6>[    1.000000] a;1,2", None),
            ("", None),
        ] {
            assert_eq!(sequence(line), expected, "{line}");
        }
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        let line = format!("6,1,2,-;{}", "é".repeat(1000));
        let text = Record::parse(&line).unwrap().text;
        assert_eq!(text.chars().count(), TEXT_LIMIT / 2);
    }
}
