//! Metrics in the text form of Prometheus: what a daemon has counted, by the name of a series and some of its labels.

/// The values of all series of this name that have these labels (`verb="POST"`), added up; nothing is zero.
pub fn sum_of_series(text: &str, name: &str, labels: &[&str]) -> f64 {
    let of_name = text.lines().filter_map(|line| {
        let (series, value) = line.strip_prefix(name)?.rsplit_once(' ')?;
        (series.is_empty() || series.starts_with('{')).then_some((series, value))
    });
    of_name
        .filter(|(series, _)| labels.iter().all(|label| series.contains(label)))
        .filter_map(|(_, value)| value.parse::<f64>().ok())
        .fold(0.0, |sum, value| sum + value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_found_by_their_whole_name_and_some_of_their_labels() {
        let text = "# HELP x_count words\nx_count{verb=\"POST\",code=\"201\"} 3\nx_count{verb=\"POST\",code=\"409\"} 2
x_count{verb=\"GET\",code=\"200\"} 7\nx_count_more{verb=\"POST\"} 9\nplain 4\n";
        let sum = |name, labels: &[&str]| sum_of_series(text, name, labels);
        assert!((sum("x_count", &["verb=\"POST\""]) - 5.0).abs() < 1e-9);
        assert!((sum("x_count", &["verb=\"POST\"", "code=\"409\""]) - 2.0).abs() < 1e-9);
        assert!((sum("x_count", &[]) - 12.0).abs() < 1e-9);
        assert!((sum("plain", &[]) - 4.0).abs() < 1e-9);
        assert!(sum("absent", &[]).abs() < 1e-9);
    }
}
