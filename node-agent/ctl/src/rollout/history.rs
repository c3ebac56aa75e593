//! `kubectl berth rollout history`: which revisions are kept, and which of them Pods have or get. Pure but for printing.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use k8s_openapi::jiff::Timestamp;
use proto_crd::in_place_set::InPlaceSet;
use serde::Serialize;
use serde_json::Value;

use super::key;
use crate::age::{short, since};
use crate::cluster::sets::RevisionSeen;
use crate::output::{Cell, Format, Output, Paint, Tone, columns};

/// One revision.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    number: i64,
    hash: &'a str,
    name: &'a str,
    /// Each once, in the order of the containers, with those that run before them at the end.
    images: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<Timestamp>,
    /// All Pods had it last.
    current: bool,
    /// Pods are to have it.
    update: bool,
    /// The set's spec names it.
    pinned: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<&'a Value>,
}

/// Prints them all, or one with its template.
pub(super) fn print(
    set: &InPlaceSet,
    revisions: &[RevisionSeen],
    number: Option<i64>,
    now: Timestamp,
    output: Output,
) -> Result<bool> {
    let mut rows = rows(set, revisions);
    let Some(number) = number else {
        match output.format {
            Format::Json | Format::Yaml => output.document(&rows)?,
            Format::Table | Format::Wide => {
                Output::text(&table(set, &rows, now, output.paint))?;
            }
        }
        return Ok(true);
    };
    rows.retain(|row| row.number == number);
    let (Some(row), Some(revision)) = (
        rows.first_mut(),
        revisions.iter().find(|it| it.number == number),
    ) else {
        let all: Vec<_> = revisions.iter().map(|it| it.number.to_string()).collect();
        bail!(
            "InPlaceSet {} has no revision {number}; it has {}",
            key(set),
            if all.is_empty() {
                "none".to_owned()
            } else {
                all.join(", ")
            }
        );
    };
    row.template = revision.template.as_ref();
    match output.format {
        Format::Json | Format::Yaml => output.document(&row)?,
        Format::Table | Format::Wide => Output::text(&one(row, now)?)?,
    }
    Ok(true)
}

fn rows<'a>(set: &InPlaceSet, revisions: &'a [RevisionSeen]) -> Vec<Row<'a>> {
    let status = set.status.as_ref();
    let is = |hash: Option<&str>, it: &RevisionSeen| hash == Some(it.hash.as_str());
    revisions
        .iter()
        .map(|it| Row {
            number: it.number,
            hash: &it.hash,
            name: &it.name,
            images: it.template.as_ref().map(images).unwrap_or_default(),
            created: it.created,
            current: is(status.map(|it| it.current_revision.as_str()), it),
            update: is(status.map(|it| it.update_revision.as_str()), it),
            pinned: is(set.spec.revision.as_deref(), it),
            template: None,
        })
        .collect()
}

fn images(template: &Value) -> Vec<&str> {
    let mut known = BTreeSet::new();
    ["containers", "initContainers"]
        .into_iter()
        .flat_map(|kind| template["spec"][kind].as_array().into_iter().flatten())
        .filter_map(|it| it["image"].as_str())
        .filter(|image| known.insert(*image))
        .collect()
}

fn marks(row: &Row) -> String {
    let all = [
        (row.current, "current"),
        (row.update, "update"),
        (row.pinned, "pinned"),
    ];
    let words: Vec<_> = all
        .into_iter()
        .filter_map(|(is, word)| is.then_some(word))
        .collect();
    words.join(", ")
}

fn age(row: &Row, now: Timestamp) -> String {
    let age = row.created.map(|time| short(since(time, now)));
    age.unwrap_or_else(|| "?".to_owned())
}

fn table(set: &InPlaceSet, rows: &[Row], now: Timestamp, paint: Paint) -> String {
    if rows.is_empty() {
        return format!(
            "InPlaceSet {} has no revisions: the controllers have not looked at it yet (kubectl -n berth-system get lease berth-controllers)\n",
            key(set)
        );
    }
    let cells = rows.iter().map(|row| {
        let tone = if row.update { Tone::Fine } else { Tone::Plain };
        [
            row.number.to_string().into(),
            row.hash.into(),
            row.images.join(",").into(),
            age(row, now).into(),
            Cell::new(tone, marks(row)),
        ]
    });
    columns(["REVISION", "HASH", "IMAGES", "AGE", "IS"], cells, paint)
}

fn one(row: &Row, now: Timestamp) -> Result<String> {
    let marks = marks(row);
    let marks = if marks.is_empty() {
        String::new()
    } else {
        format!(", {marks}")
    };
    let template = match row.template {
        Some(template) => serde_saphyr::to_string(template)?,
        None => "it has no template\n".to_owned(),
    };
    Ok(format!(
        "Revision {} ({}), made {} ago{marks}\n\n{template}",
        row.number,
        row.hash,
        age(row, now)
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixture::{revisions, set};
    use super::*;

    fn now() -> Timestamp {
        "2026-01-01T01:00:00Z".parse().unwrap()
    }

    #[test]
    fn each_revision_is_told_with_what_it_is_to_the_set() {
        let set = set(|set| {
            set["status"]["currentRevision"] = json!("aa");
            set["spec"]["revision"] = json!("bb");
        });
        let all = revisions();
        let text = table(&set, &rows(&set, &all), now(), Paint::NONE);
        assert_eq!(
            text,
            "REVISION   HASH   IMAGES            AGE   IS\n\
             1          aa     shop:v1,side:v1   60m   current\n\
             2          bb     shop:v2,side:v1   60m   update, pinned\n"
        );
    }

    #[test]
    fn one_revision_is_told_with_its_template() {
        let set = set(|_| {});
        let all = revisions();
        let mut rows = rows(&set, &all);
        let row = &mut rows[1];
        row.template = all[1].template.as_ref();
        let text = one(row, now()).unwrap();
        assert!(
            text.starts_with("Revision 2 (bb), made 60m ago, current, update\n\n"),
            "{text}"
        );
        assert!(text.contains("image: shop:v2"), "{text}");
        let document = serde_json::to_value(row).unwrap();
        assert_eq!(document["images"], json!(["shop:v2", "side:v1"]));
        assert_eq!(document["update"], true);
        assert_eq!(document["template"], *all[1].template.as_ref().unwrap());
    }

    #[test]
    fn images_are_named_once_and_those_of_init_containers_last() {
        let template = json!({"spec": {
            "initContainers": [{"image": "init:v1"}, {"image": "a"}], "containers": [{"image": "a"}, {"image": "b"}, {"image": "a"}],
        }});
        assert_eq!(images(&template), ["a", "b", "init:v1"]);
    }

    #[test]
    fn set_without_revisions_and_a_number_that_is_not_there_are_said() {
        let set = set(|_| {});
        let text = table(&set, &[], now(), Paint::NONE);
        assert!(text.contains("has no revisions"), "{text}");
    }
}
