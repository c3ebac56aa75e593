//! Credentials of registries, as `kubectl create secret docker-registry` writes them, and which of them a registry is shown.
//!
//! As kubelet matches: by host and port, by parts of the host with `*`, and by the beginning of the path; whole parts of the path
//! only, so that what is for `team` is not shown for `team-other`. Never printed.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use crate::reference::Reference;

/// The type of the secrets.
pub const SECRET_TYPE: &str = "kubernetes.io/dockerconfigjson";

/// Where such a secret has it.
pub const SECRET_KEY: &str = ".dockerconfigjson";

/// How many credentials one attempt tries.
pub const TRIED_AT_MOST: usize = 8;

/// Other names of Docker Hub in files of credentials.
const HUB_ALIASES: [&str; 2] = ["index.docker.io", "registry-1.docker.io"];

/// What one registry is shown.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Credential {
    /// Who.
    #[serde(default)]
    pub username: String,
    /// The password.
    #[serde(default)]
    pub password: String,
    /// Both, in base64.
    #[serde(default, rename = "auth")]
    pub basic: String,
    /// A token that is changed for another at the registry.
    #[serde(default, rename = "identitytoken")]
    pub identity_token: String,
    /// A token for the registry itself.
    #[serde(default, rename = "registrytoken")]
    pub registry_token: String,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").finish_non_exhaustive()
    }
}

/// Credentials by registry, of all secrets of an image.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    entries: Vec<(Scope, Credential)>,
}

/// Why a secret holds no credentials. What it holds is not told.
#[derive(Debug, thiserror::Error)]
#[error(
    "its {SECRET_KEY} is not what `kubectl create secret docker-registry` writes (line {line}, column {column})"
)]
pub struct ParseCredentialsError {
    line: usize,
    column: usize,
}

/// What credentials are for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Scope {
    host: String,
    port: Option<String>,
    path: String,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    auths: BTreeMap<String, Credential>,
}

impl Credentials {
    /// Adds what a secret holds.
    ///
    /// # Errors
    /// It is not the JSON that it must be.
    pub fn add(&mut self, secret: &[u8]) -> Result<(), ParseCredentialsError> {
        let config: Config =
            serde_json::from_slice(secret).map_err(|error| ParseCredentialsError {
                line: error.line(),
                column: error.column(),
            })?;
        let entries = config.auths.into_iter();
        self.entries
            .extend(entries.map(|(name, credential)| (Scope::of(&name), credential)));
        Ok(())
    }

    /// What is tried for an image, what is most precise first; at most [`TRIED_AT_MOST`]. Nothing: none is for its registry.
    pub fn matching(&self, reference: &Reference) -> Vec<Credential> {
        let image = Scope::of(&reference.repository());
        let entries = self.entries.iter();
        let mut fitting: Vec<_> = entries.filter(|(scope, _)| scope.covers(&image)).collect();
        // Stable: among equals the order of the secrets decides.
        fitting.sort_by_key(|(scope, _)| {
            (
                std::cmp::Reverse(scope.path.len()),
                scope.host.contains('*'),
            )
        });
        let mut all: Vec<Credential> = Vec::new();
        for (_, credential) in fitting {
            if !all.contains(credential) && all.len() < TRIED_AT_MOST {
                all.push(credential.clone());
            }
        }
        all
    }
}

impl Scope {
    /// Of `https://host:port/v2/path/` and everything shorter.
    fn of(name: &str) -> Self {
        let name = name.split_once("://").map_or(name, |(_, rest)| rest);
        let (address, path) = name.split_once('/').unwrap_or((name, ""));
        let path = path
            .strip_prefix("v1/")
            .or_else(|| path.strip_prefix("v2/"))
            .unwrap_or(path);
        let path = match path.trim_end_matches('/') {
            "v1" | "v2" => "",
            path => path,
        };
        // An IPv6 address has brackets.
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port.to_owned())),
            _ => (address, None),
        };
        let host = host.to_lowercase();
        let is_hub = HUB_ALIASES.contains(&host.as_str());
        Self {
            host: if is_hub { "docker.io".into() } else { host },
            port,
            path: path.to_owned(),
        }
    }

    fn covers(&self, image: &Self) -> bool {
        let (mut patterns, mut parts) = (self.host.split('.'), image.host.split('.'));
        let is_host = loop {
            match (patterns.next(), parts.next()) {
                (None, None) => break true,
                (Some(pattern), Some(part)) if fits(pattern, part) => {}
                _ => break false,
            }
        };
        let is_path = match image.path.strip_prefix(&self.path) {
            Some(rest) => self.path.is_empty() || rest.is_empty() || rest.starts_with('/'),
            None => false,
        };
        is_host && is_path && self.port == image.port
    }
}

/// Whether a part of a host fits a pattern in which `*` stands for anything.
fn fits(pattern: &str, part: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = part.strip_prefix(pieces.next().unwrap_or_default()) else {
        return false;
    };
    let mut last = None;
    for piece in pieces {
        if let Some(before) = last.replace(piece) {
            let Some(at) = rest.find(before) else {
                return false;
            };
            rest = &rest[at + before.len()..];
        }
    }
    match last {
        // There was no star.
        None => rest.is_empty(),
        Some(end) => rest.ends_with(end),
    }
}

#[cfg(test)]
mod tests;
