//! The roll of a node: a file in which each process of the controllers writes the name under which it stands, and which it keeps locked
//! for as long as it lives. The kernel takes a lock away with its process, and nobody writes without it: so who has the lock knows that
//! everybody whose name is there is dead.
//!
//! **Always holds:** names of another node are not believed, and what is not a whole line is no name. Without a roll, or where it cannot
//! be locked, nobody is known to be dead: a Lease is waited for.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use tokio::sync::oneshot;

/// So many names stay. The holder of the Lease is one of the last few: who came after it either took the Lease or died before.
const KEPT: usize = 16;

/// Who is dead, and was by then.
#[derive(Debug)]
pub(super) struct Dead {
    pub(super) names: BTreeSet<String>,
    pub(super) at: Instant,
}

/// A roll that this process has signed.
#[derive(Debug)]
struct Signed {
    /// Locked until it is closed.
    _file: File,
    dead: BTreeSet<String>,
    at: Instant,
}

/// Signs the roll as soon as nobody else who lives has it: a thread of its own waits, since a process before this one may take its time to
/// end, and a disk may hang.
pub(super) fn sign_when_free(
    path: PathBuf,
    identity: String,
) -> oneshot::Receiver<io::Result<Dead>> {
    let (told, signed) = oneshot::channel();
    let name = "roll".to_owned();
    // Where no thread can be had the other end says so: nothing will come.
    let _ = thread::Builder::new().name(name).spawn(move || {
        let dead = sign(&path, &identity).map(|signed| {
            // Never closed: a process that ends, and stands no more, may still have a write under way.
            let signed = Box::leak(Box::new(signed));
            Dead {
                names: std::mem::take(&mut signed.dead),
                at: signed.at,
            }
        });
        // Nobody listens any more: the process ends.
        let _ = told.send(dead);
    });
    signed
}

/// Waits for the lock, reads who was there before, and adds this name.
fn sign(path: &Path, identity: &str) -> io::Result<Signed> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    file.lock()?;
    let at = Instant::now();
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    let before = names(&String::from_utf8_lossy(&text), identity);
    let stay = before.iter().skip(before.len().saturating_sub(KEPT - 1));
    let all: String = stay
        .map(String::as_str)
        .chain([identity])
        .flat_map(|name| [name, "\n"])
        .collect();
    // A machine that goes down in between has no such names afterwards, and no process either: then the Lease is waited for.
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(all.as_bytes())?;
    Ok(Signed {
        _file: file,
        dead: before.into_iter().collect(),
        at,
    })
}

/// The names of this node's processes, oldest first.
fn names(text: &str, identity: &str) -> Vec<String> {
    let node = |name: &str| name.rsplit_once('_').map(|(node, _)| node.to_owned());
    let own = node(identity);
    text.split_inclusive('\n')
        .filter_map(|line| line.strip_suffix('\n'))
        .filter(|name| own.is_some() && node(name) == own)
        .map(ToOwned::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn dead(signed: &Signed) -> Vec<&str> {
        signed.dead.iter().map(String::as_str).collect()
    }

    #[test]
    fn those_who_signed_before_are_dead_once_the_roll_can_be_locked_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("not-there-yet/roll");
        let first = sign(&path, "n1_1").unwrap();
        assert_eq!(dead(&first), [""; 0]);
        drop(first);
        let second = sign(&path, "n1_2").unwrap();
        assert_eq!(dead(&second), ["n1_1"]);
        let mut third = sign_when_free(path.clone(), "n1_3".to_owned());
        // However long it has to wait: the second lives.
        thread::park_timeout(Duration::from_millis(50));
        assert!(third.try_recv().is_err());
        drop(second);
        let third = third.blocking_recv().unwrap().unwrap();
        let names: Vec<&str> = third.names.iter().map(String::as_str).collect();
        assert_eq!(names, ["n1_1", "n1_2"]);
        // For as long as this process lives.
        drop(third);
        assert!(File::open(&path).unwrap().try_lock().is_err());
    }

    #[test]
    fn only_whole_names_of_this_node_are_believed_and_the_last_of_them_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("roll");
        fs::write(&path, "n1_1\nn2_2\n\nnonsense\nn1_x_3\nn1_4\nn1_5").unwrap();
        assert_eq!(dead(&sign(&path, "n1_6").unwrap()), ["n1_1", "n1_4"]);
        assert_eq!(fs::read_to_string(&path).unwrap(), "n1_1\nn1_4\nn1_6\n");
        for number in 10..40 {
            sign(&path, &format!("n1_{number}")).unwrap();
        }
        let last = sign(&path, "n1_40").unwrap();
        assert_eq!(last.dead.len(), KEPT);
        assert!(last.dead.contains("n1_39"));
    }

    #[test]
    fn roll_that_cannot_be_written_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(sign(&file.join("roll"), "n1_1").is_err());
    }
}
