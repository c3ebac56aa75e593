//! From the records of older versions to those of this one.
//!
//! One step per version, each from a record of its version to one of the next; a store goes through all it is behind,
//! in one commit. The first version is 1, so there is no step yet; the way is there, and tested with a step of a test's
//! own. A store of a newer version is refused before it is opened.

use super::schema::FORMAT;

/// A record without its checksum: key and payload.
pub(crate) type Bare = (Vec<u8>, Vec<u8>);

/// One version's step: the record in the next version's form, or `None` when the next version has no such record.
pub(crate) type Step = fn(Bare) -> Result<Option<Bare>, MigrateError>;

/// A record that a step could not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {key} is not of version {format}: {problem}")]
pub(crate) struct MigrateError {
    /// The record's key, escaped.
    pub(crate) key: String,
    /// The version it should be of.
    pub(crate) format: u32,
    /// What is wrong with it.
    pub(crate) problem: String,
}

/// Versions that can be opened, and the way up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Formats {
    /// The version written.
    pub(crate) current: u32,
    /// The oldest version `steps` begins with.
    pub(crate) oldest: u32,
    /// From `oldest` on, one step per version.
    pub(crate) steps: &'static [Step],
}

/// Those of this program.
pub(crate) const FORMATS: Formats = Formats {
    current: FORMAT,
    oldest: 1,
    steps: &[],
};

impl Formats {
    /// The steps that lead from `format` to the current one; `None` when there is no way.
    pub(crate) fn way_from(&self, format: u32) -> Option<&'static [Step]> {
        if format > self.current {
            return None;
        }
        let skip = format.checked_sub(self.oldest)?;
        self.steps.get(usize::try_from(skip).ok()?..)
    }

    /// One record all the way up.
    pub(crate) fn lift(&self, format: u32, bare: Bare) -> Result<Option<Bare>, MigrateError> {
        let mut bare = Some(bare);
        for step in self.way_from(format).unwrap_or_default() {
            match bare.take() {
                Some(record) => bare = step(record)?,
                None => break,
            }
        }
        Ok(bare)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_way_from_every_version_up_to_this_one() {
        for format in FORMATS.oldest..=FORMATS.current {
            let steps = FORMATS.way_from(format).unwrap();
            assert_eq!(
                steps.len(),
                usize::try_from(FORMATS.current - format).unwrap()
            );
        }
        assert!(FORMATS.way_from(FORMATS.current + 1).is_none());
        assert!(FORMATS.way_from(FORMATS.oldest - 1).is_none());
    }
}
