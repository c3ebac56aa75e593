//! The key that peers sign with: when one is made, and when it changes. Pure, but for the drawing.
//!
//! **Always holds:** no step changes what is signed with to something that was not accepted everywhere for an hour before; kubelet
//! brings a Secret to its nodes within two minutes. An operator who takes the annotation `berth.dev/key-since` away has the key
//! changed now, within that hour; who deletes the Secret has it changed at once, and no peer understands another for minutes.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::core::ObjectMeta;
use node_agent_peers::datagram::KEY_SIZE;
use proto_crd::names;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::{Value, json};

/// How long a key is signed with.
const LIFE: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How long the next one is accepted before it is signed with.
const SETTLE: SignedDuration = SignedDuration::from_hours(1);

/// A key.
pub(super) type Key = [u8; KEY_SIZE];

/// The Secret, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SecretView {
    key: Option<Key>,
    other: Option<Key>,
    since: Option<Timestamp>,
    next_since: Option<Timestamp>,
}

impl From<&Secret> for SecretView {
    fn from(secret: &Secret) -> Self {
        let key = |name: &str| -> Option<Key> {
            let bytes = secret.data.as_ref()?.get(name)?;
            bytes.0.as_slice().try_into().ok()
        };
        let time = |name: &str| -> Option<Timestamp> {
            let text = secret.metadata.annotations.as_ref()?.get(name)?;
            text.parse().ok()
        };
        Self {
            key: key(names::PEERS_KEY),
            other: key(names::PEERS_OTHER_KEY),
            since: time(names::PEERS_KEY_SINCE_ANNOTATION),
            next_since: time(names::PEERS_NEXT_SINCE_ANNOTATION),
        }
    }
}

/// What is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// There is no key, or none that can be one.
    Make,
    /// The next one is to be accepted.
    Announce,
    /// The next one is to be signed with, and the old one to be accepted for a while.
    Switch,
}

/// No randomness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the kernel gives no random bytes")]
pub(super) struct DrawKeyError;

/// Draws a key.
///
/// # Errors
/// The kernel gives no randomness.
pub(super) fn draw() -> Result<Key, DrawKeyError> {
    let mut key = [0; KEY_SIZE];
    let filled = SystemRandom::new().fill(&mut key);
    filled.map(|()| key).map_err(|_| DrawKeyError)
}

/// What is to be done now.
pub(super) fn plan(secret: Option<&SecretView>, now: Timestamp) -> Option<Deed> {
    let Some(secret) = secret.filter(|secret| secret.key.is_some()) else {
        return Some(Deed::Make);
    };
    let age = |time: Timestamp| now.duration_since(time);
    match (secret.next_since, secret.since) {
        (Some(next), _) if secret.other.is_some() => (age(next) >= SETTLE).then_some(Deed::Switch),
        (_, Some(since)) if age(since) < LIFE => None,
        _ => Some(Deed::Announce),
    }
}

/// What to change of the Secret.
pub(super) fn fields(
    deed: Deed,
    secret: Option<&SecretView>,
    drawn: &Key,
    now: Timestamp,
) -> Value {
    let data = |key: Option<Key>| json!(key.map(|key| ByteString(key.to_vec())));
    let (old, other) = secret.map_or((None, None), |it| (it.key, it.other));
    let (keys, times) = match deed {
        Deed::Make => (
            json!({names::PEERS_KEY: data(Some(*drawn)), names::PEERS_OTHER_KEY: Value::Null}),
            (Some(now), None),
        ),
        Deed::Announce => (
            json!({names::PEERS_OTHER_KEY: data(Some(*drawn))}),
            (secret.and_then(|it| it.since), Some(now)),
        ),
        Deed::Switch => (
            json!({names::PEERS_KEY: data(other), names::PEERS_OTHER_KEY: data(old)}),
            (Some(now), None),
        ),
    };
    let time = |time: Option<Timestamp>| json!(time.map(|time| time.to_string()));
    json!({
        "data": keys,
        "metadata": {"annotations": {
            names::PEERS_KEY_SINCE_ANNOTATION: time(times.0),
            names::PEERS_NEXT_SINCE_ANNOTATION: time(times.1),
        }},
    })
}

