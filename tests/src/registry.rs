//! An image registry in a machine of the world, as good or as bad as a test wants each repository to be.
//!
//! Serves the reading half of the OCI distribution API by plain HTTP, which runtimes speak to a loopback. Images are made on the fly:
//! one layer with one file, or what the caller gives. Nothing that a test waits for is timed: what is slow waits until the test lets it go
//! on. Only a benchmark's layer has a pace.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tests_testbed::Namespace;

use crate::http::Server;

mod serve;

/// The one tag of every repository.
const TAG: &str = "v1";

/// How a repository behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manner {
    /// As it should.
    Fine,
    /// Half of the layer comes, and the rest when [`Registry::release`] says so.
    Held,
    /// So many transfers of the layer break off; those that follow do not.
    BreaksOff(u32),
    /// So many requests are answered with this status; those that follow are not.
    Answers(u16, u32),
    /// The manifest is another one than its digest stands for.
    OtherManifest,
    /// The layer has other bytes than its digest stands for.
    OtherLayer,
    /// Only who shows this (`user:password` in base64) gets anything.
    Wants(&'static str),
    /// The layer comes at so many bytes a second.
    Paced(u32),
}

/// A running registry, on the loopback of one machine.
#[derive(Debug)]
pub struct Registry {
    port: u16,
    shared: Arc<Shared>,
    _server: Server,
}

/// An image in the registry.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its name with a tag.
    pub tagged: String,
    /// Its name with a digest.
    pub digested: String,
    /// The digest.
    pub digest: String,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    repositories: BTreeMap<String, Repository>,
    /// Whose layers are being sent, and the most at once.
    sending: BTreeMap<String, u32>,
    most_at_once: usize,
    released: BTreeSet<String>,
    /// Requests by repository.
    requests: BTreeMap<String, u32>,
}

#[derive(Clone, Debug)]
struct Repository {
    manner: Manner,
    manifest: Vec<u8>,
    digest: String,
    blobs: BTreeMap<String, Arc<Vec<u8>>>,
    layer: String,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry {
    /// Listens on the loopback of a machine.
    pub fn start(machine: &Namespace, port: u16) -> Self {
        let shared = Arc::new(Shared::default());
        let serving = Arc::clone(&shared);
        let server = Server::start(machine, port, move |request, client| {
            serve::answer(request, client, &serving)
        });
        Self {
            port,
            shared,
            _server: server,
        }
    }

    /// Puts an image into a repository, with a layer of this size.
    pub fn store(&self, repository: &str, layer_bytes: usize, manner: Manner) -> Stored {
        let content: Vec<u8> = repository.bytes().cycle().take(layer_bytes).collect();
        let config = json!({"Labels": {"repository": repository}});
        self.store_image(repository, &config, vec![layer("file", &content)], manner)
    }

    /// Puts an image into a repository: what its containers run, and its layers, each a tar archive. The last one is sent in the
    /// repository's manner.
    pub fn store_image(
        &self,
        repository: &str,
        config: &Value,
        layers: Vec<Vec<u8>>,
        manner: Manner,
    ) -> Stored {
        let layers: Vec<_> = layers.into_iter().map(|it| (digest(&it), it)).collect();
        let digests: Vec<&str> = layers.iter().map(|(digest, _)| &**digest).collect();
        let config = json!({
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": digests},
        });
        let config = config.to_string().into_bytes();
        let config_digest = digest(&config);
        let described = layers.iter().map(|(digest, layer)| {
            json!({
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": digest, "size": layer.len(),
            })
        });
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": serve::MANIFEST,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": config_digest, "size": config.len(),
            },
            "layers": described.collect::<Vec<_>>(),
        });
        let manifest = manifest.to_string().into_bytes();
        let digest = digest(&manifest);
        let name = format!("127.0.0.1:{}/{repository}", self.port);
        let stored = Stored {
            tagged: format!("{name}:{TAG}"),
            digested: format!("{name}@{digest}"),
            digest: digest.clone(),
        };
        let layer = layers.last().map(|(digest, _)| digest.clone()).unwrap();
        let blobs = layers.into_iter().chain([(config_digest, config)]);
        let repository_of = Repository {
            manner,
            manifest,
            digest,
            layer,
            blobs: blobs
                .map(|(digest, blob)| (digest, Arc::new(blob)))
                .collect(),
        };
        let mut state = self.shared.state();
        state
            .repositories
            .insert(repository.to_owned(), repository_of);
        stored
    }

    /// Takes a repository away.
    pub fn remove(&self, repository: &str) {
        self.shared.state().repositories.remove(repository);
    }

    /// Changes how a repository behaves.
    pub fn behave(&self, repository: &str, manner: Manner) {
        let mut state = self.shared.state();
        state.repositories.get_mut(repository).unwrap().manner = manner;
    }

    /// Lets the rest of a layer go.
    pub fn release(&self, repository: &str) {
        self.shared.state().released.insert(repository.to_owned());
        self.shared.changed.notify_all();
    }

    /// The repositories whose layers are being sent now.
    pub fn sending(&self) -> BTreeSet<String> {
        self.shared.state().sending.keys().cloned().collect()
    }

    /// Of how many repositories layers were sent at once, at the most.
    pub fn most_at_once(&self) -> usize {
        self.shared.state().most_at_once
    }

    /// How often something of a repository was asked for.
    pub fn requests(&self, repository: &str) -> u32 {
        let state = self.shared.state();
        state.requests.get(repository).copied().unwrap_or_default()
    }
}

/// A layer: a tar archive with one file.
pub fn layer(file: &str, content: &[u8]) -> Vec<u8> {
    let bytes = content.len();
    let mut header = [0_u8; 512];
    let mut put = |at: usize, text: &str| {
        header[at..at + text.len()].copy_from_slice(text.as_bytes());
    };
    put(0, file);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{bytes:011o}\0"));
    put(136, "00000000000\0");
    // The checksum is taken with blanks in its place.
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    // The file is padded, and two empty blocks end it.
    let whole = 512 + bytes.div_ceil(512) * 512 + 1024;
    let mut archive = Vec::with_capacity(whole);
    archive.extend(header);
    archive.extend(content);
    archive.resize(whole, 0);
    archive
}

fn digest(bytes: &[u8]) -> String {
    let mut child = Command::new("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    let said = child.wait_with_output().unwrap();
    let text = String::from_utf8(said.stdout).unwrap();
    format!("sha256:{}", text.split_whitespace().next().unwrap())
}
