//! Closing what is slow to close, where nobody waits for it.

use cni_neigh::Announcer;

use crate::sys;

/// Closes the packet socket in a child process that ends afterwards, because the kernel lets whoever closes one wait
/// for 8 to 16 ms, process exit included. Where no child can be had, it is closed here.
pub fn close_elsewhere(announcer: Announcer) {
    sys::close_in_child(announcer.into());
}
