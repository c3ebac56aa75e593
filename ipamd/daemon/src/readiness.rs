//! Whether the daemon does its work now, and if not, why. A level, not an event: who waits, waits for the value.

use tokio::sync::watch;

/// What is answered to "are you ready?".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ready {
    /// The daemon serves.
    Yes,
    /// It does not; the text says why, for a person.
    No(String),
}

/// Sets the state. One owner.
#[derive(Debug)]
pub struct Readiness {
    sender: watch::Sender<Ready>,
}

/// Reads the state.
#[derive(Clone, Debug)]
pub struct ReadinessWatch {
    receiver: watch::Receiver<Ready>,
}

impl Readiness {
    /// Not ready, for this reason.
    pub fn new(reason: impl Into<String>) -> Self {
        let (sender, _) = watch::channel(Ready::No(reason.into()));
        Self { sender }
    }

    /// Sets the state.
    pub fn set(&self, ready: Ready) {
        self.sender.send_replace(ready);
    }

    /// A reader; also readers made before a change see it.
    pub fn watch(&self) -> ReadinessWatch {
        ReadinessWatch {
            receiver: self.sender.subscribe(),
        }
    }
}

impl ReadinessWatch {
    /// The state now. Not ready once the owner is gone.
    pub fn now(&self) -> Ready {
        if self.receiver.has_changed().is_err() {
            return Ready::No("stopped".to_owned());
        }
        self.receiver.borrow().clone()
    }

    /// Returns when the daemon is ready, or its owner is gone.
    ///
    /// # Cancellation
    /// Safe.
    pub async fn ready(&mut self) {
        let _ = self.receiver.wait_for(|state| *state == Ready::Yes).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn readers_see_the_level_and_the_owners_end() {
        let readiness = Readiness::new("recovering");
        let mut watch = readiness.watch();
        assert_eq!(watch.now(), Ready::No("recovering".to_owned()));
        readiness.set(Ready::Yes);
        watch.ready().await;
        assert_eq!(watch.now(), Ready::Yes);
        drop(readiness);
        assert_eq!(watch.now(), Ready::No("stopped".to_owned()));
    }
}
