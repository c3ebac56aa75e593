//! What every manifest must say: the workspace's lints, and versions only at the root.

use anyhow::{Context, Result};
use cargo_metadata::Package;
use toml::{Table, Value};

/// Tables of a manifest in which dependencies are named.
const KINDS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

/// Everything wrong in the manifests.
pub(crate) fn check(packages: &[&Package]) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for package in packages {
        let path = package.manifest_path.as_std_path();
        let text =
            std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        let manifest: Table = text
            .parse()
            .with_context(|| format!("parse {}", path.display()))?;
        findings.extend(judge(&package.name, &manifest));
    }
    Ok(findings)
}

fn judge(name: &str, manifest: &Table) -> Vec<String> {
    let mut findings = Vec::new();
    if !is_workspaces(manifest.get("lints")) {
        findings.push(format!(
            "{name}: its manifest lacks `[lints] workspace = true`"
        ));
    }
    if manifest.contains_key("features") {
        findings.push(format!(
            "{name}: has features; each one doubles what \"it builds\" means"
        ));
    }
    for kind in KINDS {
        let dependencies = manifest.get(kind).and_then(Value::as_table);
        for (dependency, value) in dependencies.into_iter().flatten() {
            if !is_workspaces(Some(value)) {
                findings.push(format!(
                    "{name}: the version of {dependency} belongs into the root manifest"
                ));
            }
        }
    }
    findings
}

fn is_workspaces(value: Option<&Value>) -> bool {
    let workspace = value.and_then(|value| value.get("workspace"));
    workspace.and_then(Value::as_bool) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(manifest: &str) -> usize {
        judge("x", &manifest.parse().unwrap()).len()
    }

    #[test]
    fn lints_and_versions_of_the_workspace_are_fine() {
        assert_eq!(
            findings(
                "lints.workspace = true\n[dependencies]\nnix = { workspace = true, features = [\"fs\"] }"
            ),
            0
        );
    }

    #[test]
    fn missing_lints_own_versions_and_features_are_found() {
        assert_eq!(
            findings("[dependencies]\nnix = \"0.31\"\n[features]\nx = []"),
            3
        );
    }
}
