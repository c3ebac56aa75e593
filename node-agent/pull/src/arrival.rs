//! Whether an image that is there is the one that was asked for, and which digest its name stands for.

use proto_crd::image_pull::PullReason;

use crate::failure::Failure;
use crate::reference::Reference;

/// The digest that a name stands for, of all names with digests that the runtime has for the image. Nothing: the runtime has none
/// for this repository, as of an image that was imported.
///
/// # Errors
/// A digest was asked for, and the image has another one.
pub fn resolve(reference: &Reference, names: &[String]) -> Result<Option<String>, Failure> {
    let repository = reference.repository();
    let mut here = names.iter().filter_map(|name| {
        let (of, digest) = name.split_once('@')?;
        (of == repository).then_some(digest)
    });
    let Some(asked) = reference.digest() else {
        return Ok(here.next().map(str::to_owned));
    };
    let all: Vec<&str> = here.collect();
    if all.contains(&asked) {
        return Ok(Some(asked.to_owned()));
    }
    let got = if all.is_empty() {
        "none of that repository".to_owned()
    } else {
        all.join(", ")
    };
    Err(Failure::last(
        PullReason::WrongDigest,
        format!(
            "asked for {asked}, and the runtime has {got}; look at what stands between node and registry"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(all: &[&str]) -> Vec<String> {
        all.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn digest_is_that_of_the_repository_that_was_asked_for() {
        // One image, known by two registries.
        let all = names(&[
            "other.example/app@sha256:bb",
            "registry.example/app@sha256:aa",
        ]);
        for (image, expected) in [
            ("registry.example/app:v2", Some("sha256:aa")),
            ("registry.example/app@sha256:aa", Some("sha256:aa")),
            ("registry.example/else:v2", None),
        ] {
            let reference = Reference::parse(image).unwrap();
            let digest = resolve(&reference, &all).unwrap();
            assert_eq!(digest.as_deref(), expected, "{image}");
        }
        let imported = Reference::parse("localhost/app:v1").unwrap();
        assert_eq!(resolve(&imported, &[]).unwrap(), None);
    }

    #[test]
    fn other_digest_than_the_one_asked_for_is_a_failure_that_names_both() {
        let reference = Reference::parse("registry.example/app@sha256:aa").unwrap();
        for (have, got) in [
            (names(&["registry.example/app@sha256:bb"]), "sha256:bb"),
            (names(&["other.example/app@sha256:aa"]), "none"),
        ] {
            let failure = resolve(&reference, &have).unwrap_err();
            assert_eq!(failure.reason, PullReason::WrongDigest);
            assert!(!failure.is_repeated);
            for words in ["sha256:aa", got] {
                assert!(failure.message.contains(words), "{}", failure.message);
            }
        }
    }
}
