//! The task that owns the book: hears of the object and of attempts, begins attempts, publishes the status.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::pin::pin;
use std::time::Duration;

use ipamd_daemon::{Tasks, chain};
use k8s_openapi::jiff::Timestamp;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::watch_object;
use kube::{Api, Client};
use node_agent_pull::book::{Attempt, Book, Key, Outcome, Verdict};
use proto_crd::image_pull::{ImagePull, PullProgress};
use tokio::sync::{mpsc, watch};
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::attempt::{Site, make};
use super::metrics::{PullMetrics, PullResult};
use super::writer::Stand;

/// While no attempt is waited for, this often at least is looked at the clock, which may have been set.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// What an attempt tells.
#[derive(Debug)]
pub(super) enum Notice {
    /// How much has arrived.
    Arrived(Key, PullProgress),
    /// It has ended.
    Ended(Key, Outcome),
}

/// Who owns the book, and what with.
pub(super) struct Keeper {
    pub(super) tasks: Tasks,
    pub(super) site: Site,
    pub(super) metrics: PullMetrics,
    pub(super) stands: watch::Sender<Option<Stand>>,
}

/// One object, as long as it is there.
struct Kept {
    uid: String,
    generation: i64,
    book: Book,
    /// What ends an attempt that nobody wants any more.
    running: BTreeMap<Key, CancellationToken>,
}

/// Follows the object for ever.
pub(super) async fn keep(
    keeper: Keeper,
    client: Client,
    namespace: &str,
    node: &str,
    mut heard: mpsc::Receiver<Notice>,
) {
    let api: Api<ImagePull> = Api::namespaced(client, namespace);
    let mut objects = pin!(watch_object(api, node).default_backoff());
    let (mut kept, mut is_told) = (None::<Kept>, false);
    loop {
        let wait = keeper.begin(kept.as_mut()).unwrap_or(LOOK_EVERY);
        keeper.publish(kept.as_ref());
        tokio::select! {
            object = objects.next() => match object {
                Some(Ok(object)) => {
                    is_told = false;
                    kept = follow(kept, object);
                }
                Some(Err(error)) => {
                    // A watch ends now and then; a list that is refused is told once.
                    if is_told {
                        debug!(error = %chain(&error), "ImagePull not watched; trying on");
                    } else {
                        warn!(error = %chain(&error), "ImagePull not watched; trying on");
                    }
                    is_told = true;
                }
                None => return,
            },
            Some(notice) = heard.recv() => {
                if let Some(kept) = &mut kept {
                    keeper.hear(kept, notice);
                }
            }
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// The object as it is now.
fn follow(kept: Option<Kept>, object: Option<ImagePull>) -> Option<Kept> {
    let Some(object) = object else {
        if let Some(kept) = &kept {
            kept.stop_all();
            info!("no images are asked for any more");
        }
        return None;
    };
    let uid = object.metadata.uid.unwrap_or_default();
    let generation = object.metadata.generation.unwrap_or_default();
    match kept {
        // Our own writes come back as well; they do not change the generation.
        Some(kept) if kept.uid == uid && kept.generation == generation => Some(kept),
        Some(mut kept) if kept.uid == uid => {
            kept.generation = generation;
            for key in kept.book.follow(generation, &object.spec) {
                kept.stop(&key);
            }
            Some(kept)
        }
        other => {
            if let Some(other) = &other {
                other.stop_all();
            }
            info!(images = object.spec.images.len(), "images are asked for");
            Some(Kept {
                uid,
                generation,
                book: Book::load(generation, &object.spec, object.status.as_ref()),
                running: BTreeMap::new(),
            })
        }
    }
}

impl Kept {
    fn stop(&mut self, key: &Key) {
        if let Some(token) = self.running.remove(key) {
            token.cancel();
        }
    }

    fn stop_all(&self) {
        self.running.values().for_each(CancellationToken::cancel);
    }
}

impl Keeper {
    /// Begins what is due. Answers how long until the next is.
    fn begin(&self, kept: Option<&mut Kept>) -> Option<Duration> {
        let kept = kept?;
        for attempt in kept.book.start(Timestamp::now()) {
            let token = self.tasks.token().child_token();
            kept.running.insert(attempt.key.clone(), token.clone());
            self.run(attempt, token);
        }
        kept.book.next_start(Timestamp::now())
    }

    fn run(&self, attempt: Attempt, token: CancellationToken) {
        let site = self.site.clone();
        self.tasks.spawn_job("pull", async move {
            let key = attempt.key.clone();
            debug!(image = key.image, "attempt begun");
            // What is dropped in the middle the runtime gives up; what has arrived is kept.
            if let Some(outcome) = token.run_until_cancelled(make(&site, &attempt)).await {
                // Nobody listens any more only when the process is on its way out.
                let _ = site.notices.send(Notice::Ended(key, outcome)).await;
            } else {
                debug!(image = key.image, "attempt stopped");
            }
        });
    }

    fn hear(&self, kept: &mut Kept, notice: Notice) {
        match notice {
            Notice::Arrived(key, progress) => kept.book.progress(&key, progress),
            Notice::Ended(key, outcome) => {
                // Of one that was stopped meanwhile, another may run for the same entry by now.
                if kept.running.remove(&key).is_none() {
                    return;
                }
                let result = PullResult::of(&outcome);
                let said = describe(&outcome);
                let verdict = kept.book.end(&key, outcome, Timestamp::now(), chance());
                let image = key.image.as_str();
                match verdict {
                    Verdict::Succeeded => info!(image, result = said, "image is there"),
                    Verdict::Repeated => info!(image, error = said, "attempt failed; trying again"),
                    Verdict::GivenUp => warn!(image, error = said, "image given up"),
                    Verdict::Forgotten => {}
                }
                self.metrics.ended(result, verdict);
            }
        }
    }

    fn publish(&self, kept: Option<&Kept>) {
        let stand = kept.map(|kept| Stand {
            uid: kept.uid.clone(),
            status: kept.book.status(),
        });
        self.stands.send_if_modified(|now| {
            let is_news = *now != stand;
            *now = stand;
            is_news
        });
    }
}

fn describe(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Present { .. } => "it was there before".to_owned(),
        Outcome::Pulled { took, .. } => format!("pulled in {:.1} s", took.as_secs_f64()),
        Outcome::Failed(failure) => failure.message.clone(),
        Outcome::Away(message) => message.clone(),
    }
}

/// A new one each time: the standard library's hashers are seeded by the kernel's randomness, and differ from each other.
fn chance() -> u32 {
    (RandomState::new().build_hasher().finish() >> 32) as u32
}
