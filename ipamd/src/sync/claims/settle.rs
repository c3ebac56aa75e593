//! What an answer, or something heard, makes true here.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ipamd_core::{ANSWER_LIMIT, ClaimWrite};
use proto_crd::claim::Claim as Object;
use proto_ids::{Identity, PoolName};
use tracing::{debug, info, warn};

use super::board::{Elsewhere, Stamp};
use super::object::read;
use super::requests::{Answer, Ask, Call};
use super::round::pool_of;
use super::views::Source;
use super::watch::Heard;
use super::{Driver, chance};
use crate::ledger::claims::Place;

/// A refused request is not sent again before.
const BAR: Duration = Duration::from_secs(30);

impl Driver {
    /// Takes in what was heard of own claims. Answers whether there may be something to do.
    pub(super) fn hear(&mut self, heard: Heard) -> bool {
        let now = Instant::now();
        match heard {
            Heard::Listing => {
                self.listed.clear();
                false
            }
            Heard::Listed(object, sent) => {
                let place = self.see(*object, Source::Answer(sent));
                self.listed.extend(place);
                false
            }
            Heard::Whole(connection) => {
                let listed = std::mem::take(&mut self.listed);
                for place in self.views.missing_from(&listed) {
                    self.views.see_none(&place, Source::Watch, now);
                }
                self.regain(*connection);
                true
            }
            Heard::Changed(object) => self.see(*object, Source::Watch).is_some(),
            Heard::Gone(object) => self.views.leaves(&object, now).is_some(),
        }
    }

    /// A claim was seen. Answers where.
    pub(super) fn see(&mut self, object: Object, source: Source) -> Option<Place> {
        match self.views.see(object, source, Instant::now()) {
            Ok((place, _)) => Some(place),
            Err(error) => {
                warn!(%error, "a claim makes no sense, and is left alone");
                None
            }
        }
    }

    /// An answer came.
    pub(super) async fn settle(&mut self, call: Call, answer: Answer, sent: Instant) {
        let answer = if sent.elapsed() > ANSWER_LIMIT {
            Answer::Failed("the answer came too late to be believed".to_owned())
        } else {
            answer
        };
        self.parts.metrics.count(&call.ask, &answer);
        if !matches!(answer, Answer::Failed(_)) {
            self.pace.succeeded();
        }
        match call.ask {
            Ask::Look(place) => {
                self.busy.remove(&place);
                self.looked(place, answer, sent);
            }
            Ask::Write(place, write) => {
                self.busy.remove(&place);
                self.written(place, *write, answer, sent).await;
            }
            Ask::Find(identity) => {
                if let Some(stamp) = self.finding.remove(&identity) {
                    self.found(identity, stamp, answer, sent);
                }
            }
            Ask::Sweep(rack) => {
                let found = match &answer {
                    Answer::Found(objects) => Some(objects.as_slice()),
                    _ => None,
                };
                self.swept(&rack, found);
                self.missed(None, answer);
            }
            Ask::Survey(pool) => self.surveyed(&pool, answer, sent),
        }
    }

    fn looked(&mut self, place: Place, answer: Answer, sent: Instant) {
        self.read.insert(place.clone(), sent);
        match answer {
            Answer::Claim(Some(object)) => {
                self.look.remove(&place);
                self.see(*object, Source::Answer(sent));
            }
            Answer::Claim(None) => {
                self.look.remove(&place);
                self.views
                    .see_none(&place, Source::Answer(sent), Instant::now());
            }
            answer => self.missed(Some(place), answer),
        }
    }

