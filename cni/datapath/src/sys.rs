//! The calls that neither `std` nor a safe wrapper offers.
//!
//! The only module with `unsafe`, and the only place where a thread changes its namespace. A thread that did so never
//! comes back: it ends, so that no later work finds itself in the wrong namespace.
#![allow(unsafe_code, reason = "the module that holds all of it")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd};

use nix::sched::CloneFlags;
use nix::unistd::ForkResult;

/// Whether the open file is a network namespace.
pub(crate) fn is_netns(fd: &impl AsFd) -> bool {
    // SAFETY: NS_GET_NSTYPE takes no argument and writes no memory; the descriptor is open while it is borrowed. On a
    // file that is no namespace the kernel answers ENOTTY.
    let kind = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::NS_GET_NSTYPE) };
    kind == libc::CLONE_NEWNET
}

/// Runs `work` on a thread of its own that has entered the network namespace and ends afterwards.
///
/// A panic of `work` goes on in the caller.
pub(crate) fn in_netns<T: Send>(
    fd: &(impl AsFd + Sync),
    work: impl FnOnce() -> T + Send,
) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("in-netns".to_owned())
            .spawn_scoped(scope, || {
                enter(fd)?;
                Ok(work())
            })?;
        match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

#[allow(
    clippy::disallowed_methods,
    reason = "the one place: only ever on a thread that ends"
)]
fn enter(fd: &impl AsFd) -> io::Result<()> {
    nix::sched::setns(fd, CloneFlags::CLONE_NEWNET).map_err(io::Error::from)
}

/// Lets a child process be the last to close a file.
pub(crate) fn close_in_child(file: OwnedFd) {
    // The child waits for the end of this pipe: were it quicker than we, the slow close would be ours after all.
    let Ok((wait, go)) = nix::unistd::pipe() else {
        return;
    };
    // SAFETY: the child calls nothing but close, read and _exit, all async-signal-safe, so that it does not matter
    // what locks other threads held.
    match unsafe { nix::unistd::fork() } {
        Ok(ForkResult::Child) => {
            let go = go.into_raw_fd();
            // The runtime reads our output until its end, so the child must not hold it open.
            for fd in [
                libc::STDIN_FILENO,
                libc::STDOUT_FILENO,
                libc::STDERR_FILENO,
                go,
            ] {
                // SAFETY: these descriptors belong to this process, which uses none of them any more.
                unsafe { libc::close(fd) };
            }
            let mut nothing = [0_u8; 1];
            let _ = nix::unistd::read(&wait, &mut nothing);
            // SAFETY: ends the child at once; the kernel closes its files.
            unsafe { libc::_exit(0) }
        }
        Ok(ForkResult::Parent { .. }) | Err(_) => {
            drop(file);
            drop(go);
        }
    }
}
