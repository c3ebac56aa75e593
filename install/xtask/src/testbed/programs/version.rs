//! Which release a ready program is of: one that somebody names may be another than the pins', for which the testbed is not written.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

/// Refuses a program of another minor version than the pinned one.
pub(super) fn check(program: &Path, pinned: &str, variable: &str) -> Result<()> {
    let output = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .with_context(|| {
            format!(
                "{} cannot be run; name another folder by {variable}, or unset it to have the pinned programs built",
                program.display()
            )
        })?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        is_release(&said, pinned),
        "{} says {:?}, and the testbed is written for {pinned}; name another folder by {variable}, or unset it to have the pinned programs built",
        program.display(),
        said.trim()
    );
    Ok(())
}

/// Whether what a program says of itself names the same minor version.
fn is_release(said: &str, pinned: &str) -> bool {
    let found = said.split_whitespace().find_map(major_and_minor);
    found.is_some() && found == major_and_minor(pinned)
}

/// The first two numbers of `v1.36.3` or `2.4.2+unknown`.
pub(super) fn major_and_minor(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.trim_start_matches('v').split('.');
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next()?.parse().ok()?;
    Some((major, minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_has_two_numbers() {
        assert_eq!(major_and_minor("v1.36.3"), Some((1, 36)));
        assert_eq!(major_and_minor("2.4.2+unknown"), Some((2, 4)));
        assert_eq!(major_and_minor("github.com/containerd/containerd/v2"), None);
    }

    #[test]
    fn other_minor_version_is_refused_and_another_patch_is_not() {
        let containerd = "containerd github.com/containerd/containerd/v2 2.4.2+unknown \n";
        for (said, pinned, same) in [
            ("Kubernetes v1.36.3\n", "v1.36.3", true),
            ("Kubernetes v1.36.0\n", "v1.36.3", true),
            ("Kubernetes v1.30.1\n", "v1.36.3", false),
            ("Kubernetes v2.36.3\n", "v1.36.3", false),
            (containerd, "v2.4.2", true),
            (containerd, "v2.3.0", false),
            ("no version here", "v2.3.0", false),
            ("", "v1.36.3", false),
        ] {
            assert_eq!(is_release(said, pinned), same, "{said:?} {pinned}");
        }
    }

    #[test]
    fn refused_program_is_named_with_what_to_do() {
        let refused = check(Path::new("/bin/true"), "v1.36.3", "THE_VARIABLE").unwrap_err();
        let refused = refused.to_string();
        assert!(refused.contains("/bin/true") && refused.contains("v1.36.3"));
        assert!(
            refused.contains("another folder by THE_VARIABLE"),
            "{refused}"
        );
        let missing = check(Path::new("/nonexistent/x"), "v1.36.3", "THE_VARIABLE").unwrap_err();
        assert!(missing.to_string().contains("cannot be run"), "{missing}");
    }
}
