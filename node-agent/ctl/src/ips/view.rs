//! Addresses with who has them, as documents and as people see them. Pure.

use k8s_openapi::jiff::Timestamp;
use proto_crd::claim::{ClaimBinding, Mark};
use serde::Serialize;

use crate::age::{short, since};
use crate::claims::{ClaimSeen, State};
use crate::output::{Cell, Paint, Tone, columns};

/// Which of the claims that were read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Filter<'a> {
    /// Of this network.
    pub(super) network: Option<&'a str>,
    /// Of Pods of this namespace.
    pub(super) namespace: Option<&'a str>,
    /// Kept and unused.
    pub(super) held: bool,
}

/// An address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct IpView {
    address: String,
    network: String,
    rack: String,
    pool: String,
    node: String,
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    unused_since: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    asked_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fenced: Option<Mark>,
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<Mark>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleting_since: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    binding: Option<ClaimBinding>,
    epoch: i64,
    claim: String,
    #[serde(skip)]
    words: String,
}

/// By network and address; unused ones by how long they are.
pub(super) fn views(claims: &[ClaimSeen], filter: Filter<'_>) -> Vec<IpView> {
    let fits = |claim: &&ClaimSeen| {
        let network = filter.network.is_none_or(|it| it == claim.spec.network);
        let namespace = filter
            .namespace
            .is_none_or(|it| claim.namespace() == Some(it));
        let held = matches!(claim.state(), State::Held | State::Reserved);
        network && namespace && (held || !filter.held)
    };
    let mut found: Vec<_> = claims.iter().filter(fits).collect();
    found.sort_by_key(|claim| {
        let unused = claim.unused_since().filter(|_| filter.held);
        (unused, claim.spec.network.clone(), claim.address)
    });
    found.into_iter().map(view).collect()
}

fn view(claim: &ClaimSeen) -> IpView {
    let spec = &claim.spec;
    IpView {
        address: spec.address.clone(),
        network: spec.network.clone(),
        rack: spec.rack.clone(),
        pool: spec.pool.clone(),
        node: spec.node.clone(),
        state: claim.state(),
        unused_since: claim.unused_since(),
        asked_by: spec.handover.as_ref().map(|it| it.to.clone()),
        fenced: spec.fenced.clone(),
        release: spec.release.clone(),
        deleting_since: claim.deleting_since,
        binding: spec.binding.clone(),
        epoch: spec.epoch,
        claim: claim.name.clone(),
        words: claim.words(),
    }
}

impl IpView {
    fn identity(&self) -> &str {
        self.binding.as_ref().map_or("-", |it| it.identity.as_str())
    }

    fn mac(&self) -> &str {
        self.binding.as_ref().map_or("-", |it| it.mac.as_str())
    }

    fn state_cell(&self) -> Cell {
        let tone = match self.state {
            _ if self.fenced.is_some() || self.deleting_since.is_some() => Tone::Doubtful,
            State::Attached => Tone::Fine,
            _ => Tone::Plain,
        };
        Cell::new(tone, self.words.as_str())
    }

    fn unused(&self, now: Timestamp) -> String {
        let unused = self.unused_since;
        unused.map_or_else(|| "-".to_owned(), |time| short(since(time, now)))
    }

    fn owner(&self) -> String {
        let binding = self.binding.as_ref();
        let owner = binding.and_then(|it| it.owner.as_ref());
        owner.map_or_else(
            || "-".to_owned(),
            |owner| format!("{}/{}", owner.kind, owner.name),
        )
    }

    fn hold(&self) -> String {
        let binding = self.binding.as_ref();
        let hold = binding.and_then(|it| it.hold.clone());
        hold.unwrap_or_else(|| "-".to_owned())
    }
}

/// A line for each address.
pub(super) fn table(views: &[IpView], now: Timestamp, paint: Paint) -> String {
    let rows = views.iter().map(|view| {
        [
            view.address.as_str().into(),
            view.network.as_str().into(),
            view.rack.as_str().into(),
            view.node.as_str().into(),
            view.state_cell(),
            view.identity().into(),
            view.mac().into(),
            view.unused(now).into(),
        ]
    });
    let headings = [
        "ADDRESS", "NETWORK", "RACK", "NODE", "STATE", "IDENTITY", "MAC", "UNUSED",
    ];
    columns(headings, rows, paint)
}

