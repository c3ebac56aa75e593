//! A stand-in for the API server that holds one `ImagePull` and a few secrets: what an agent lists, watches and writes of them, and
//! refusals of everything else.
//!
//! For tiers without Kubernetes. It checks nothing: the tiers with a real API server do.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tests_testbed::Namespace;

use crate::http::{Client, LOOK_EVERY, Request, Server};

const PULLS: &str = "/apis/berth.dev/v1alpha1/namespaces/berth-system/imagepulls";

const SECRETS: &str = "/api/v1/namespaces/berth-pull-secrets/secrets/";

/// The stand-in.
#[derive(Debug)]
pub struct StandIn {
    port: u16,
    held: Arc<Held>,
    _server: Server,
}

#[derive(Debug, Default)]
struct Held {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    object: Value,
    version: u64,
    secrets: BTreeMap<String, Value>,
}

impl Held {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StandIn {
    /// Serves a port of a machine's loopback; nothing is held yet.
    pub fn start(machine: &Namespace, port: u16) -> Self {
        let held = Arc::new(Held::default());
        let serving = Arc::clone(&held);
        let server = Server::start(machine, port, move |request, client| {
            answer(request, client, &serving)
        });
        Self {
            port,
            held,
            _server: server,
        }
    }

    /// A kubeconfig for it.
    pub fn kubeconfig(&self) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "clusters": [{"name": "it", "cluster": {"server": format!("http://127.0.0.1:{}", self.port)}}],
            "users": [{"name": "it", "user": {}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        })
    }

    /// Asks the node for these images, so many at once.
    pub fn ask(&self, node: &str, images: &[Value], parallelism: u32) {
        let mut state = self.held.state();
        state.version += 1;
        let (version, status) = (state.version, state.object["status"].clone());
        state.object = json!({
            "apiVersion": "berth.dev/v1alpha1", "kind": "ImagePull",
            "metadata": {
                "name": node, "namespace": "berth-system", "uid": "the-one",
                "resourceVersion": version.to_string(), "generation": version,
            },
            "spec": {"nodeName": node, "images": images, "parallelism": parallelism},
        });
        if !status.is_null() {
            state.object["status"] = status;
        }
        self.held.changed.notify_all();
    }

    /// Holds a secret for the registry of that host.
    pub fn keep_secret(&self, name: &str, host: &str, user: &str, password: &str) {
        let credentials = json!({"auths": {host: {"username": user, "password": password}}});
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
            "type": "kubernetes.io/dockerconfigjson",
            "data": {".dockerconfigjson": base64(credentials.to_string().as_bytes())},
        });
        self.held.state().secrets.insert(name.to_owned(), secret);
    }

    /// The status of an image, as it was last written.
    pub fn image(&self, image: &str) -> Value {
        of_image(&self.held.state().object["status"], image)
    }

    /// The whole status.
    pub fn status(&self) -> Value {
        self.held.state().object["status"].clone()
    }
}

fn of_image(status: &Value, image: &str) -> Value {
    let images = status["images"].as_array();
    let found = images.and_then(|all| all.iter().find(|it| it["image"] == image));
    found.cloned().unwrap_or_default()
}

fn answer(request: &Request, client: &mut Client, held: &Held) -> std::io::Result<()> {
    let mut state = held.state();
    if request.method == "GET" && request.path == PULLS {
        if request.query.contains("watch=") {
            drop(state);
            return watch(client, held);
        }
        let items: Vec<&Value> = [&state.object]
            .into_iter()
            .filter(|it| !it.is_null())
            .collect();
        let list = json!({
            "apiVersion": "berth.dev/v1alpha1", "kind": "ImagePullList",
            "metadata": {"resourceVersion": state.version.to_string()}, "items": items,
        });
        return send(client, 200, &list);
    }
    if request.method == "PATCH" && request.path.starts_with(PULLS) {
        let patch: Value = serde_json::from_slice(&request.body)?;
        state.version += 1;
        let version = state.version.to_string();
        state.object["status"] = patch["status"].clone();
        state.object["metadata"]["resourceVersion"] = version.into();
        held.changed.notify_all();
        return send(client, 200, &state.object);
    }
    if let Some(secret) = request
        .path
        .strip_prefix(SECRETS)
        .and_then(|name| state.secrets.get(name))
    {
        return send(client, 200, secret);
    }
    let words = format!("the stand-in has no {}", request.path);
    let refusal = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": 404,
        "reason": "NotFound", "message": words,
    });
    send(client, 404, &refusal)
}

fn send(client: &mut Client, status: u16, body: &Value) -> std::io::Result<()> {
    let body = body.to_string();
    let headers = [
        ("Content-Type", "application/json".to_owned()),
        ("Content-Length", body.len().to_string()),
    ];
    client.head(status, &headers)?;
    client.send(body.as_bytes())
}

/// Tells every change, from the object as it is now: what was told twice does no harm.
fn watch(client: &mut Client, held: &Held) -> std::io::Result<()> {
    client.head(200, &[("Content-Type", "application/json".to_owned())])?;
    let mut told = 0;
    let mut state = held.state();
    loop {
        if state.version > told && !state.object.is_null() {
            told = state.version;
            let event = json!({"type": "MODIFIED", "object": state.object});
            drop(state);
            client.send(format!("{event}\n").as_bytes())?;
            state = held.state();
            continue;
        }
        if client.is_gone() {
            return Ok(());
        }
        let waited = held.changed.wait_timeout(state, LOOK_EVERY);
        state = waited.map_err(|_| std::io::ErrorKind::Other)?.0;
    }
}

/// As RFC 4648 has it.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let number = chunk
            .iter()
            .fold(0_usize, |all, &byte| all << 8 | usize::from(byte))
            << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = LETTERS[number >> (18 - 6 * place) & 63];
            text.push(if place <= chunk.len() {
                char::from(letter)
            } else {
                '='
            });
        }
    }
    text
}
