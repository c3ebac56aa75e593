//! Images that the node does not have: a registry on its loopback, at a stated pace, in which each image is another one. What they run is the testbed's own
//! layer, which the node has; on it lies a large layer of random bytes, which no runtime has and none can compress.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tests::registry::{Manner, Registry, layer};
use tests_testbed::{Cluster, write_image};

/// Where the registry listens.
const REGISTRY_PORT: u16 = 5000;

/// What containers of such an image need; what they run, their Pod says.
const VARIABLES: [&str; 1] = ["PATH=/bin"];

/// A registry with one image at a time.
#[derive(Debug)]
pub(crate) struct Shelf {
    registry: Registry,
    node: &'static str,
    /// What the images have in common.
    base: Vec<u8>,
    /// Of the layer that each has for itself.
    bytes: u64,
    /// How fast that comes, in bytes a second.
    rate: u32,
    /// The images that the node had at first.
    first: BTreeSet<String>,
    /// Images so far.
    made: usize,
}

/// An image that was never on the node.
#[derive(Debug)]
pub(crate) struct Fresh {
    /// By what it is called.
    pub(crate) name: String,
    repository: String,
    /// What of older ones the node still has.
    older: BTreeSet<String>,
}

impl Shelf {
    /// Starts the registry on a node's loopback.
    pub(crate) fn new(
        cluster: &Cluster,
        node: &'static str,
        bytes: u64,
        rate: u32,
    ) -> Result<Self> {
        let machine = cluster.world().node(node).namespace();
        let machine = machine.context("the node is off")?;
        Ok(Self {
            registry: Registry::start(machine, REGISTRY_PORT),
            node,
            base: base()?,
            bytes,
            rate,
            first: images(cluster, node)?,
            made: 0,
        })
    }

    /// Makes another image.
    pub(crate) fn fresh(&mut self, cluster: &Cluster) -> Result<Fresh> {
        self.made += 1;
        let repository = format!("app-{}", self.made);
        let mut content = Vec::new();
        File::open("/dev/urandom")
            .and_then(|file| file.take(self.bytes).read_to_end(&mut content))
            .context("read random bytes")?;
        let layers = vec![self.base.clone(), layer("ballast", &content)];
        let config = json!({"Env": VARIABLES});
        let manner = Manner::Paced(self.rate);
        let stored = self
            .registry
            .store_image(&repository, &config, layers, manner);
        let there = images(cluster, self.node)?;
        ensure!(!there.contains(&stored.tagged), "{repository} is there");
        Ok(Fresh {
            name: stored.tagged,
            repository,
            older: there.difference(&self.first).cloned().collect(),
        })
    }

    /// Ends with an image that is used now: it was pulled, and older ones go from the node, whose disk is small.
    pub(crate) fn used(&self, cluster: &Cluster, fresh: &Fresh) -> Result<()> {
        let asked = self.registry.requests(&fresh.repository);
        ensure!(asked > 0, "nobody pulled {}", fresh.name);
        self.registry.remove(&fresh.repository);
        let mut words = vec!["ctr", "-n", "k8s.io", "image", "remove", "--sync"];
        words.extend(fresh.older.iter().map(String::as_str));
        if !fresh.older.is_empty() {
            cluster.world().node(self.node).run(&words)?;
        }
        Ok(())
    }
}

fn images(cluster: &Cluster, node: &str) -> Result<BTreeSet<String>> {
    let words = ["ctr", "-n", "k8s.io", "image", "list", "-q"];
    let said = cluster.world().node(node).run(&words)?;
    Ok(said.lines().map(str::to_owned).collect())
}

/// The layer of the testbed's images.
fn base() -> Result<Vec<u8>> {
    let folder = tempfile::tempdir().context("make a folder")?;
    let archive = write_image(&folder.path().join("image"))?;
    let output = Command::new("tar")
        .arg("-xOf")
        .arg(&archive)
        .arg("./layer.tar")
        .output()
        .context("start tar")?;
    ensure!(
        output.status.success() && !output.stdout.is_empty(),
        "{} has no layer: {}",
        archive.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}
