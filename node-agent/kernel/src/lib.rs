//! What the agent asks of the kernel for which neither `std` nor a well-kept crate has a safe call.
//!
//! A proof boundary and nothing else: one function a system call, no policy, no state. Nothing here changes anything: what is
//! read is read by others too.

mod sys;

use std::io;
use std::time::Duration;

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

/// What the kernel knows of how right its wall clock is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockState {
    /// Whether somebody keeps it right (`STA_UNSYNC` is not set): who does, says so by the same call, and the kernel takes it back when
    /// nothing was heard for some hours.
    pub is_synchronised: bool,
    /// What is still to be corrected.
    pub offset: Duration,
    /// How wrong it may be at most, as who keeps it right says; grows by itself.
    pub max_error: Duration,
}

/// How right the wall clock is (adjtimex(2)), which sets nothing and needs no right.
///
/// # Errors
/// `PermissionDenied` where a seccomp profile forbids it.
pub fn clock_state() -> io::Result<ClockState> {
    let timex = sys::read_timex()?;
    let offset = timex.offset.unsigned_abs();
    Ok(ClockState {
        is_synchronised: timex.status & libc::STA_UNSYNC == 0,
        offset: if timex.status & libc::STA_NANO == 0 {
            Duration::from_micros(offset)
        } else {
            Duration::from_nanos(offset)
        },
        max_error: Duration::from_micros(timex.maxerror.unsigned_abs()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_is_read_without_a_right() {
        let state = clock_state().unwrap();
        // An unsynchronised clock is taken for wrong by 16 s at least (NTP_PHASE_LIMIT).
        assert!(state.is_synchronised || state.max_error >= Duration::from_secs(16));
    }

    #[test]
    fn nothing_is_read_into_no_room() {
        // The kernel looks at permissions first; both answers leave the empty buffer alone.
        match read_log(&mut []) {
            Ok(read) => assert_eq!(read, 0),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied),
        }
    }
}
