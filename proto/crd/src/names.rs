//! Every name that objects of ours carry in Kubernetes: group, namespace, labels, annotations, field managers.
//!
//! A name is written here once and never changed: objects and manifests of running clusters carry it.

/// The group of every Kind.
pub const GROUP: &str = "berth.dev";

/// The version that is served and stored.
pub const VERSION: &str = "v1alpha1";

/// Where Berth's processes run, and where the objects live that are Berth's own and no application's.
pub const NAMESPACE: &str = "berth-system";

/// Label of a Node: its rack. Operators may name another in the configuration.
pub const RACK_LABEL: &str = "topology.berth.dev/rack";

/// Annotation of a Pod: the networks it joins, in order, separated by commas.
pub const NETWORKS_ANNOTATION: &str = "berth.dev/networks";

/// Annotation of a Pod: what its addresses stick to, where that is not the Pod's own name.
pub const IDENTITY_ANNOTATION: &str = "berth.dev/identity";

/// What the node agent's writes are marked with; what it owns by server-side apply.
pub const AGENT_FIELD_MANAGER: &str = "berth-agent";
