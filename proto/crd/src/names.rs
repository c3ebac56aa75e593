//! Every name that objects of ours carry in Kubernetes: group, namespace, labels, annotations, finalizers, field managers,
//! accounts; and those of Kubernetes' own that several processes of ours look for.
//!
//! A name is written here once and never changed: objects and manifests of running clusters carry it.

/// The group of every Kind.
pub const GROUP: &str = "berth.dev";

/// The version that is served and stored.
pub const VERSION: &str = "v1alpha1";

/// Where Berth's processes run, and where the objects live that are Berth's own and no application's.
pub const NAMESPACE: &str = "berth-system";

/// The namespace of the secrets that images are pulled with, and of nothing else: the node agents may read every secret in it
/// by its name, and none in another.
pub const PULL_SECRETS_NAMESPACE: &str = "berth-pull-secrets";

/// Label of a Node: its rack. Operators may name another in the configuration.
pub const RACK_LABEL: &str = "topology.berth.dev/rack";

/// Annotation of a Pod: the networks it joins, in order, separated by commas.
pub const NETWORKS_ANNOTATION: &str = "berth.dev/networks";

/// Annotation of a Pod: what its addresses stick to, where that is not the Pod's own name.
pub const IDENTITY_ANNOTATION: &str = "berth.dev/identity";

/// Annotation of a Pod: how long its addresses are held after it: `forever`, `none` or a duration such as `30m`.
pub const HOLD_ANNOTATION: &str = "berth.dev/hold";

/// Annotation of a Pod: the addresses it must get, separated by commas; each is of the network whose pool it lies in.
pub const ADDRESSES_ANNOTATION: &str = "berth.dev/addresses";

/// Annotation of a Pod: what happens where its addresses are another rack's: [`RACK_CHANGE_NEW_ADDRESS`] (the default) or
/// [`RACK_CHANGE_WAIT`].
pub const RACK_CHANGE_ANNOTATION: &str = "berth.dev/rack-change";

/// Value of [`RACK_CHANGE_ANNOTATION`]: it gets new ones.
pub const RACK_CHANGE_NEW_ADDRESS: &str = "new-address";

/// Value of [`RACK_CHANGE_ANNOTATION`]: it does not start there.
pub const RACK_CHANGE_WAIT: &str = "wait";

/// Finalizer of a claim: it goes when its holder lets it go.
pub const CLAIM_FINALIZER: &str = "berth.dev/claim";

/// Verb on claims: set and remove the mark that a claim's holder is dead.
pub const FENCE_VERB: &str = "fence";

/// Verb on claims: set and remove the mark that a claim's binding is to be let go.
pub const RELEASE_VERB: &str = "release";

/// The `ClusterRole` of people who run Berth.
pub const OPERATOR_ROLE: &str = "berth-operator";

/// The `ServiceAccount` of the address daemons.
pub const IPAMD_ACCOUNT: &str = "berth-ipamd";

/// What the address daemons' writes are marked with.
pub const IPAMD_FIELD_MANAGER: &str = "berth-ipamd";

/// The `ServiceAccount` of the controllers.
pub const CONTROLLERS_ACCOUNT: &str = "berth-controllers";

/// What the controllers' writes are marked with; the author of the marks they set.
pub const CONTROLLERS_FIELD_MANAGER: &str = "berth-controllers";

/// The Lease whose holder is the controllers' leader.
pub const CONTROLLERS_LEASE: &str = "berth-controllers";

/// Label of a Node: the controllers run there.
pub const CONTROLLERS_LABEL: &str = "berth.dev/controllers";

/// Taint of a Node: an operator says that nothing runs there any more.
pub const OUT_OF_SERVICE_TAINT: &str = "node.kubernetes.io/out-of-service";

/// What the node agent's writes are marked with; what it owns by server-side apply.
pub const AGENT_FIELD_MANAGER: &str = "berth-agent";

/// Who tells in Events of the node agents.
pub const AGENT_CONTROLLER: &str = "berth.dev/agent";

/// Annotation of a claim: the UID of the holder's Node, written with `spec.node`. A Node of that name with another UID is
/// another node.
pub const NODE_UID_ANNOTATION: &str = "berth.dev/node-uid";

/// The `ServiceAccount` of the node agents.
pub const AGENT_ACCOUNT: &str = "berth-agent";

/// Finalizer of a `ContainerRestart`: its Pod is held unready for it, and is given back first.
pub const CONTAINER_RESTART_FINALIZER: &str = "berth.dev/container-restart";

/// Readiness gate of a Pod and type of its condition: False while somebody holds the Pod unready. Its message is a JSON list
/// of the holders.
pub const SERVICE_READY_GATE: &str = "berth.dev/ServiceReady";

/// Annotation of a Pod: with the value `true` the node's agent writes [`CONTAINERS_ANNOTATION`].
pub const REPORT_CONTAINERS_ANNOTATION: &str = "berth.dev/report-containers";

/// Annotation of a Pod: which specification each container has, which one runs, and its id
/// ([`crate::pod_containers::PodContainers`]).
pub const CONTAINERS_ANNOTATION: &str = "berth.dev/containers";

/// What the controllers' rosters of peers are marked with, apart from their other writes.
pub const PEERS_FIELD_MANAGER: &str = "berth-controllers-peers";

/// The Secret with what peers sign with: two keys of 32 bytes, [`PEERS_KEY`] and [`PEERS_OTHER_KEY`].
pub const PEERS_SECRET: &str = "berth-peers";

