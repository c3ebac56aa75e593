use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use http_body_util::BodyExt as _;
use ipamd_daemon::Tasks;
use kube::Client;
use kube::client::Body;
use proto_crd::container_restart::{ContainerRestart, Phase};
use proto_crd::time::Timestamp;
use serde_json::{Value, json};
use tonic::codegen::http::{Request as HttpRequest, Response};

use super::super::requests::spawn_requests;
use super::*;

/// What the API server does when it is asked next.
#[derive(Clone, Debug)]
enum Answer {
    /// Does as it is told, and answers the object in this version.
    Does(&'static str),
    /// Answers this object to a read.
    Has(Value),
    /// Says no, with this code.
    Says(u16),
    /// Nothing comes.
    Away,
}

/// An API server that answers what it was told to, and remembers what it was sent.
#[derive(Clone, Default)]
struct Server {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    sent: Arc<Mutex<Vec<Value>>>,
}

impl Server {
    fn will(&self, answer: Answer) {
        self.answers.lock().unwrap().push_back(answer);
    }

    fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: HttpRequest<Body>| {
            let server = server.clone();
            async move { server.answer(request).await }
        });
        Client::new(service, "default")
    }

    async fn answer(&self, request: HttpRequest<Body>) -> Result<Response<Body>, std::io::Error> {
        // The watch is never told anything.
        if request
            .uri()
            .query()
            .is_some_and(|query| query.contains("limit=") || query.contains("watch="))
        {
            return std::future::pending().await;
        }
        let answer = self.answers.lock().unwrap().pop_front();
        let bytes = request.into_body().collect().await.unwrap().to_bytes();
        let sent: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        self.sent.lock().unwrap().push(sent.clone());
        let (code, body) = match answer.expect("it is asked once more than was told") {
            Answer::Does(version) => (200, object(version, &sent["status"])),
            Answer::Has(object) => (200, object),
            Answer::Says(code) => (
                code,
                json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no", "code": code}),
            ),
            Answer::Away => return Err(std::io::Error::other("connection refused")),
        };
        let response = Response::builder().status(code);
        Ok(response
            .body(Body::from(body.to_string().into_bytes()))
            .unwrap())
    }
}

fn object(version: &str, status: &Value) -> Value {
    let status: serde_json::Map<String, Value> = status
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "ContainerRestart",
        "metadata": {"name": "a", "namespace": "prod", "uid": "u-1", "resourceVersion": version},
        "spec": {"nodeName": "n1", "podName": "shop", "podUID": "p", "containers": [{"name": "main"}]},
        "status": status,
    })
}

/// A store, the server it asks, and where it keeps things.
struct World {
    server: Server,
    state: tempfile::TempDir,
    store: Store,
}

impl World {
    fn new() -> Self {
        let (server, state) = (Server::default(), tempfile::tempdir().unwrap());
        let store = open(&server, &state);
        let first: ContainerRestart = serde_json::from_value(object("1", &json!({}))).unwrap();
        store.requests.read("u-1", Some(&first));
        Self {
            server,
            state,
            store,
        }
    }

    fn request(&self) -> Request {
        self.store.get("u-1").unwrap()
    }

    /// Another process that was told nothing yet.
    fn next(&mut self) {
        self.store = open(&self.server, &self.state);
    }

    async fn store(&mut self, status: &ContainerRestartStatus) -> Stored {
        let request = self.request();
        self.store.store(&request, status).await
    }
}

fn open(server: &Server, state: &tempfile::TempDir) -> Store {
    let (tasks, _) = Tasks::new();
    let requests = spawn_requests(&tasks, server.client(), "n1");
    Store::open(
        Api::new(server.client()),
        requests,
        Journal::new(state.path()),
    )
}

fn begun(message: &str) -> ContainerRestartStatus {
    ContainerRestartStatus {
        phase: Phase::Recreating,
        accepted_at: Some(Timestamp::from_unix_milliseconds(5000)),
        message: message.to_owned(),
        ..ContainerRestartStatus::default()
    }
}

#[tokio::test]
async fn what_was_begun_goes_on_without_the_api_server_and_is_told_later() {
    let mut world = World::new();
    world.server.will(Answer::Does("2"));
    assert_eq!(world.store(&begun("one")).await, Stored::Yes);
    assert_eq!(
        world.server.sent.lock().unwrap()[0]["metadata"]["resourceVersion"],
        "1"
    );
    world.server.will(Answer::Away);
    assert_eq!(world.store(&begun("two")).await, Stored::Yes);
    // Not even asked: it was away a moment ago.
    assert_eq!(world.store(&begun("three")).await, Stored::Yes);
    // A process that cannot ask knows it from the node.
    world.next();
    let request = world.request();
    assert_eq!(
        (request.status.message.as_str(), request.is_told()),
        ("three", false)
    );
    world.server.will(Answer::Does("3"));
    assert!(world.store.tell(&request).await);
    assert!(world.request().is_told());
    world.store.forget("u-1").await;
    world.next();
    assert_eq!(world.store.get("u-1"), None);
}

#[tokio::test]
async fn what_was_decided_on_an_older_version_is_taken_back() {
    let mut world = World::new();
    world.server.will(Answer::Says(409));
    world
        .server
        .will(Answer::Has(object("7", &json!({"message": "newer"}))));
    assert_eq!(world.store(&begun("one")).await, Stored::Outdated);
    assert_eq!(world.request().status.message, "newer");
    assert_eq!(world.request().version, "7");
    world.next();
    assert_eq!(
        world.store.get("u-1"),
        None,
        "nothing is left of it on the node"
    );
}

#[tokio::test]
async fn what_is_refused_is_not_stored() {
    let mut world = World::new();
    world.server.will(Answer::Says(403));
    assert_eq!(world.store(&begun("one")).await, Stored::No);
    assert!(!world.request().status.has_begun());
}

#[tokio::test]
async fn what_was_not_begun_is_not_stored_on_the_node_alone() {
    let mut world = World::new();
    world.server.will(Answer::Away);
    let waiting = ContainerRestartStatus {
        message: "waits".to_owned(),
        ..ContainerRestartStatus::default()
    };
    assert_eq!(world.store(&waiting).await, Stored::No);
    world.next();
    assert_eq!(world.store.get("u-1"), None);
}

#[tokio::test]
async fn a_node_that_cannot_keep_anything_does_not_go_on_alone() {
    let mut world = World::new();
    std::fs::write(world.state.path().join("restarts"), "no folder").unwrap();
    world.server.will(Answer::Does("2"));
    assert_eq!(world.store(&begun("one")).await, Stored::Yes);
    world.server.will(Answer::Away);
    assert_eq!(world.store(&begun("two")).await, Stored::No);
    assert_eq!(world.request().status.message, "one");
}
