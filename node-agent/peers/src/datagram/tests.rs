use proptest::prelude::*;

use super::*;

const KEY: [u8; KEY_SIZE] = [7; KEY_SIZE];
const NEXT: [u8; KEY_SIZE] = [8; KEY_SIZE];

fn ends(from: &str, to: &str) -> Ends {
    Ends {
        from: from.parse().unwrap(),
        to: to.parse().unwrap(),
    }
}

fn probe() -> Datagram {
    Datagram {
        kind: Kind::Probe,
        sender: NodeId::of("n1"),
        target: NodeId::of("n2"),
        nonce: Nonce([9; 16]),
        boot: BootId::of("1c4b"),
        sequence: 5,
        time_micros: -3,
    }
}

#[test]
fn what_was_sealed_is_opened() {
    let keys = Keys::new(&KEY, None);
    for (ends, kind) in [
        (ends("10.0.0.1", "10.0.0.2"), Kind::Probe),
        (ends("fd00::1", "fd00::2"), Kind::Answer),
    ] {
        let sent = Datagram { kind, ..probe() };
        let bytes = sent.seal(&keys, ends);
        assert_eq!(bytes.len(), SIZE);
        assert_eq!(Datagram::open(&bytes, &keys, ends), Ok(sent));
    }
}

#[test]
fn every_byte_counts() {
    let (keys, ends) = (Keys::new(&KEY, None), ends("10.0.0.1", "10.0.0.2"));
    let sealed = probe().seal(&keys, ends);
    for at in 0..SIZE {
        let mut bytes = sealed;
        bytes[at] ^= 1;
        let refused = Datagram::open(&bytes, &keys, ends).unwrap_err();
        let expected = if at < 5 {
            OpenDatagramError::Version
        } else {
            OpenDatagramError::Forged
        };
        assert_eq!(refused, expected, "byte {at}");
    }
    for length in [0, 1, SIZE - 1] {
        let refused = Datagram::open(&sealed[..length], &keys, ends);
        assert_eq!(refused, Err(OpenDatagramError::Size));
    }
    let longer = [&sealed[..], &[0]].concat();
    assert_eq!(
        Datagram::open(&longer, &keys, ends),
        Err(OpenDatagramError::Size)
    );
}

#[test]
fn a_recorded_one_is_of_no_use_between_other_addresses() {
    let (keys, there) = (Keys::new(&KEY, None), ends("10.0.0.1", "10.0.0.2"));
    let sealed = probe().seal(&keys, there);
    for other in [
        ends("10.0.0.9", "10.0.0.2"),
        ends("10.0.0.1", "10.0.0.9"),
        ends("10.0.0.2", "10.0.0.1"),
        ends("fd00::1", "10.0.0.2"),
    ] {
        let refused = Datagram::open(&sealed, &keys, other);
        assert_eq!(refused, Err(OpenDatagramError::Forged), "{other:?}");
    }
}

#[test]
fn while_keys_change_nodes_of_each_step_understand_each_other() {
    let steps = [
        Keys::new(&KEY, None),
        Keys::new(&KEY, Some(&NEXT)),
        Keys::new(&NEXT, Some(&KEY)),
        Keys::new(&NEXT, None),
    ];
    let ends = ends("10.0.0.1", "10.0.0.2");
    // By whom it was sent, and whether each of the four understands it. Who is two steps behind does not: a step is put off
    // until all have made the one before.
    for (from, understood) in [
        (0, [true, true, true, false]),
        (1, [true, true, true, false]),
        (2, [false, true, true, true]),
        (3, [false, true, true, true]),
    ] {
        let sealed = probe().seal(&steps[from], ends);
        let opened = [0, 1, 2, 3].map(|to| Datagram::open(&sealed, &steps[to], ends).is_ok());
        assert_eq!(opened, understood, "from {from}");
    }
}

#[test]
fn a_signed_one_of_a_kind_that_is_not_known_is_refused() {
    let (keys, ends) = (Keys::new(&KEY, None), ends("10.0.0.1", "10.0.0.2"));
    for (at, value) in [(5, 3), (5, 0), (6, 1), (7, 1)] {
        let mut bytes = probe().seal(&keys, ends);
        bytes[at] = value;
        let code = hmac::sign(&keys.current, &signed(&bytes, ends));
        bytes[BODY..].copy_from_slice(code.as_ref());
        let refused = Datagram::open(&bytes, &keys, ends);
        assert_eq!(refused, Err(OpenDatagramError::Malformed));
    }
}

proptest! {
    #[test]
    fn nothing_that_was_not_sealed_is_opened(bytes in proptest::collection::vec(any::<u8>(), 0..2 * SIZE), is_ours: bool) {
        let mut bytes = bytes;
        if is_ours && bytes.len() >= 5 {
            bytes[..4].copy_from_slice(&MAGIC);
            bytes[4] = VERSION;
        }
        let keys = Keys::new(&KEY, Some(&NEXT));
        prop_assert!(Datagram::open(&bytes, &keys, ends("10.0.0.1", "10.0.0.2")).is_err());
    }

    #[test]
    fn every_value_survives(sequence: u64, time_micros: i64, nonce: [u8; 16]) {
        let (keys, ends) = (Keys::new(&KEY, None), ends("10.0.0.1", "fd00::2"));
        let sent = Datagram { sequence, time_micros, nonce: Nonce(nonce), ..probe() };
        prop_assert_eq!(Datagram::open(&sent.seal(&keys, ends), &keys, ends), Ok(sent));
    }
}
