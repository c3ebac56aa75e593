//! In which fields two templates differ, each named as people name it.
//!
//! Items of a list that all have a name of their own are compared by it, whatever their place; their order is compared too,
//! for kubelet starts containers and reads environments in that order.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

/// One field that differs.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Difference {
    /// Where: names of fields, and `[NAME]` of items.
    pub(super) path: Vec<String>,
    /// What it was; nothing: it was not there.
    pub(super) from: Option<Value>,
    /// What it is to be; nothing: it goes.
    pub(super) to: Option<Value>,
}

impl Difference {
    /// Whether it was, and is to be, a text.
    pub(super) fn is_text(&self) -> bool {
        let is_text = |value: &Option<Value>| value.as_ref().is_some_and(Value::is_string);
        is_text(&self.from) && is_text(&self.to)
    }
}

/// Where, and whether it came or went.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, segment) in self.path.iter().enumerate() {
            let dot = if place == 0 || segment.starts_with('[') {
                ""
            } else {
                "."
            };
            write!(f, "{dot}{segment}")?;
        }
        match (&self.from, &self.to) {
            (None, Some(_)) => f.write_str(" (is new)"),
            (Some(_), None) => f.write_str(" (is gone)"),
            _ => Ok(()),
        }
    }
}

/// Every field in which the two differ.
pub(super) fn differences(from: &Value, to: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare(&mut Vec::new(), Some(from), Some(to), &mut found);
    found
}

fn compare(
    path: &mut Vec<String>,
    from: Option<&Value>,
    to: Option<&Value>,
    found: &mut Vec<Difference>,
) {
    if from == to {
        return;
    }
    match (from, to) {
        (Some(Value::Object(one)), Some(Value::Object(other))) => {
            let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            for name in names {
                let segment = if is_map(path) {
                    format!("[{name}]")
                } else {
                    name.clone()
                };
                path.push(segment);
                compare(path, one.get(name), other.get(name), found);
                path.pop();
            }
        }
        (Some(Value::Array(one)), Some(Value::Array(other))) => match (names(one), names(other)) {
            (Some(before), Some(after)) => {
                compare_named(path, (one, &before), (other, &after), found);
            }
            _ => found.push(Difference {
                path: path.clone(),
                from: from.cloned(),
                to: to.cloned(),
            }),
        },
        _ => found.push(Difference {
            path: path.clone(),
            from: from.cloned(),
            to: to.cloned(),
        }),
    }
}

fn compare_named(
    path: &mut Vec<String>,
    (one, before): (&[Value], &[&str]),
    (other, after): (&[Value], &[&str]),
    found: &mut Vec<Difference>,
) {
    let item = |items: &[Value], names: &[&str], name: &str| {
        let place = names.iter().position(|other| *other == name)?;
        items.get(place).cloned()
    };
    let kept = |names: &[&str], others: &[&str]| -> Vec<String> {
        let both = names.iter().filter(|name| others.contains(name));
        both.map(|name| (*name).to_owned()).collect()
    };
    if kept(before, after) != kept(after, before) {
        path.push("order".to_owned());
        found.push(Difference {
            path: path.clone(),
            from: Some(before.to_vec().into()),
            to: Some(after.to_vec().into()),
        });
        path.pop();
    }
    let new = after.iter().filter(|name| !before.contains(name));
    for name in before.iter().chain(new) {
        path.push(format!("[{name}]"));
        let (from, to) = (item(one, before, name), item(other, after, name));
        compare(path, from.as_ref(), to.as_ref(), found);
        path.pop();
    }
}

/// The names of the items, if each has one of its own.
fn names(items: &[Value]) -> Option<Vec<&str>> {
    let names: Option<Vec<&str>> = items.iter().map(|item| item["name"].as_str()).collect();
    names.filter(|names| names.iter().collect::<BTreeSet<_>>().len() == names.len())
}

/// Whether the keys at this path are people's and no fields.
fn is_map(path: &[String]) -> bool {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    matches!(path[..], ["metadata", _] | ["spec", "nodeSelector"])
}
