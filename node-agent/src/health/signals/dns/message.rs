//! One small question and the head of its answer (RFC 1035, 4.1). Whatever bytes come, parsing does not panic.

/// A query for an address (type A, class IN).
const TAIL: [u8; 4] = [0, 1, 0, 1];
/// The name servers of a node resolve for it.
const RECURSION_DESIRED: u8 = 0x01;
const IS_ANSWER: u8 = 0x80;
const NAME_ERROR: u8 = 3;

/// What a name server answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The name, or that there is none of that name: it can look up either.
    Found,
    /// That it cannot, or will not; by the code's name.
    Fails(&'static str),
}

/// A question for the addresses of `name`, by this number. Labels that no name can have are left out.
pub(super) fn question(number: u16, name: &str) -> Vec<u8> {
    let [high, low] = number.to_be_bytes();
    let mut bytes = vec![high, low, RECURSION_DESIRED, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    // 255 bytes are the longest name; what is longer is cut at a label.
    let mut left = 253_usize;
    for label in name.split('.') {
        let Some(length) = u8::try_from(label.len())
            .ok()
            .filter(|it| (1..=63).contains(it))
        else {
            continue;
        };
        let Some(rest) = left.checked_sub(label.len() + 1) else {
            break;
        };
        left = rest;
        bytes.push(length);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend_from_slice(&TAIL);
    bytes
}

/// `None` where it is no answer to the question of that number.
pub(super) fn parse(bytes: &[u8], number: u16) -> Option<Answer> {
    let head: [u8; 12] = bytes.get(..12)?.try_into().ok()?;
    let is_ours = head[..2] == number.to_be_bytes() && head[2] & IS_ANSWER != 0;
    is_ours.then(|| match head[3] & 0x0f {
        0 | NAME_ERROR => Answer::Found,
        1 => Answer::Fails("FORMERR"),
        2 => Answer::Fails("SERVFAIL"),
        4 => Answer::Fails("NOTIMP"),
        5 => Answer::Fails("REFUSED"),
        _ => Answer::Fails("an error"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn question_is_as_the_rfc_says() {
        let bytes = question(0x1234, "n1.bank.example.");
        assert_eq!(bytes[..12], [0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[12..], *b"\x02n1\x04bank\x07example\0\0\x01\0\x01");
        assert_eq!(question(1, "")[12..], *b"\0\0\x01\0\x01");
        let long = "abcdefgh.".repeat(60);
        assert!(question(1, &long).len() <= 12 + 255 + 4);
        let label = "x".repeat(64);
        assert_eq!(question(1, &label)[12..], *b"\0\0\x01\0\x01");
    }

    #[test]
    fn answers_are_told_apart_by_their_head() {
        let answer = |number: u16, flags: u8, code: u8| {
            let [high, low] = number.to_be_bytes();
            parse(&[high, low, flags, code, 0, 1, 0, 0, 0, 0, 0, 0], 7)
        };
        assert_eq!(answer(7, 0x81, 0x80), Some(Answer::Found));
        assert_eq!(answer(7, 0x81, 0x83), Some(Answer::Found));
        assert_eq!(answer(7, 0x81, 0x82), Some(Answer::Fails("SERVFAIL")));
        assert_eq!(answer(7, 0x81, 0x85), Some(Answer::Fails("REFUSED")));
        assert_eq!(answer(8, 0x81, 0x80), None);
        assert_eq!(answer(7, 0x01, 0x00), None, "a question");
        for length in 0..12 {
            assert_eq!(parse(&[0; 12][..length], 0), None);
        }
    }
}
