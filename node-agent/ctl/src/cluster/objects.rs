//! Objects as they are read: of each only what an answer needs.

use std::collections::BTreeMap;

use anyhow::Result;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, PartialObjectMeta};
use kube::{Api, ResourceExt};
use proto_crd::claim::Claim;
use proto_crd::names;
use proto_crd::pool::Pool;

use super::{Cluster, explain, pages_of};
use crate::claims::{ClaimSeen, Selection};
use crate::pools::PoolSeen;
use crate::seen::{EventSeen, NodeSeen, PodSeen};

/// The label of the Pods in which berth-ipamd runs.
const IPAMD_PODS: &str = "app.kubernetes.io/name=berth-ipamd";

/// A node's own network has no address of Berth's, and a Pod that has ended has given its address back.
const PODS_WITH_ADDRESSES: &str =
    "spec.hostNetwork=false,status.phase!=Succeeded,status.phase!=Failed";

/// Berth's Events of Nodes, which have no namespace, lie in this one.
const NODE_EVENTS: &str = "default";

/// A `StatefulSet`: which ordinals it wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StatefulSetSeen {
    /// The first ordinal.
    pub(crate) first: i64,
    /// How many.
    pub(crate) replicas: i64,
    /// It is being deleted.
    pub(crate) deleting: bool,
}

impl Cluster {
    /// All pools.
    pub(crate) async fn pools(&self) -> Result<Vec<PoolSeen>> {
        let api: Api<Pool> = Api::namespaced(self.client.clone(), &self.namespace);
        let list = async |params| api.list(&params).await;
        let params = ListParams::default();
        pages_of("the Pools", params, list, |pool| Some(PoolSeen::of(pool))).await
    }

    /// When the controllers' leader last said that it leads.
    pub(crate) async fn leader_renewed(&self) -> Result<Option<Timestamp>> {
        let api: Api<Lease> = Api::namespaced(self.client.clone(), &self.namespace);
        let found = api.get_opt(names::CONTROLLERS_LEASE).await;
        let found = found.map_err(|error| explain("the Lease of the controllers", error))?;
        let spec = found.and_then(|lease| lease.spec);
        let held = spec.filter(|spec| {
            spec.holder_identity
                .as_ref()
                .is_some_and(|it| !it.is_empty())
        });
        Ok(held.and_then(|spec| spec.renew_time).map(|time| time.0))
    }

    /// The claims that are selected, in the order of their names.
    pub(crate) async fn claims(&self, of: &Selection) -> Result<Vec<ClaimSeen>> {
        let list = async |params| self.claim_api().list(&params).await;
        let params = ListParams {
            field_selector: of.field_selector(),
            ..ListParams::default()
        };
        pages_of("the Claims", params, list, ClaimSeen::of).await
    }

    /// One claim, if there is one.
    pub(crate) async fn claim(&self, name: &str) -> Result<Option<ClaimSeen>> {
        let found = self.claim_api().get_opt(name).await;
        let found = found.map_err(|error| explain("the Claim", error))?;
        Ok(found.and_then(ClaimSeen::of))
    }

    /// All Pods that should have an address of their own.
    pub(crate) async fn pods(&self) -> Result<Vec<PodSeen>> {
        let api: Api<Pod> = Api::all(self.client.clone());
        let list = async |params| api.list(&params).await;
        let params = ListParams::default().fields(PODS_WITH_ADDRESSES);
        pages_of("the Pods", params, list, |pod| Some(PodSeen::of(&pod))).await
    }

