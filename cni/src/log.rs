//! Lines for whoever reads standard error: one JSON object each, so that nothing a runtime sent can forge another line.

use std::io::{self, Write};

use serde_json::{Map, Value};

/// Writes one line. A standard error that is closed is nobody's trouble.
pub(crate) fn line(level: &str, message: &str, fields: &[(&str, &str)]) {
    let mut line = Map::new();
    line.insert("level".to_owned(), level.into());
    line.insert("message".to_owned(), message.into());
    for (key, value) in fields {
        line.insert((*key).to_owned(), (*value).into());
    }
    let text = format!("{}\n", Value::Object(line));
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Something went otherwise than hoped, and the call goes on.
pub(crate) fn warn(message: &str, fields: &[(&str, &str)]) {
    line("warn", message, fields);
}
