use super::*;

const MAC: MacAddr = MacAddr::from_octets([2, 0, 0, 0, 0, 1]);
const OTHER: MacAddr = MacAddr::from_octets([2, 0, 0, 0, 0, 2]);

fn v4() -> IpAddr {
    "10.20.1.1".parse().unwrap()
}

fn v6() -> IpAddr {
    "fd00:20:1::1".parse().unwrap()
}

/// Whom a gateway's questions go to, look by look, when it answers at those marked.
fn asked(gateway: IpAddr, answers: &[bool]) -> Vec<To> {
    let mut course = Course::default();
    let mut asked = Vec::new();
    for answers in answers {
        let to = course.to(gateway);
        course.is_asked = to != To::Nobody;
        asked.push(to);
        course.judge(answers.then_some(MAC));
    }
    asked
}

#[test]
fn gateway_is_asked_alone_once_its_mac_is_known() {
    let one = To::One(MAC);
    assert_eq!(asked(v4(), &[true, true, true]), [To::All, one, one]);
    assert_eq!(asked(v6(), &[true, true]), [To::All, To::All]);
}

#[test]
fn silent_gateway_is_searched_at_once_and_then_at_times() {
    let mut answers = vec![true];
    answers.extend([false; 12]);
    let to = asked(v4(), &answers);
    assert_eq!(to[1], To::One(MAC), "it was known to be there");
    assert_eq!(to[2..=6], [To::All; 5]);
    let broadcasts = to[7..].iter().filter(|it| **it == To::All).count();
    assert_eq!(broadcasts, 1, "{to:?}");
    assert!(!to.contains(&To::Nobody));
    let never = asked(v6(), &[false; 21]);
    let questions = never.iter().filter(|it| **it == To::All).count();
    assert_eq!(questions, 5 + 4, "{never:?}");
}

#[test]
fn silence_is_counted_from_the_first_question_without_an_answer() {
    let mut course = Course::default();
    assert_eq!(course.sight(true), Sight::New);
    course.judge(None);
    assert_eq!(course.sight(true), Sight::New, "nobody has asked");
    course.is_asked = true;
    course.judge(None);
    assert_eq!(course.sight(true), Sight::Silent { misses: 1 });
    assert_eq!(course.sight(false), Sight::Mute);
    course.judge(None);
    assert_eq!(course.sight(true), Sight::Silent { misses: 2 });
    course.judge(Some(MAC));
    assert_eq!(course.sight(false), Sight::Answers);
    course.judge(None);
    assert_eq!(
        course.sight(false),
        Sight::Answers,
        "nobody has asked since"
    );
    course.is_asked = true;
    course.judge(None);
    assert_eq!(course.sight(false), Sight::Silent { misses: 1 });
    course.judge(Some(OTHER));
    assert_eq!(course.to(v4()), To::One(OTHER), "it has moved");
}

#[test]
fn question_comes_from_the_gateways_subnet() {
    let gateway = |address: IpAddr, subnet: &str| Gateway {
        network: "external".into(),
        address,
        subnet: subnet.parse().unwrap(),
    };
    let four = gateway(v4(), "10.20.1.0/24");
    let six = gateway(v6(), "fd00:20:1::/64");
    for (own, gateway, expected) in [
        ("10.20.1.10", &four, true),
        ("10.30.1.10", &four, false),
        ("fe80::1", &four, false),
        ("fe80::1", &six, true),
        ("fd00:20:1::10", &six, true),
        ("fd00:30:1::10", &six, false),
        ("10.20.1.10", &six, false),
    ] {
        assert_eq!(may_ask(own.parse().unwrap(), gateway), expected, "{own}");
    }
}
