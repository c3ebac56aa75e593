use super::*;

fn set(ranges: &[(u128, u128)]) -> AddressSet {
    let mut set = AddressSet::default();
    for &range in ranges {
        set.insert(range);
    }
    set
}

fn intervals(set: &AddressSet) -> Vec<(u128, u128)> {
    set.intervals().collect()
}

#[test]
fn ranges_are_read_in_three_forms_and_written_back() {
    for (text, first, last) in [
        ("10.0.0.5-10.0.0.9", "10.0.0.5", "10.0.0.9"),
        ("10.0.0.5 - 10.0.0.9", "10.0.0.5", "10.0.0.9"),
        ("10.0.0.5", "10.0.0.5", "10.0.0.5"),
        ("10.0.0.0/30", "10.0.0.0", "10.0.0.3"),
        ("10.0.0.2/30", "10.0.0.0", "10.0.0.3"),
        ("fd00::/64", "fd00::", "fd00::ffff:ffff:ffff:ffff"),
    ] {
        let range: AddressRange = text.parse().unwrap();
        assert_eq!(range.first().to_string(), first, "{text}");
        assert_eq!(range.last().to_string(), last, "{text}");
        assert_eq!(range.to_string().parse(), Ok(range), "{text}");
    }
}

#[test]
fn ranges_that_are_none_are_refused_with_their_reason() {
    let parse = |text: &str| text.parse::<AddressRange>().unwrap_err();
    for text in [
        "",
        "10.0.0",
        "10.0.0.1-",
        "10.0.0.0/33",
        "a-b",
        "10.0.0.1-10.0.0.2-10.0.0.3",
    ] {
        assert!(matches!(parse(text), ParseRangeError::Form(_)), "{text}");
    }
    assert!(matches!(
        parse("10.0.0.1-fd00::1"),
        ParseRangeError::Families(_)
    ));
    assert!(matches!(
        parse("10.0.0.9-10.0.0.5"),
        ParseRangeError::Order(_)
    ));
}

#[test]
fn range_contains_its_own_family_only() {
    let range: AddressRange = "10.0.0.5-10.0.0.9".parse().unwrap();
    assert!(range.contains("10.0.0.5".parse().unwrap()));
    assert!(range.contains("10.0.0.9".parse().unwrap()));
    assert!(!range.contains("10.0.0.10".parse().unwrap()));
    assert!(!range.contains("::ffff:10.0.0.5".parse().unwrap()));
}

#[test]
fn inserted_intervals_join_where_they_touch_or_overlap() {
    for (ranges, expected) in [
        (vec![(1, 2), (3, 4)], vec![(1, 4)]),
        (vec![(3, 4), (1, 2)], vec![(1, 4)]),
        (vec![(1, 2), (4, 5)], vec![(1, 2), (4, 5)]),
        (vec![(1, 2), (4, 5), (3, 3)], vec![(1, 5)]),
        (vec![(1, 9), (3, 4)], vec![(1, 9)]),
        (vec![(3, 4), (6, 7), (1, 9)], vec![(1, 9)]),
        (vec![(0, u128::MAX), (5, 6)], vec![(0, u128::MAX)]),
        (
            vec![(u128::MAX, u128::MAX), (0, 0)],
            vec![(0, 0), (u128::MAX, u128::MAX)],
        ),
    ] {
        assert_eq!(intervals(&set(&ranges)), expected, "{ranges:?}");
    }
}

#[test]
fn removed_intervals_split_what_they_hit() {
    for (cut, expected) in [
        ((5, 5), vec![(1, 4), (6, 9), (20, 29)]),
        ((1, 1), vec![(2, 9), (20, 29)]),
        ((9, 9), vec![(1, 8), (20, 29)]),
        ((0, 100), vec![]),
        ((5, 25), vec![(1, 4), (26, 29)]),
        ((10, 19), vec![(1, 9), (20, 29)]),
        ((0, 0), vec![(1, 9), (20, 29)]),
        ((9, 20), vec![(1, 8), (21, 29)]),
        ((30, u128::MAX), vec![(1, 9), (20, 29)]),
    ] {
        let mut set = set(&[(1, 9), (20, 29)]);
        set.remove(cut);
        assert_eq!(intervals(&set), expected, "{cut:?}");
    }
}

#[test]
fn common_address_is_the_lowest() {
    let one = set(&[(1, 5), (10, 15)]);
    assert_eq!(one.first_in_both(&set(&[(6, 9), (16, 20)])), None);
    assert_eq!(one.first_in_both(&set(&[(12, 20)])), Some(12));
    assert_eq!(one.first_in_both(&set(&[(0, 100)])), Some(1));
}

#[test]
fn huge_sets_count_and_search_at_once() {
    let mut set = set(&[(1 << 64, (1 << 65) - 1)]);
    assert_eq!(set.count(), u64::MAX);
    set.remove((1 << 64, 1 << 64));
    assert_eq!(set.iter().next(), Some((1 << 64) + 1));
    assert_eq!(set.iter().take(3).count(), 3);
}
