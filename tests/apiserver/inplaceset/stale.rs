//! A way to the API server whose watches can be made old: between the controllers and the API server, on their machine's loopback.
//!
//! TLS goes through as it is, so nothing is read. A client speaks HTTP/1.1 and never sends anything again on the connection of a
//! watch: a connection that was there when the watches were frozen hears nothing until its client speaks, or until they are let
//! go on. So reads and writes are answered, and what watches tell is of before.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sched::CloneFlags;
use tests_testbed::Namespace;

/// Where the API server is, in the machine.
const SERVER: (Ipv4Addr, u16) = (Ipv4Addr::new(10, 50, 0, 2), 6443);

/// How often who waits looks whether it is still wanted.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The way; it ends with this.
#[derive(Debug)]
pub(super) struct Way {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    over: AtomicBool,
    lines: Mutex<Vec<Arc<Line>>>,
}

/// One connection: whether nothing is told on it.
#[derive(Debug, Default)]
struct Line {
    frozen: Mutex<bool>,
    changed: Condvar,
}

impl Line {
    fn set(&self, frozen: bool) {
        *self.frozen.lock().unwrap_or_else(PoisonError::into_inner) = frozen;
        self.changed.notify_all();
    }

    fn wait(&self, is_over: &AtomicBool) {
        let mut frozen = self.frozen.lock().unwrap_or_else(PoisonError::into_inner);
        while *frozen && !is_over.load(Ordering::Relaxed) {
            let waited = self.changed.wait_timeout(frozen, LOOK_EVERY);
            frozen = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Way {
    /// Listens on a port of the machine's loopback.
    pub(super) fn start(machine: &Namespace, port: u16) -> Self {
        let shared = Arc::new(Shared::default());
        let netns = std::fs::File::open(machine.net_path()).unwrap();
        let (serving, (listens, heard)) = (Arc::clone(&shared), std::sync::mpsc::channel());
        thread::spawn(move || {
            #[allow(
                clippy::disallowed_methods,
                reason = "a thread of its own, which does nothing else"
            )]
            nix::sched::setns(netns, CloneFlags::CLONE_NEWNET).unwrap();
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
            listener.set_nonblocking(true).unwrap();
            listens.send(()).unwrap();
            serve(&listener, &serving);
        });
        heard.recv().unwrap();
        Self { shared }
    }

    /// From now on the watches that there are tell nothing.
    pub(super) fn freeze(&self) {
        self.all(true);
    }

    /// They tell everything.
    pub(super) fn thaw(&self) {
        self.all(false);
    }

    fn all(&self, frozen: bool) {
        let lines = self.shared.lines.lock();
        for line in lines.unwrap_or_else(PoisonError::into_inner).iter() {
            line.set(frozen);
        }
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
    }
}

fn serve(listener: &TcpListener, shared: &Arc<Shared>) {
    let pause = Condvar::new();
    let never = Mutex::new(());
    while !shared.over.load(Ordering::Relaxed) {
        let client = match listener.accept() {
            Ok((client, _)) => client,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let held = never.lock().unwrap_or_else(PoisonError::into_inner);
                let _ = pause.wait_timeout(held, Duration::from_millis(5));
                continue;
            }
            Err(_) => continue,
        };
        let Ok(server) = TcpStream::connect(SocketAddr::from(SERVER)) else {
            continue;
        };
        let line = Arc::new(Line::default());
        let lines = shared.lines.lock();
        lines
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::clone(&line));
        let up = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let of = (Arc::clone(&line), Arc::clone(shared));
        thread::spawn(move || pump(up.0, up.1, &of.1.over, || of.0.set(false)));
        let of = (line, Arc::clone(shared));
        thread::spawn(move || pump(server, client, &of.1.over, || of.0.wait(&of.1.over)));
    }
}

/// Everything that one side says goes to the other, after `before`.
fn pump(mut from: TcpStream, mut to: TcpStream, over: &AtomicBool, before: impl Fn()) {
    let _ = from.set_nonblocking(false);
    let _ = from.set_read_timeout(Some(LOOK_EVERY));
    let _ = to.set_nodelay(true);
    let mut buffer = vec![0; 64 * 1024];
    while !over.load(Ordering::Relaxed) {
        let count = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) =>
            {
                continue;
            }
            Err(_) => break,
        };
        before();
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