    async fn written(&mut self, place: Place, write: ClaimWrite, answer: Answer, sent: Instant) {
        let Answer::Claim(object) = answer else {
            // It may be done all the same.
            self.views.touch(&place, Instant::now());
            self.look.insert(place.clone());
            if matches!(answer, Answer::Conflict) {
                debug!(network = %place.0, address = %place.1, "claim is not as it was seen");
                if matches!(write, ClaimWrite::Create(_)) {
                    self.collided(&place);
                }
            } else {
                self.missed(Some(place), answer);
            }
            return;
        };
        let claim = object.as_deref().map(read).transpose();
        let known = match claim {
            Ok(claim) => {
                let claim = claim.map(|(_, claim)| claim);
                let ledger = &self.parts.ledger;
                let stored = ledger.claim_written(place.clone(), write, claim).await;
                stored.map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = known {
            // As if no answer had come.
            warn!(network = %place.0, address = %place.1, error, "what a claim says now cannot be stored");
            self.views.touch(&place, Instant::now());
            self.look.insert(place);
            return;
        }
        match object {
            Some(object) => {
                self.see(*object, Source::Answer(sent));
            }
            None => self
                .views
                .see_none(&place, Source::Answer(sent), Instant::now()),
        }
        self.shared.arrive();
    }

    fn found(&mut self, identity: Identity, stamp: Stamp, answer: Answer, sent: Instant) {
        let Answer::Found(objects) = answer else {
            return self.missed(None, answer);
        };
        let settings = self.parts.ledger.status().borrow().settings.clone();
        let rack = settings.settings().rack.name().cloned();
        let mut pending = BTreeSet::new();
        let mut elsewhere = Vec::new();
        for object in objects {
            let here = rack
                .as_ref()
                .is_some_and(|rack| rack.as_str() == object.spec.rack);
            if here {
                let place = self.see(object, Source::Answer(sent));
                // One that names this node has been given to it a moment ago: the book must take it before anything new is given.
                pending.extend(place.filter(|it| self.views.comes(it, &identity, &self.owned)));
            } else if let (Ok(((network, address), claim)), Ok(rack)) =
                (read(&object), object.spec.rack.parse())
            {
                elsewhere.push(Elsewhere {
                    network,
                    address,
                    rack,
                    node: claim.content.node,
                });
            }
        }
        if !pending.is_empty() {
            let addresses: Vec<_> = pending.iter().map(|(_, it)| it.to_string()).collect();
            info!(%identity, ip = addresses.join(","), "addresses are on another node, which is asked for them");
        }
        let mut board = self.shared.board();
        board.found(identity, stamp, pending, elsewhere, Instant::now());
        drop(board);
        self.shared.arrive();
    }

    fn surveyed(&mut self, pool: &PoolName, answer: Answer, sent: Instant) {
        let is_answered = matches!(answer, Answer::Found(_));
        if let Some(survey) = self.surveys.get_mut(pool) {
            survey.ended(is_answered);
        }
        let Answer::Found(objects) = answer else {
            return self.missed(None, answer);
        };
        let now = Instant::now();
        let settings = self.parts.ledger.status().borrow().settings.clone();
        // What is not listed any more is nobody's.
        self.others.retain(|place, _| {
            pool_of(settings.settings(), place).is_none_or(|it| it.name != *pool)
        });
        for object in objects {
            if object.spec.node == self.parts.node.as_str() {
                self.see(object, Source::Answer(sent));
            } else if let Ok((place, claim)) = read(&object) {
                self.others
                    .insert(place, (claim.content.binding.is_some(), now));
            }
        }
    }

    /// Another node was first: which addresses are whose is read at once, and not one by one. Nothing is made in this pool meanwhile.
    fn collided(&mut self, place: &Place) {
        if self.connection.is_none() {
            return;
        }
        let now = Instant::now();
        let settings = self.parts.ledger.status().borrow().settings.clone();
        let Some(pool) = pool_of(settings.settings(), place).map(|pool| pool.name.clone()) else {
            return;
        };
        let survey = self.surveys.entry(pool.clone()).or_default();
        if survey.missed(now) {
            self.survey(pool);
        }
    }

    fn survey(&mut self, pool: PoolName) {
        self.send(Call {
            ask: Ask::Survey(pool),
            name: String::new(),
            object: None,
        });
    }

    /// Pods wait for addresses of networks of which others have all: what they have free by now is read.
    pub(super) fn hunt(&mut self) {
        if self.connection.is_none() || self.starved.is_empty() {
            return;
        }
        let now = Instant::now();
        let settings = self.parts.ledger.status().borrow().settings.clone();
        for pool in &settings.settings().pools {
            let hungry = self.starved.contains(&pool.network);
            if hungry
                && self
                    .surveys
                    .entry(pool.name.clone())
                    .or_default()
                    .hungers(now)
            {
                self.survey(pool.name.clone());
            }
        }
    }

    /// Nothing came of a request.
    fn missed(&mut self, place: Option<Place>, answer: Answer) {
        let now = Instant::now();
        match answer {
            Answer::Refused(problem) => {
                if let Some(place) = place {
                    self.barred.insert(place, now + BAR);
                } else {
                    self.pace.failed(chance(), now);
                }
                let mut board = self.shared.board();
                if board.refused.as_ref() != Some(&problem) {
                    warn!(
                        error = problem,
                        advice = "give the service account of berth-ipamd its rights (`kubectl apply -k install/manifests`)",
                        "the API server refuses what is asked of a claim"
                    );
                    board.refused = Some(problem);
                }
            }
            Answer::Failed(problem) => {
                debug!(error = problem, "no answer about a claim");
                self.pace.failed(chance(), now);
            }
            Answer::Claim(_) | Answer::Found(_) | Answer::Conflict => {}
        }
    }
}
