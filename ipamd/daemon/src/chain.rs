//! An error with all its causes on one line. Errors of this product never print their source in `Display`, so this is
//! used exactly once for each error: where it is logged or returned to a caller outside the process.

use std::error::Error;

/// `error: cause: cause of the cause`.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("reading the store")]
    struct ReadStoreError {
        #[source]
        source: std::io::Error,
    }

    #[test]
    fn every_cause_is_printed_once() {
        let error = ReadStoreError {
            source: std::io::Error::other("disk gone"),
        };
        assert_eq!(chain(&error), "reading the store: disk gone");
    }
}
