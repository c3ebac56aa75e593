//! What the agent asks of the kernel for which neither `std` nor a well-kept crate has a safe call.
//!
//! A proof boundary and nothing else: one function a system call, no policy, no state. Nothing here changes anything: what is
//! read is read by others too.

mod sys;

use std::io;

/// The kernel's log, oldest line first, as much of its end as fits into the buffer: whole lines, `<priority>[seconds.micros] text`.
/// Answers how many bytes there are.
///
/// Reading takes nothing away, unlike `/proc/kmsg`, which shares one position with rsyslog; and unlike `/dev/kmsg` it is no device,
/// so that a container needs `CAP_SYSLOG` and no device rule, which Kubernetes gives to privileged containers only.
///
/// # Errors
/// `PermissionDenied` without `CAP_SYSLOG` where `kernel.dmesg_restrict` is set (or a seccomp profile forbids it).
pub fn read_log(buffer: &mut [u8]) -> io::Result<usize> {
    sys::read_log(buffer)
}

/// How many bytes the kernel keeps of its log at most.
///
/// # Errors
/// As [`read_log`].
pub fn log_size() -> io::Result<usize> {
    sys::log_size()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_read_into_no_room() {
        // The kernel looks at permissions first; both answers leave the empty buffer alone.
        match read_log(&mut []) {
            Ok(read) => assert_eq!(read, 0),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied),
        }
    }
}
