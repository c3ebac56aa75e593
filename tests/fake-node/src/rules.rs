//! How quick everything on the fake nodes is, and what goes wrong there.
//!
//! Owns no state of any Pod. What kubelet and a runtime do of themselves has a time here; what breaks is a [`Fault`] of an image,
//! or of a Pod, and can be taken back.

use std::collections::BTreeMap;
use std::time::Duration;

/// How long things take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pace {
    /// To pull an image that the node does not have.
    pub pull: Duration,
    /// To create and start a container.
    pub start: Duration,
    /// From a container's start until its readiness probe says so.
    pub ready: Duration,
    /// From TERM until a container has ended.
    pub stop: Duration,
    /// kubelet's first back-off, of crashes and of pulls.
    pub back_off: Duration,
    /// kubelet's longest.
    pub most_back_off: Duration,
}

/// kubelet forgets crashes of a container that ran so long; whatever its other settings are.
pub(crate) const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// TERM has this long at least, however long the hook took.
pub(crate) const LEAST_TERM: Duration = Duration::from_secs(2);

impl Pace {
    /// Of kubelet and a runtime, with an application that is there at once (measured on the testbed: an image change is Ready
    /// after 1.2 to 1.4 s).
    pub const fn real() -> Self {
        Self {
            pull: Duration::from_secs(3),
            start: Duration::from_millis(400),
            ready: Duration::from_millis(800),
            stop: Duration::from_millis(200),
            back_off: Duration::from_secs(10),
            most_back_off: Duration::from_secs(300),
        }
    }

    /// Fractions of a second, for tests.
    pub const fn quick() -> Self {
        Self {
            pull: Duration::from_millis(100),
            start: Duration::from_millis(50),
            ready: Duration::from_millis(100),
            stop: Duration::from_millis(100),
            back_off: Duration::from_secs(2),
            most_back_off: Duration::from_secs(4),
        }
    }
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Of an image: no registry has it.
    NoImage,
    /// Its containers end so long after each start.
    Crashes {
        /// How long.
        after: Duration,
    },
    /// Its containers run and are never ready.
    NeverReady,
    /// Its containers take so long to end, if they are let.
    SlowStop(Duration),
}

/// Whose fault it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Of {
    /// Every container of an image, wherever it runs.
    Image(String),
    /// Every container of a Pod: `NAMESPACE/NAME`.
    Pod(String),
}

/// All that goes wrong, and which images are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    faults: BTreeMap<Of, Fault>,
    /// Another name of an image that has the same digest.
    same: BTreeMap<String, String>,
}

impl Faults {
    pub(crate) fn set(&mut self, of: Of, fault: Option<Fault>) {
        match fault {
            Some(fault) => self.faults.insert(of, fault),
            None => self.faults.remove(&of),
        };
    }

    /// From now on the first is another name of the second.
    pub(crate) fn alias(&mut self, image: String, of: String) {
        self.same.insert(image, of);
    }

    /// What the runtime calls an image by its contents.
    pub(crate) fn image_id(&self, image: &str) -> String {
        let contents = self.same.get(image).map_or(image, String::as_str);
        format!("fake/{contents}")
    }

    pub(crate) fn has_image(&self, image: &str) -> bool {
        self.faults.get(&Of::Image(image.to_owned())) != Some(&Fault::NoImage)
    }

    pub(crate) fn crash(&self, pod: &str, image: &str) -> Option<Duration> {
        self.of(pod, image).find_map(|fault| match fault {
            Fault::Crashes { after } => Some(*after),
            _ => None,
        })
    }

    pub(crate) fn never_ready(&self, pod: &str, image: &str) -> bool {
        self.of(pod, image).any(|fault| *fault == Fault::NeverReady)
    }

    pub(crate) fn slow_stop(&self, pod: &str, image: &str) -> Option<Duration> {
        self.of(pod, image).find_map(|fault| match fault {
            Fault::SlowStop(time) => Some(*time),
            _ => None,
        })
    }

    fn of(&self, pod: &str, image: &str) -> impl Iterator<Item = &Fault> {
        let keys = [Of::Pod(pod.to_owned()), Of::Image(image.to_owned())];
        keys.into_iter().filter_map(|key| self.faults.get(&key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_is_of_a_pod_or_of_an_image_and_can_be_taken_back() {
        let mut faults = Faults::default();
        faults.set(Of::Image("bad".to_owned()), Some(Fault::NoImage));
        faults.set(Of::Pod("prod/shop-0".to_owned()), Some(Fault::NeverReady));
        assert!(!faults.has_image("bad"));
        assert!(faults.has_image("good"));
        assert!(faults.never_ready("prod/shop-0", "good"));
        assert!(!faults.never_ready("prod/shop-1", "good"));
        faults.set(Of::Image("bad".to_owned()), None);
        assert!(faults.has_image("bad"));
    }

    #[test]
    fn two_names_of_one_image_have_one_id() {
        let mut faults = Faults::default();
        assert_ne!(faults.image_id("app:v1"), faults.image_id("app:one"));
        faults.alias("app:one".to_owned(), "app:v1".to_owned());
        assert_eq!(faults.image_id("app:v1"), faults.image_id("app:one"));
    }
}
