//! Pods and those who make them: `ReplicaSet`s and `InPlaceSet`s replace what is deleted or released, the scheduler binds, kubelets
//! start and end. A Pod with a place of its own (a `StatefulSet`'s, a fixed address) is made anew only after its object is gone.

use crate::Seconds;
use crate::measure::Measure;

/// A Pod's number.
pub type PodId = usize;

/// Whose a Pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Released by its label.
    ReplicaSet,
    /// Released by a mark.
    InPlaceSet,
    /// It has a place of its own: a `StatefulSet`'s, or one with a fixed address.
    Placed,
}

/// How a Pod's process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No node yet.
    Waiting,
    /// Bound; ready then, if its node's kubelet is told and lives.
    Starting {
        /// When.
        ready: Seconds,
    },
    /// It ends as soon as it starts, again and again.
    Failing,
    /// It runs and serves.
    Running,
    /// It ended with its node; the object is there.
    Dead,
    /// The object is gone.
    Gone,
}

/// A Pod.
#[derive(Clone, Copy, Debug)]
pub struct Pod {
    /// Whose.
    pub owner: Owner,
    /// Which of their applications.
    pub app: usize,
    /// Where; meaningless while it waits.
    pub node: usize,
    /// How.
    pub state: State,
    /// Its Ready condition, as kubelet wrote it last.
    pub is_ready: bool,
    /// It has a deletion timestamp.
    pub is_deleted: bool,
    /// Its owner has released it: it was soft-evicted.
    pub is_released: bool,
    /// Who was made in its place.
    pub successor: Option<PodId>,
    /// In whose place it was made.
    pub predecessor: Option<PodId>,
    /// The loss that it ends by serving.
    answers: Option<usize>,
    /// When its object was made.
    pub created: Seconds,
}

/// All Pods.
#[derive(Clone, Debug, Default)]
pub struct Workload {
    pods: Vec<Pod>,
    waiting: Vec<PodId>,
    /// New Pods are never ready: a bad image, say.
    pub is_broken: bool,
}

impl Workload {
    /// A Pod.
    pub fn pod(&self, id: PodId) -> &Pod {
        &self.pods[id]
    }

    /// How many there were ever.
    pub fn len(&self) -> usize {
        self.pods.len()
    }

    /// None.
    pub fn is_empty(&self) -> bool {
        self.pods.is_empty()
    }

    /// One that runs since before the beginning.
    pub fn found(&mut self, owner: Owner, app: usize, node: usize) -> PodId {
        self.push(owner, app, 0);
        let id = self.pods.len() - 1;
        self.pods[id].node = node;
        self.pods[id].state = State::Running;
        self.pods[id].is_ready = true;
        id
    }

    fn push(&mut self, owner: Owner, app: usize, now: Seconds) {
        self.pods.push(Pod {
            owner,
            app,
            node: usize::MAX,
            state: State::Waiting,
            is_ready: false,
            is_deleted: false,
            is_released: false,
            successor: None,
            predecessor: None,
            answers: None,
            created: now,
        });
    }

    /// Whether another serves in its place: one that was made for it, or the one that it was made for.
    pub fn has_twin(&self, id: PodId) -> bool {
        let serves = |id: PodId| {
            let pod = &self.pods[id];
            pod.state == State::Running && !pod.is_deleted
        };
        let after = |id: &PodId| self.pods[*id].successor;
        let before = |id: &PodId| self.pods[*id].predecessor;
        let later = std::iter::successors(after(&id), after);
        let earlier = std::iter::successors(before(&id), before);
        later.chain(earlier).any(serves)
    }

    /// Sets a deletion timestamp; false where there was one. Its owner makes another at once, unless it has released this one or must
    /// wait until it is gone.
    pub fn delete(&mut self, id: PodId, now: Seconds) -> bool {
        let pod = self.pods[id];
        if pod.is_deleted || pod.state == State::Gone {
            return false;
        }
        self.pods[id].is_deleted = true;
        if pod.owner != Owner::Placed && !pod.is_released {
            self.succeed(id, now);
        }
        true
    }

