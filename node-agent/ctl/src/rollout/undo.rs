//! Which revision's template comes back. Pure.

use anyhow::{Result, bail};
use clap::Args;
use proto_crd::in_place_set::InPlaceSet;
use serde_json::Value;

use super::standing::observed;
use super::{SetArgs, key};
use crate::cluster::sets::RevisionSeen;

/// Of which set, and how far back.
#[derive(Clone, Debug, Args)]
pub(super) struct UndoArgs {
    #[command(flatten)]
    pub(super) set: SetArgs,

    /// To this revision; default: the one that all Pods had last, or else the one before
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(1..))]
    pub(super) to_revision: Option<i64>,

    /// Only say which one that would be
    #[arg(long)]
    pub(super) dry_run: bool,
}

/// The revision that comes back.
#[derive(Debug, PartialEq)]
pub(super) struct Back<'a> {
    revision: &'a RevisionSeen,
    /// What is written; nothing, where the set has it already.
    template: Option<&'a Value>,
}

impl Back<'_> {
    /// It, for people.
    pub(super) fn words(&self) -> String {
        format!("{} ({})", self.revision.number, self.revision.hash)
    }

    /// What is to be written, if anything is.
    pub(super) const fn template(&self) -> Option<&Value> {
        self.template
    }
}

/// To this revision, or to the one before.
pub(super) fn plan<'a>(
    set: &InPlaceSet,
    revisions: &'a [RevisionSeen],
    to: Option<i64>,
) -> Result<Back<'a>> {
    let revision = match to {
        Some(number) => {
            let Some(found) = revisions.iter().find(|it| it.number == number) else {
                bail!(
                    "InPlaceSet {} has no revision {number}; {}",
                    key(set),
                    there_are(revisions)
                );
            };
            found
        }
        None => before(set, revisions)?,
    };
    let Some(template) = &revision.template else {
        bail!(
            "ControllerRevision {} has no template that could be put back: it was not made by Berth's controllers; {}",
            revision.name,
            there_are(revisions)
        );
    };
    Ok(Back {
        revision,
        template: (!is_templates(set, revision)).then_some(template),
    })
}

/// Whether a revision is that of the set's template. Who keeps a template may write it otherwise than it was, so its hash says so where
/// the controllers have looked at it.
fn is_templates(set: &InPlaceSet, revision: &RevisionSeen) -> bool {
    let hash = observed(set).map(|it| it.update_revision.as_str());
    hash == Some(revision.hash.as_str()) || revision.template.as_ref() == Some(&set.spec.template)
}

/// The one that all Pods had last, where that is another one than the template's: who undoes in the middle of a release wants
/// what there was before it. Else the last one of another template.
fn before<'a>(set: &InPlaceSet, revisions: &'a [RevisionSeen]) -> Result<&'a RevisionSeen> {
    let current = set.status.as_ref().map(|it| it.current_revision.as_str());
    let other = |it: &&RevisionSeen| it.template.is_some() && !is_templates(set, it);
    let others = || revisions.iter().filter(other);
    let last = others()
        .find(|it| Some(it.hash.as_str()) == current)
        .or_else(|| others().max_by_key(|it| it.number));
    match last {
        Some(found) => Ok(found),
        None => bail!(
            "InPlaceSet {} has no revision of another template than its present one; {}",
            key(set),
            there_are(revisions)
        ),
    }
}

fn there_are(revisions: &[RevisionSeen]) -> String {
    if revisions.is_empty() {
        return "there is none at all: the controllers have not looked at the set yet (kubectl -n berth-system get lease berth-controllers), \
                or nothing was ever released"
            .to_owned();
    }
    let all: Vec<_> = revisions
        .iter()
        .map(|it| format!("{} ({})", it.number, it.hash))
        .collect();
    format!(
        "there are {}; how many are kept is spec.revisionHistoryLimit",
        all.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixture::{revisions, set, template};
    use super::*;

    /// Three revisions, of which `cc` is the newest.
    fn three() -> Vec<RevisionSeen> {
        let mut all = revisions();
        all.push(RevisionSeen {
            name: "shop-cc".to_owned(),
            hash: "cc".to_owned(),
            number: 3,
            template: Some(template("shop:v3")),
            ..all[0].clone()
        });
        all
    }

    fn has(image: &str, current: &str) -> InPlaceSet {
        set(|set| {
            set["spec"]["template"] = template(image);
            // It is kept otherwise than it was written.
            set["spec"]["template"]["metadata"]["creationTimestamp"] = Value::Null;
            set["status"]["currentRevision"] = json!(current);
            match image {
                "shop:v2" => set["status"]["updateRevision"] = json!("bb"),
                "shop:v3" => set["status"]["updateRevision"] = json!("cc"),
                _ => set["metadata"]["generation"] = json!(9),
            }
        })
    }

    #[test]
    fn the_one_before_is_what_all_pods_had_or_else_the_last_other_one() {
        for (image, current, back) in [
            // In the middle of a release.
            ("shop:v3", "bb", "2 (bb)"),
            ("shop:v3", "aa", "1 (aa)"),
            // After it.
            ("shop:v3", "cc", "2 (bb)"),
            // After going back: once more is forward again.
            ("shop:v2", "bb", "3 (cc)"),
            // The controllers have not looked at a new template yet.
            ("shop:v9", "cc", "3 (cc)"),
            // What all had is not kept any more.
            ("shop:v3", "zz", "2 (bb)"),
        ] {
            let (set, all) = (has(image, current), three());
            let plan = plan(&set, &all, None).unwrap();
            assert_eq!(plan.words(), back, "{image} {current}");
            assert!(plan.template().is_some());
        }
    }

    #[test]
    fn a_number_is_taken_at_its_word() {
        let (set, all) = (has("shop:v3", "cc"), three());
        let back = plan(&set, &all, Some(1)).unwrap();
        assert_eq!(back.words(), "1 (aa)");
        assert_eq!(back.template(), Some(&template("shop:v1")));
        // What the set has already is not written.
        assert_eq!(plan(&set, &all, Some(3)).unwrap().template(), None);
    }

    #[test]
    fn what_cannot_be_put_back_is_refused_with_what_there_is() {
        let set = has("shop:v2", "bb");
        let one = [revisions().remove(1)];
        let mut torn = revisions();
        torn[0].template = None;
        for (all, to, words) in [
            (
                &three()[..],
                Some(7),
                "has no revision 7; there are 1 (aa), 2 (bb), 3 (cc)",
            ),
            (&one[..], None, "no revision of another template"),
            (&[][..], None, "there is none at all"),
            (
                &torn[..],
                Some(1),
                "ControllerRevision shop-aa has no template",
            ),
            (&torn[..], None, "no revision of another template"),
        ] {
            let said = plan(&set, all, to).unwrap_err().to_string();
            assert!(said.contains(words), "{said}");
        }
    }
}
