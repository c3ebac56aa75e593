//! The calls themselves: the only module of the agent with `unsafe`.
#![allow(unsafe_code, reason = "the module that holds all of it")]

use std::io;
use std::mem;
use std::ptr;

/// The last lines that fit, without taking them away (syslog(2)).
const SYSLOG_ACTION_READ_ALL: libc::c_int = 3;

/// How large the log is at most (syslog(2)).
const SYSLOG_ACTION_SIZE_BUFFER: libc::c_int = 10;

pub(crate) fn read_log(buffer: &mut [u8]) -> io::Result<usize> {
    let room = libc::c_int::try_from(buffer.len()).unwrap_or(libc::c_int::MAX);
    // SAFETY: the kernel writes at most `room` bytes to the buffer, which is borrowed for the call and no shorter than that.
    let read = unsafe { libc::klogctl(SYSLOG_ACTION_READ_ALL, buffer.as_mut_ptr().cast(), room) };
    usize::try_from(read).map_err(|_| io::Error::last_os_error())
}

pub(crate) fn log_size() -> io::Result<usize> {
    // SAFETY: this action takes no buffer.
    let size = unsafe { libc::klogctl(SYSLOG_ACTION_SIZE_BUFFER, ptr::null_mut(), 0) };
    usize::try_from(size).map_err(|_| io::Error::last_os_error())
}

pub(crate) fn read_timex() -> io::Result<libc::timex> {
    // SAFETY: a structure of integers, for which zeroes are a value; with `modes` zero nothing is set.
    let mut timex: libc::timex = unsafe { mem::zeroed() };
    // SAFETY: the kernel reads and writes the one structure, which is borrowed for the call.
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    // Anything from 0 up is the state of the leap second and the clock.
    if state < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(timex)
}