    /// Releases a Pod, so that its owner makes another; false where it is released, deleted, gone, or has a place of its own.
    pub fn release(&mut self, id: PodId, now: Seconds) -> bool {
        let pod = self.pods[id];
        if pod.is_deleted || pod.is_released || pod.state == State::Gone {
            return false;
        }
        self.pods[id].is_released = true;
        self.succeed(id, now);
        true
    }

    /// The owner takes a released Pod back, and with it has one too many: that one, which it is to delete without making another.
    pub fn readopt(&mut self, id: PodId) -> Option<PodId> {
        if !self.pods[id].is_released || self.pods[id].is_deleted {
            return None;
        }
        self.pods[id].is_released = false;
        let successor = self.pods[id].successor.take()?;
        self.pods[successor].is_released = true;
        Some(successor)
    }

    fn succeed(&mut self, id: PodId, now: Seconds) {
        let Pod {
            owner,
            app,
            answers,
            ..
        } = self.pods[id];
        self.push(owner, app, now);
        let new = self.pods.len() - 1;
        self.pods[new].predecessor = Some(id);
        self.pods[new].answers = answers;
        self.pods[id].successor = Some(new);
        self.waiting.push(new);
    }

    /// Binds what waits to what `choose` says; the rest waits on. The Pods that were bound.
    pub fn bind(&mut self, mut choose: impl FnMut() -> Option<(usize, Seconds)>) -> Vec<PodId> {
        let mut bound = Vec::new();
        let mut left = Vec::new();
        for id in std::mem::take(&mut self.waiting) {
            if self.pods[id].is_deleted {
                self.pods[id].state = State::Gone;
            } else if let Some((node, ready)) = choose() {
                self.pods[id].node = node;
                self.pods[id].state = State::Starting { ready };
                bound.push(id);
            } else {
                left.push(id);
            }
        }
        self.waiting = left;
        bound
    }

    /// Its kubelet says how far a starting Pod is; true while it is still to be asked.
    pub fn advance(&mut self, id: PodId, now: Seconds, measure: &mut Measure) -> bool {
        let ready = match self.pods[id].state {
            State::Starting { .. } | State::Failing
                if self.is_broken && self.pods[id].created > 0 =>
            {
                self.pods[id].state = State::Failing;
                return true;
            }
            State::Starting { ready } => ready,
            State::Failing => now,
            _ => return false,
        };
        if ready > now {
            return true;
        }
        self.pods[id].state = State::Running;
        self.pods[id].is_ready = true;
        if let Some(lost) = self.pods[id].answers {
            measure.replace(lost, now);
        }
        false
    }

    /// Its node lost power.
    pub fn lose(&mut self, id: PodId, now: Seconds, measure: &mut Measure) {
        let pod = self.pods[id];
        match pod.state {
            State::Running => {}
            State::Starting { .. } | State::Failing => {
                self.pods[id].state = State::Dead;
                return;
            }
            State::Waiting | State::Dead | State::Gone => return,
        }
        self.pods[id].state = State::Dead;
        if pod.owner == Owner::Placed || pod.is_deleted {
            return;
        }
        let lost = measure.lose(now);
        self.pods[id].answers = Some(lost);
        if self.has_twin(id) {
            measure.replace(lost, now);
        }
        if let Some(successor) = pod.successor {
            self.pods[successor].answers = Some(lost);
        }
    }

    /// Its node has power again: what ended with it starts, unless it is deleted.
    pub fn revive(&mut self, id: PodId, ready: Seconds) {
        let pod = &mut self.pods[id];
        if pod.state == State::Dead && !pod.is_deleted {
            pod.state = State::Starting { ready };
            pod.is_ready = false;
        }
    }

    /// Its kubelet ends a deleted Pod, and the object goes; true where a process ended by it.
    pub fn end(&mut self, id: PodId, now: Seconds) -> bool {
        let pod = self.pods[id];
        self.pods[id].state = State::Gone;
        if pod.owner == Owner::Placed {
            self.succeed(id, now);
        }
        pod.state == State::Running
    }
}

#[cfg(test)]
mod tests;
