use std::io::Write as _;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::*;

/// What a look takes where nothing is new.
fn nothing() -> Batch {
    Batch {
        is_all: true,
        ..Batch::default()
    }
}

fn lines(batch: &Batch) -> Vec<&str> {
    batch.lines.iter().map(String::as_str).collect()
}

#[test]
fn plain_file_is_read_on_from_where_it_ended() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("kmsg");
    let mut file = File::create(&path).unwrap();
    let mut reader = Reader::new(path);
    file.write_all(b"6,1,1,-;one\n SUBSYSTEM=x\n6,2,2,-;tw")
        .unwrap();
    assert_eq!(
        lines(&reader.read().unwrap()),
        ["6,1,1,-;one", " SUBSYSTEM=x"]
    );
    assert_eq!(reader.read().unwrap(), nothing());
    file.write_all(b"o\n").unwrap();
    assert_eq!(lines(&reader.read().unwrap()), ["6,2,2,-;two"]);
}

#[test]
fn pipe_is_read_without_waiting_whoever_writes() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("kmsg");
    mkfifo(&path, Mode::S_IRWXU).unwrap();
    let mut reader = Reader::new(path.clone());
    // Nobody writes yet, somebody does and says nothing, says something, has gone, comes back.
    assert_eq!(reader.read().unwrap(), nothing());
    for text in ["one", "two"] {
        let mut writer = OpenOptions::new().write(true).open(&path).unwrap();
        assert_eq!(reader.read().unwrap(), nothing());
        writeln!(writer, "6,1,1,-;{text}").unwrap();
        assert_eq!(lines(&reader.read().unwrap()), [format!("6,1,1,-;{text}")]);
        drop(writer);
        assert_eq!(reader.read().unwrap(), nothing());
    }
}

#[test]
fn records_that_were_overwritten_are_counted_by_their_numbers() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("kmsg");
    std::fs::write(&path, "6,10,1,-;a\n12,11,1,-;b\n6,20,1,-;c\n6,3,1,-;d\n").unwrap();
    let batch = Reader::new(path).read().unwrap();
    assert_eq!((batch.lines.len(), batch.lost), (4, 8));
}

#[test]
fn one_look_takes_a_bounded_part_of_a_flood_and_nothing_is_lost() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("kmsg");
    let line = format!("6,1,1,-;{}\n", "x".repeat(91));
    assert_eq!(line.len(), 100);
    std::fs::write(&path, line.repeat(30_000)).unwrap();
    let mut reader = Reader::new(path);
    let counts: Vec<_> = (0..4).map(|_| reader.read().unwrap().lines.len()).collect();
    assert!(counts[0] <= (LOOK_BYTES + CHUNK) / 100, "{counts:?}");
    assert_eq!(counts.iter().sum::<usize>(), 30_000);
}

#[test]
fn line_without_end_takes_no_memory() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("kmsg");
    std::fs::write(&path, vec![b'x'; 500_000]).unwrap();
    let mut tail = Tail::new(File::open(path).unwrap());
    assert_eq!(tail.read().unwrap(), nothing());
    assert!(tail.begun.len() < 2 * CHUNK);
}

#[test]
fn file_that_is_meant_and_missing_is_an_error() {
    let error = Reader::new("/nonexistent/kmsg".into()).read().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

fn line(second: u64, text: &str) -> String {
    format!("<6>[{second:5}.000000] {text}\n")
}

/// What a reader that read `before` takes from what the kernel tells then.
fn taken(before: &str, now: &str, room: usize) -> (Vec<String>, u64) {
    let mut syslog = Syslog::default();
    let batch = syslog.anew(before, room);
    syslog.remember(batch);
    let batch = syslog.after_last(now);
    let batch = batch.unwrap_or_else(|| syslog.anew(now, room));
    (batch.lines, batch.lost)
}

/// What was told, what is told now, the room of the kernel's buffer; what is taken then.
type Told = (String, String, usize, (Vec<String>, u64));

#[test]
fn what_syslog_tells_again_is_not_taken_again() {
    let (a, b, c) = (line(1, "a"), line(2, "b"), line(3, "c"));
    let own = |texts: &[&String]| texts.iter().map(|it| it.trim_end().to_owned()).collect();
    let table: [Told; 7] = [
        (String::new(), format!("{a}{b}"), 100, (own(&[&a, &b]), 0)),
        (format!("{a}{b}"), format!("{a}{b}"), 100, (vec![], 0)),
        (
            format!("{a}{b}"),
            format!("{a}{b}{c}"),
            100,
            (own(&[&c]), 0),
        ),
        (format!("{a}{b}"), format!("{b}{c}"), 100, (own(&[&c]), 0)),
        // The last one was overwritten: what there is room for is full.
        (a.clone(), format!("{b}{c}"), 50, (own(&[&b, &c]), 1)),
        // The log was cleared.
        (a.clone(), c.clone(), 100, (own(&[&c]), 0)),
        (a.clone(), String::new(), 100, (vec![], 0)),
    ];
    for (before, now, room, expected) in table {
        assert_eq!(taken(&before, &now, room), expected, "{before:?} {now:?}");
    }
}

#[test]
fn kernels_own_log_is_read_or_refused_with_the_reason() {
    let mut syslog = Syslog::default();
    match syslog.read() {
        Ok(_) => assert!(syslog.read().unwrap().lines.len() < 1000),
        Err(error) => assert_eq!(error.kind(), ErrorKind::PermissionDenied),
    }
}