/// The same, with what decides about it.
pub(super) fn wide(views: &[IpView], now: Timestamp, paint: Paint) -> String {
    let rows = views.iter().map(|view| {
        [
            view.address.as_str().into(),
            view.network.as_str().into(),
            view.rack.as_str().into(),
            view.pool.as_str().into(),
            view.node.as_str().into(),
            view.state_cell(),
            view.identity().into(),
            view.mac().into(),
            view.unused(now).into(),
            view.owner().into(),
            view.hold().into(),
            view.epoch.to_string().into(),
            view.claim.as_str().into(),
        ]
    });
    let headings = [
        "ADDRESS", "NETWORK", "RACK", "POOL", "NODE", "STATE", "IDENTITY", "MAC", "UNUSED",
        "OWNER", "HOLD", "EPOCH", "CLAIM",
    ];
    columns(headings, rows, paint)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::claims::fixture::{at, bound, claim, mark};

    fn claims() -> Vec<ClaimSeen> {
        let mut soon = bound("prod/db-1", "10.20.1.101", false);
        soon["binding"]["hold"] = json!("10m");
        soon["binding"]["until"] = json!(at(500));
        let mut later = bound("test/db-1", "10.20.1.99", false);
        later["binding"]["hold"] = json!("10m");
        later["binding"]["until"] = json!(at(550));
        let mut fenced = bound("prod/db-0", "10.30.1.9", true);
        fenced["network"] = json!("internal");
        fenced["fenced"] = mark("off");
        vec![
            claim("10.30.1.9", &fenced),
            claim("10.20.1.102", &json!({})),
            claim("10.20.1.101", &soon),
            claim("10.20.1.99", &later),
        ]
    }

    fn addresses(filter: Filter<'_>) -> Vec<String> {
        views(&claims(), filter)
            .into_iter()
            .map(|it| it.address)
            .collect()
    }

    #[test]
    fn filters_choose() {
        let all = Filter::default();
        assert_eq!(
            addresses(all),
            ["10.20.1.99", "10.20.1.101", "10.20.1.102", "10.30.1.9"]
        );
        let held = Filter { held: true, ..all };
        assert_eq!(
            addresses(held),
            ["10.20.1.101", "10.20.1.99"],
            "longest unused first"
        );
        let internal = Filter {
            network: Some("internal"),
            ..all
        };
        assert_eq!(addresses(internal), ["10.30.1.9"]);
        let prod = Filter {
            namespace: Some("prod"),
            ..all
        };
        assert_eq!(addresses(prod), ["10.20.1.101", "10.30.1.9"]);
    }

    #[test]
    fn people_see_who_has_what_and_since_when_it_is_unused() {
        let text = table(&views(&claims(), Filter::default()), at(100), Paint::NONE);
        let lines: Vec<_> = text.lines().collect();
        assert!(
            lines[1].contains("held until 2025-11-21T10:09:10Z"),
            "{text}"
        );
        assert!(lines[1].ends_with("b6:e7:0a:14:01:64   2m"), "{text}");
        assert!(lines[3].contains("warm"), "{text}");
        let words: Vec<_> = lines[4].split("  ").map(str::trim).collect();
        assert!(words.contains(&"attached, fenced"), "{text}");
        assert!(words.contains(&"prod/db-0"), "{text}");
    }

    #[test]
    fn documents_have_the_whole_binding() {
        let json = serde_json::to_value(views(&claims(), Filter::default())).unwrap();
        assert_eq!(json[3]["state"], "attached");
        assert_eq!(json[3]["fenced"]["by"], "jane");
        assert_eq!(json[1]["binding"]["identity"], "prod/db-1");
        assert_eq!(json[1]["unusedSince"], json!(at(-100)));
        assert!(json[2].get("binding").is_none());
    }
}
