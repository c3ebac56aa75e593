//! The name of an image, taken apart as runtimes do: what it leaves out is Docker Hub's.

use std::fmt;

/// The registry that a name without one means.
const DEFAULT_HOST: &str = "docker.io";

/// Where Docker Hub keeps what has no owner in its name.
const DEFAULT_OWNER: &str = "library";

/// An image by its whole name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    host: String,
    path: String,
    tag: Option<String>,
    digest: Option<String>,
}

/// Why a text is not the name of an image that can be pulled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseReferenceError {
    /// Nothing stands for the image itself.
    #[error("{text:?} names no image; write it as registry.example/app:v2")]
    Nameless {
        /// The text.
        text: String,
    },
    /// It could be any version.
    #[error("{text:?} has neither a tag nor a digest; write the one that is wanted")]
    Versionless {
        /// The text.
        text: String,
    },
}

impl Reference {
    /// Takes a name apart. Its letters were checked by the API server.
    ///
    /// # Errors
    /// It names no image, or no version of it.
    pub fn parse(text: &str) -> Result<Self, ParseReferenceError> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.to_owned())),
            None => (text, None),
        };
        // A port has a path after it, a tag has not.
        let (name, tag) = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag.to_owned())),
            _ => (name, None),
        };
        let (host, path) = match name.split_once('/') {
            Some((first, rest)) if is_host(first) => (first.to_owned(), rest.to_owned()),
            Some(_) => (DEFAULT_HOST.to_owned(), name.to_owned()),
            None => (DEFAULT_HOST.to_owned(), format!("{DEFAULT_OWNER}/{name}")),
        };
        if path.is_empty() || name.is_empty() {
            return Err(ParseReferenceError::Nameless { text: text.into() });
        }
        if tag.is_none() && digest.is_none() {
            return Err(ParseReferenceError::Versionless { text: text.into() });
        }
        Ok(Self {
            host,
            path,
            tag,
            digest,
        })
    }

    /// The registry, with its port where one is written.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The repository in the registry.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Registry and repository.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.host, self.path)
    }

    /// The digest that was asked for.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }
}

/// What the runtime is asked for. A digest goes before a tag: it says all that a tag does.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.path)?;
        match (&self.digest, &self.tag) {
            (Some(digest), _) => write!(f, "@{digest}"),
            (None, Some(tag)) => write!(f, ":{tag}"),
            (None, None) => Ok(()),
        }
    }
}

/// As `distribution/reference` decides: a first part that cannot be an owner's name at Docker Hub.
fn is_host(part: &str) -> bool {
    part == "localhost"
        || part.contains(['.', ':'])
        || part.chars().any(|letter| letter.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:aaaa";

    #[test]
    fn names_are_taken_apart_as_runtimes_do() {
        let digest = format!("127.0.0.1:5000/app@{DIGEST}");
        let both = format!("registry.example/a/b/app:v2@{DIGEST}");
        let table = [
            (
                "app:v2",
                "docker.io",
                "library/app",
                "docker.io/library/app:v2",
            ),
            (
                "team/app:v2",
                "docker.io",
                "team/app",
                "docker.io/team/app:v2",
            ),
            ("localhost/app:v2", "localhost", "app", "localhost/app:v2"),
            ("HOST/app:v2", "HOST", "app", "HOST/app:v2"),
            (
                "[fd00::1]:5000/app:v2",
                "[fd00::1]:5000",
                "app",
                "[fd00::1]:5000/app:v2",
            ),
            (&digest, "127.0.0.1:5000", "app", &digest),
            // The digest says it all.
            (
                &both,
                "registry.example",
                "a/b/app",
                &format!("registry.example/a/b/app@{DIGEST}"),
            ),
        ];
        for (text, host, path, whole) in table {
            let reference = Reference::parse(text).unwrap();
            assert_eq!((reference.host(), reference.path()), (host, path), "{text}");
            assert_eq!(reference.to_string(), whole);
        }
    }

    #[test]
    fn what_names_no_version_is_refused() {
        for (text, words) in [
            ("registry.example:5000/app", "neither a tag nor a digest"),
            ("app", "neither a tag nor a digest"),
            (":v2", "names no image"),
            ("registry.example/:v2", "names no image"),
        ] {
            let error = Reference::parse(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