/// In [`PEERS_SECRET`]: signs, and is accepted.
pub const PEERS_KEY: &str = "key";

/// In [`PEERS_SECRET`]: is accepted too, while keys change: the next one, or the last.
pub const PEERS_OTHER_KEY: &str = "other";

/// Annotation of [`PEERS_SECRET`]: since when [`PEERS_KEY`] is what it is.
pub const PEERS_KEY_SINCE_ANNOTATION: &str = "berth.dev/key-since";

/// Annotation of [`PEERS_SECRET`]: since when [`PEERS_OTHER_KEY`] is the next key; none, where it is the last.
pub const PEERS_NEXT_SINCE_ANNOTATION: &str = "berth.dev/next-since";

/// Label of a Node: nothing of Berth's runs there.
pub const EXCLUDED_LABEL: &str = "berth.dev/excluded";

/// Label of a Pod of an `InPlaceSet`: its revision, by its hash.
pub const REVISION_LABEL: &str = "controller-revision-hash";

/// Label of a Pod of an `InPlaceSet`: its ordinal.
pub const POD_INDEX_LABEL: &str = "apps.kubernetes.io/pod-index";

/// Annotation of a Pod of an `InPlaceSet`: how far its upgrade is, as JSON; none, where none is under way.
pub const LOSSLESS_ANNOTATION: &str = "berth.dev/lossless";

/// Annotation of a Pod of an `InPlaceSet`: the release that touched it last.
pub const RELEASE_ANNOTATION: &str = "berth.dev/release";

/// Annotation of an `InPlaceSet`'s template: another value restarts all containers in place.
pub const RESTARTED_AT_ANNOTATION: &str = "berth.dev/restarted-at";

/// Annotation of a Pod: the finalizers that those who send traffic to it are expected to put there, as a JSON list. Written when
/// the Pod is made.
pub const PROTECTIONS_ANNOTATION: &str = "berth.dev/protections";

/// What the name of a finalizer begins with that says: somebody sends traffic to this Pod.
pub const PROTECTION_PREFIX: &str = "protection.berth.dev/";

/// Finalizer of a Pod: it is a ready endpoint of a Service.
pub const ENDPOINTS_PROTECTION: &str = "protection.berth.dev/endpoints";

/// Annotations of an `ImagePull` begin so, and end with the UID of an `InPlaceSet`: the release for which that set asks for its images.
/// `requestedBy` of an image that several sets ask for says it of the last of them only.
pub const ASKED_FOR_ANNOTATIONS: &str = "asked-for.berth.dev/";

/// Annotation of what the controllers wrote: the term of the leader that did so last.
pub const TERM_ANNOTATION: &str = "berth.dev/term";

/// Label of a `ControllerRevision` and of a `ContainerRestart` of an `InPlaceSet`: its name.
pub const IN_PLACE_SET_LABEL: &str = "berth.dev/in-place-set";

/// Who tells in Events of the controllers.
pub const CONTROLLERS_CONTROLLER: &str = "berth.dev/controllers";

/// Taint of a Node (`NoSchedule`): the node lifecycle gives it no new Pods. `spec.unschedulable` stays people's.
pub const CORDON_TAINT: &str = "berth.dev/cordon";

/// Value of [`OUT_OF_SERVICE_TAINT`]: it is fenced by a decision of ours.
pub const OUT_OF_SERVICE_BY_BERTH: &str = "berth";

/// Annotation of a Node: it is proven to run nothing any more. `poweroff`, `selffence` or `operator:WHO:WHEN`; each proof is
/// another value.
pub const FENCED_BY_ANNOTATION: &str = "berth.dev/fenced-by";

/// Annotation of a Node: people have said that it is down until then (RFC 3339).
pub const MAINTENANCE_ANNOTATION: &str = "berth.dev/maintenance";

/// Annotation of a Pod: its replacement is wanted and it is left alone. The id of the decision.
pub const SOFT_EVICTED_ANNOTATION: &str = "berth.dev/soft-evicted";

/// Annotation of a Pod that was soft-evicted from a `ReplicaSet`: the labels that were taken off, as JSON, to put them back.
pub const RELEASED_LABELS_ANNOTATION: &str = "berth.dev/released-labels";

/// Annotation of a Node: its Pods were taken out of the endpoints by the node lifecycle. The id of the decision.
pub const ENDPOINTS_WITHDRAWN_ANNOTATION: &str = "berth.dev/endpoints-withdrawn";

/// Annotation of a Pod of an `InPlaceSet`: the UID of the soft-evicted Pod that it was made for.
pub const REPLACES_ANNOTATION: &str = "berth.dev/replaces";

/// Reason of a Pod's condition `Ready`: its node is lost, so no traffic is sent to it.
pub const NODE_LOST_REASON: &str = "NodeLost";

/// Label of a `NodeDecision`: the node that it is about, where a label can hold its name.
pub const NODE_LABEL: &str = "berth.dev/node";

/// Label of a `NodeDecision`: the rack that it is about, or the one of its node.
pub const DECISION_RACK_LABEL: &str = "berth.dev/rack";

/// The one `LifecyclePolicy`.
pub const LIFECYCLE_POLICY: &str = "default";

/// Annotation of a `LifecycleFreeze` whose making is tried and not done (dry run): the UID of another. It is refused from when the API
/// server holds by that one.
pub const FREEZE_PROBE_ANNOTATION: &str = "berth.dev/probe";

/// The policy that refuses it.
pub const FREEZE_PROBE_POLICY: &str = "berth-freeze-probe";
