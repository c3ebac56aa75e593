//! How much of an image has arrived, of what the runtime has and is transferring.
//!
//! The runtime does not say which image a transfer is for: a manifest does, which arrives first. A transfer of nobody's known manifest
//! counts for nobody.

use std::collections::BTreeMap;

use proto_crd::image_pull::PullProgress;
use serde::Deserialize;

/// A larger part of an image is no manifest.
pub const MANIFEST_AT_MOST: u64 = 256 * 1024;

/// How many parts of a repository are looked at for a manifest.
pub const MANIFESTS_AT_MOST: usize = 16;

/// What an image consists of.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Manifest {
    config: Part,
    layers: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Part {
    digest: String,
    size: i64,
}

impl Manifest {
    /// Reads one; nothing: it is something else.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        self.layers.iter().chain([&self.config])
    }
}

/// How much has arrived of that image of a repository that is on its way: all its manifests, sizes of what is there, and bytes
/// that have arrived of what is not, by digest. Nothing: none is on its way.
pub fn arrived(
    manifests: &[Manifest],
    there: &BTreeMap<String, u64>,
    arriving: &BTreeMap<String, u64>,
) -> Option<PullProgress> {
    let on_its_way = |manifest: &&Manifest| {
        manifest
            .parts()
            .filter(|part| arriving.contains_key(&part.digest))
            .count()
    };
    let manifest = manifests.iter().max_by_key(on_its_way)?;
    if on_its_way(&manifest) == 0 {
        return None;
    }
    let mut progress = PullProgress::default();
    for part in manifest.parts() {
        let whole = part.size.max(0);
        let has = |bytes: &u64| i64::try_from(*bytes).unwrap_or(i64::MAX).min(whole);
        let received = there
            .get(&part.digest)
            .or_else(|| arriving.get(&part.digest));
        let received = received.map_or(0, has);
        progress.known_bytes = progress.known_bytes.saturating_add(whole);
        progress.received_bytes = progress.received_bytes.saturating_add(received);
    }
    Some(progress)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(layers: &[(&str, i64)]) -> Manifest {
        let part = |(digest, size): &(&str, i64)| {
            format!("{{\"mediaType\": \"x\", \"digest\": \"{digest}\", \"size\": {size}}}")
        };
        let layers: Vec<_> = layers.iter().map(part).collect();
        let text = format!(
            "{{\"schemaVersion\": 2, \"config\": {}, \"layers\": [{}]}}",
            part(&("c", 10)),
            layers.join(",")
        );
        Manifest::parse(text.as_bytes()).unwrap()
    }

    fn by_digest(all: &[(&str, u64)]) -> BTreeMap<String, u64> {
        let pairs = all
            .iter()
            .map(|(digest, size)| ((*digest).to_owned(), *size));
        pairs.collect()
    }

    #[test]
    fn what_is_there_and_what_has_come_of_the_rest_is_counted() {
        let manifests = [manifest(&[("a", 100), ("b", 200), ("d", 400)])];
        let there = by_digest(&[("c", 10), ("a", 100)]);
        let progress = arrived(&manifests, &there, &by_digest(&[("b", 50)]));
        assert_eq!(
            progress,
            Some(PullProgress {
                received_bytes: 160,
                known_bytes: 710
            })
        );
    }

    #[test]
    fn transfer_of_another_image_counts_for_nobody() {
        let manifests = [manifest(&[("a", 100)])];
        assert_eq!(
            arrived(&manifests, &by_digest(&[]), &by_digest(&[("x", 5)])),
            None
        );
        assert_eq!(arrived(&[], &by_digest(&[]), &by_digest(&[("x", 5)])), None);
    }

    #[test]
    fn version_that_is_on_its_way_is_told_from_one_that_is_there() {
        let manifests = [manifest(&[("a", 100)]), manifest(&[("a", 100), ("b", 200)])];
        let there = by_digest(&[("c", 10), ("a", 100)]);
        let progress = arrived(&manifests, &there, &by_digest(&[("b", 50)])).unwrap();
        assert_eq!(progress.known_bytes, 310);
    }

    #[test]
    fn what_is_no_manifest_is_not_read_as_one() {
        for text in ["", "{}", "[]", "{\"config\": {}, \"rootfs\": {}}"] {
            assert_eq!(Manifest::parse(text.as_bytes()), None, "{text}");
        }
    }
}
