//! What kind of trouble an error of this crate is, for the one place that turns errors into CNI codes.

/// The kind of trouble; every error of this crate has a method `fault` that names one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The network namespace does not exist, or the path is not one.
    NetnsMissing,
    /// The node's NIC or the operator's bridge is not there.
    UplinkMissing,
    /// The NIC carries addresses, and taking over was not asked for by name.
    NeedsTakeOver,
    /// The NIC or the bridge is used in another way than the configuration says.
    UplinkConflict,
    /// The take-over was undone because a gateway did not answer; the node is as before.
    RolledBack,
    /// An interface of the wanted name exists in the Pod already.
    IfnameExists,
    /// The kernel refused a step.
    Kernel,
    /// Somebody else holds the node-wide lock: try again later.
    Busy,
}