/// The Secret, where there is none.
pub(super) fn new_secret(namespace: &str, drawn: &Key, now: Timestamp) -> Secret {
    let part_of = ("app.kubernetes.io/part-of".to_owned(), "berth".to_owned());
    let since = names::PEERS_KEY_SINCE_ANNOTATION.to_owned();
    Secret {
        metadata: ObjectMeta {
            name: Some(names::PEERS_SECRET.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: Some([part_of].into()),
            annotations: Some([(since, now.to_string())].into()),
            ..ObjectMeta::default()
        },
        data: Some([(names::PEERS_KEY.to_owned(), ByteString(drawn.to_vec()))].into()),
        ..Secret::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(1_000_000_000 + hours * 3600).unwrap()
    }

    fn view(other: bool, since: Option<i64>, next_since: Option<i64>) -> SecretView {
        SecretView {
            key: Some([1; KEY_SIZE]),
            other: other.then_some([2; KEY_SIZE]),
            since: since.map(at),
            next_since: next_since.map(at),
        }
    }

    #[test]
    fn a_key_is_made_announced_and_switched_to_in_its_time() {
        const MONTH: i64 = 30 * 24;
        for (view, hours, expected) in [
            (None, 0, Some(Deed::Make)),
            (
                Some(SecretView {
                    key: None,
                    ..view(true, Some(0), None)
                }),
                0,
                Some(Deed::Make),
            ),
            (Some(view(false, Some(0), None)), 0, None),
            (Some(view(false, Some(0), None)), MONTH - 1, None),
            (
                Some(view(false, Some(0), None)),
                MONTH,
                Some(Deed::Announce),
            ),
            // The last one is still there: replaced by the next.
            (Some(view(true, Some(0), None)), MONTH, Some(Deed::Announce)),
            (Some(view(true, Some(0), Some(MONTH))), MONTH, None),
            (
                Some(view(true, Some(0), Some(MONTH))),
                MONTH + 1,
                Some(Deed::Switch),
            ),
            // Somebody took the next one away.
            (
                Some(view(false, Some(0), Some(MONTH))),
                MONTH + 1,
                Some(Deed::Announce),
            ),
            // An operator wants a change, or a clock is wrong.
            (Some(view(false, None, None)), 0, Some(Deed::Announce)),
            (Some(view(false, Some(9), None)), 0, None),
        ] {
            assert_eq!(plan(view.as_ref(), at(hours)), expected, "{view:?} {hours}");
        }
    }

    /// The Secret after a merge.
    fn merged(view: Option<&SecretView>, deed: Deed, drawn: Key, hours: i64) -> SecretView {
        let Some(old) = view else {
            return SecretView::from(&new_secret("berth-system", &drawn, at(hours)));
        };
        let mut fields = fields(deed, view, &drawn, at(hours));
        if deed == Deed::Announce {
            // A merge leaves alone what is not named.
            fields["data"][names::PEERS_KEY] = json!(ByteString(old.key.unwrap().to_vec()));
        }
        for part in ["/data", "/metadata/annotations"] {
            let part = fields.pointer_mut(part).unwrap().as_object_mut().unwrap();
            part.retain(|_, value| !value.is_null());
        }
        let secret: Secret = serde_json::from_value(fields).unwrap();
        SecretView::from(&secret)
    }

    #[test]
    fn what_is_signed_with_was_accepted_before() {
        let mut view = merged(None, Deed::Make, [1; KEY_SIZE], 0);
        let mut hours = 0;
        for round in 2..5 {
            let old = view.clone();
            hours += 30 * 24;
            assert_eq!(plan(Some(&view), at(hours)), Some(Deed::Announce));
            view = merged(Some(&view), Deed::Announce, [round; KEY_SIZE], hours);
            assert_eq!((view.key, view.other), (old.key, Some([round; KEY_SIZE])));
            assert_eq!(plan(Some(&view), at(hours)), None);
            hours += 1;
            assert_eq!(plan(Some(&view), at(hours)), Some(Deed::Switch));
            view = merged(Some(&view), Deed::Switch, [99; KEY_SIZE], hours);
            assert_eq!((view.key, view.other), (Some([round; KEY_SIZE]), old.key));
            assert_eq!(plan(Some(&view), at(hours)), None);
        }
    }

    #[test]
    fn a_key_that_cannot_be_one_is_replaced() {
        let mut secret = new_secret("berth-system", &[1; KEY_SIZE], at(0));
        assert_eq!(plan(Some(&SecretView::from(&secret)), at(0)), None);
        let short = ByteString(vec![1; 8]);
        secret.data = Some([(names::PEERS_KEY.to_owned(), short)].into());
        let view = SecretView::from(&secret);
        assert_eq!(plan(Some(&view), at(0)), Some(Deed::Make));
        let made = merged(Some(&view), Deed::Make, [7; KEY_SIZE], 1);
        assert_eq!((made.key, made.other), (Some([7; KEY_SIZE]), None));
        assert_ne!(draw().unwrap(), draw().unwrap());
    }
}
