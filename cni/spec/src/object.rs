//! An object of the configuration that knows where it stands, so that every refusal names the place.

use std::fmt;
use std::str::FromStr;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::ParseConfError;
use crate::cni_args::shown;

/// An object of the configuration that knows where it stands.
pub(crate) struct Object<'a> {
    map: &'a Map<String, Value>,
    place: String,
}

impl<'a> Object<'a> {
    pub(crate) const fn root(map: &'a Map<String, Value>) -> Self {
        Self {
            map,
            place: String::new(),
        }
    }

    pub(crate) fn of(value: &'a Value, place: String) -> Result<Self, ParseConfError> {
        match value {
            Value::Object(map) => Ok(Self { map, place }),
            _ => Err(ParseConfError::value(place, "is not an object")),
        }
    }

    /// Refuses every key that is not listed.
    pub(crate) fn only(&self, known: &'static [&'static str]) -> Result<(), ParseConfError> {
        match self.map.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => Err(ParseConfError::UnknownKey {
                place: self.place.clone(),
                key: shown(key),
                known,
            }),
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    pub(crate) fn place(&self, key: &str) -> String {
        if self.place.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.place)
        }
    }

    pub(crate) fn value_error(&self, key: &str, problem: impl fmt::Display) -> ParseConfError {
        ParseConfError::value(self.place(key), problem)
    }

    /// A value as serde reads it.
    pub(crate) fn typed<T: DeserializeOwned>(
        &self,
        key: &str,
    ) -> Result<Option<T>, ParseConfError> {
        self.get(key)
            .map(|value| T::deserialize(value).map_err(|error| self.value_error(key, error)))
            .transpose()
    }

    /// A text, parsed.
    pub(crate) fn parsed<T>(&self, key: &str) -> Result<Option<T>, ParseConfError>
    where
        T: FromStr<Err: fmt::Display>,
    {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let text = value
            .as_str()
            .ok_or_else(|| self.value_error(key, "is not a string"))?;
        text.parse()
            .map(Some)
            .map_err(|error| self.value_error(key, error))
    }

    /// A text that must be there, parsed.
    pub(crate) fn required<T>(&self, key: &str) -> Result<T, ParseConfError>
    where
        T: FromStr<Err: fmt::Display>,
    {
        self.parsed(key)?
            .ok_or_else(|| self.value_error(key, "is missing"))
    }

    pub(crate) fn object(&self, key: &str) -> Result<Option<Self>, ParseConfError> {
        self.get(key)
            .map(|value| Self::of(value, self.place(key)))
            .transpose()
    }

    pub(crate) fn list(&self, key: &str) -> Result<&'a [Value], ParseConfError> {
        match self.get(key) {
            None => Ok(&[]),
            Some(Value::Array(list)) => Ok(list),
            Some(_) => Err(self.value_error(key, "is not a list")),
        }
    }
}