    /// One Pod, if there is one.
    pub(crate) async fn pod(&self, namespace: &str, name: &str) -> Result<Option<PodSeen>> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let found = api.get_opt(name).await;
        let found = found.map_err(|error| explain("the Pod", error))?;
        Ok(found.as_ref().map(PodSeen::of))
    }

    /// All nodes, with their racks by this label.
    pub(crate) async fn nodes(&self, rack_label: &str) -> Result<Vec<NodeSeen>> {
        let api: Api<Node> = Api::all(self.client.clone());
        let list = async |params| api.list(&params).await;
        let params = ListParams::default();
        let keep = |node: Node| Some(NodeSeen::of(&node, rack_label));
        pages_of("the Nodes", params, list, keep).await
    }

    /// One node with its rack by this label, if there is one.
    pub(crate) async fn node_seen(&self, name: &str, rack_label: &str) -> Result<Option<NodeSeen>> {
        let node = self.node(name).await?;
        Ok(node.map(|node| NodeSeen::of(&node, rack_label)))
    }

    /// The names of the nodes of a rack.
    pub(crate) async fn nodes_of_rack(&self, rack: &str, rack_label: &str) -> Result<Vec<String>> {
        let api: Api<Node> = Api::all(self.client.clone());
        let list = async |params| api.list_metadata(&params).await;
        let params = ListParams::default().labels(&format!("{rack_label}={rack}"));
        let keep = |node: PartialObjectMeta<Node>| Some(node.name_any());
        pages_of("the Nodes of the rack", params, list, keep).await
    }

    /// The Pods of berth-ipamd by their nodes; of one node, where it is named.
    pub(crate) async fn ipamd_pods(&self, node: Option<&str>) -> Result<BTreeMap<String, String>> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let list = async |params| api.list(&params).await;
        let mut params = ListParams::default().labels(IPAMD_PODS);
        if let Some(node) = node {
            params = params.fields(&format!("spec.nodeName={node}"));
        }
        let keep = |pod: Pod| {
            // One that goes makes room for the next, which is asked as soon as it runs.
            let going = pod.metadata.deletion_timestamp.is_some();
            let node = pod.spec.as_ref()?.node_name.clone()?;
            (!going).then(|| (node, pod.name_any()))
        };
        let all = pages_of("the Pods of berth-ipamd", params, list, keep).await?;
        Ok(all.into_iter().collect())
    }

    /// What a `StatefulSet` wants, if there is one.
    pub(crate) async fn stateful_set(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
    ) -> Result<Option<StatefulSetSeen>> {
        let api: Api<StatefulSet> = Api::namespaced(self.client.clone(), namespace);
        let found = api.get_opt(name).await;
        let found = found.map_err(|error| explain("the StatefulSet", error))?;
        // One of the same name that was made anew wants what it wants for itself.
        let same = found.filter(|set| set.metadata.uid.as_deref() == Some(uid));
        Ok(same.map(|set| {
            let deleting = set.metadata.deletion_timestamp.is_some();
            let spec = set.spec.unwrap_or_default();
            StatefulSetSeen {
                first: spec.ordinals.and_then(|it| it.start).unwrap_or(0).into(),
                replicas: spec.replicas.unwrap_or(1).into(),
                deleting,
            }
        }))
    }

    /// The Events of a Pod, oldest first.
    pub(crate) async fn pod_events(&self, namespace: &str, name: &str) -> Result<Vec<EventSeen>> {
        self.events(
            namespace,
            &format!("involvedObject.kind=Pod,involvedObject.name={name}"),
        )
        .await
    }

    /// The Events that berth-ipamd made of its Node, oldest first.
    pub(crate) async fn node_events(&self, node: &str) -> Result<Vec<EventSeen>> {
        let selector = format!("involvedObject.kind=Node,involvedObject.name={node}");
        let mut all = self.events(NODE_EVENTS, &selector).await?;
        all.retain(|event| event.by.contains("berth"));
        Ok(all)
    }

    async fn events(&self, namespace: &str, selector: &str) -> Result<Vec<EventSeen>> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let list = async |params| api.list(&params).await;
        let params = ListParams::default().fields(selector);
        let keep = |event: Event| Some(EventSeen::of(&event));
        let mut all = pages_of("the Events", params, list, keep).await?;
        all.sort_by_key(|event| event.time);
        Ok(all)
    }

    pub(super) fn claim_api(&self) -> Api<Claim> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}
