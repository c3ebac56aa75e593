//! Asks the plugins that are on the node whether a configuration would work: VERSION and STATUS of every plugin of the
//! chain, called as libcni calls them.
//!
//! Changes nothing. What does not work is a sentence for the operator, not an error.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use cni_spec::{CniVersion, Failure, Verb};
use serde::Deserialize;

use crate::conflist::{ChainPlugin, Conflist, MAIN};
use crate::log::chain;
use crate::run::{self, Ended, RunProgramError};
use crate::stop::Stop;

/// STATUS waits for an ipamd that starts or recovers, some ten seconds; this is for a plugin that hangs.
const STATUS_LIMIT: Duration = Duration::from_secs(90);
/// VERSION looks at nothing.
const VERSION_LIMIT: Duration = Duration::from_secs(20);

/// What the chain says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Why no Pod could start; empty: one could.
    pub(crate) waits: Vec<String>,
    /// What would hurt under some runtimes.
    pub(crate) warnings: Vec<String>,
}

#[derive(Deserialize)]
struct Versions {
    #[serde(rename = "supportedVersions")]
    supported: Vec<String>,
}

/// Asks every plugin of the chain. `None`: this process was asked to end.
///
/// All are asked what they speak before any is asked how it is: STATUS of ours waits for ipamd, and a plugin that is
/// missing is told at once.
pub(crate) fn ask(list: &Conflist, bin_dir: &Path, stop: &Stop) -> Option<Answer> {
    let mut answer = Answer::default();
    let mut asked = Vec::new();
    for plugin in &list.plugins {
        match versions(list, plugin, bin_dir, stop) {
            Ok((version, warning)) => {
                answer.warnings.extend(warning);
                asked.extend(version.map(|version| (plugin, version)));
            }
            Err(Refused::Stopped) => return None,
            Err(Refused::Because(why)) => answer.waits.push(why),
        }
    }
    if !answer.waits.is_empty() {
        return Some(answer);
    }
    for (plugin, version) in asked {
        let program = bin_dir.join(&plugin.program);
        let input = list.input(plugin, version);
        match call(&program, bin_dir, "STATUS", &input, STATUS_LIMIT, stop) {
            Err(RunProgramError::Stopped { .. }) => return None,
            Err(error) => answer.waits.push(chain(&error)),
            Ok(ended) if ended.status.success() => {}
            Ok(ended) => {
                let why = format!("plugin {}: {}", plugin.program, words(&ended));
                answer.waits.push(why);
            }
        }
    }
    Some(answer)
}

/// The version to ask this plugin for its STATUS with, if any, and what may hurt.
fn versions(
    list: &Conflist,
    plugin: &ChainPlugin,
    bin_dir: &Path,
    stop: &Stop,
) -> Result<(Option<CniVersion>, Option<String>), Refused> {
    let program = bin_dir.join(&plugin.program);
    if !program.is_file() {
        return Err(Refused::Because(missing(plugin, bin_dir)));
    }
    let spoken = spoken(plugin, bin_dir, stop)?;
    let warning =
        judge_versions(&plugin.program, &list.versions, &spoken).map_err(Refused::Because)?;
    // libcni calls STATUS where the newest version of the list has it; ours is asked in any case.
    let version = list.newest().max(CniVersion::V1_1_0);
    let asked = list.newest().permits(Verb::Status) || plugin.program == MAIN;
    let can = spoken.iter().any(|text| text == version.as_str());
    Ok(((asked && can).then_some(version), warning))
}

/// What every plugin but ours speaks: before ours is on the node.
pub(crate) fn others(list: &Conflist, bin_dir: &Path) -> Answer {
    let mut answer = Answer::default();
    for plugin in list.plugins.iter().filter(|plugin| plugin.program != MAIN) {
        match versions(list, plugin, bin_dir, &Stop::never()) {
            Ok((_, warning)) => answer.warnings.extend(warning),
            Err(Refused::Because(why)) => answer.waits.push(why),
            Err(Refused::Stopped) => {}
        }
    }
    answer
}

enum Refused {
    Stopped,
    Because(String),
}

fn missing(plugin: &ChainPlugin, bin_dir: &Path) -> String {
    let advice = if plugin.program == MAIN {
        "run `berth-install plugin`"
    } else {
        "put it there (package containernetworking-plugins, or the runtime's), or take it out of the configuration"
    };
    format!(
        "plugin {} is not in {}: {advice}",
        plugin.program,
        bin_dir.display()
    )
}

/// The versions that a plugin speaks.
fn spoken(plugin: &ChainPlugin, bin_dir: &Path, stop: &Stop) -> Result<Vec<String>, Refused> {
    let program = bin_dir.join(&plugin.program);
    let because = |why| Refused::Because(format!("plugin {}: {why}", plugin.program));
    // libcni's own input for VERSION.
    let input = br#"{"cniVersion":"1.1.0"}"#;
    match call(&program, bin_dir, "VERSION", input, VERSION_LIMIT, stop) {
        Err(RunProgramError::Stopped { .. }) => Err(Refused::Stopped),
        Err(error) => Err(because(chain(&error))),
        Ok(ended) if ended.status.success() => serde_json::from_str::<Versions>(&ended.stdout)
            .map(|versions| versions.supported)
            .map_err(|error| {
                because(format!(
                    "VERSION is not answered as the specification has it: {error}"
                ))
            }),
        Ok(ended) => Err(because(words(&ended))),
    }
}

/// What may hurt with this plugin; an error where the chain cannot work with it.
fn judge_versions(
    program: &str,
    wanted: &[CniVersion],
    spoken: &[String],
) -> Result<Option<String>, String> {
    let (good, bad): (Vec<&str>, Vec<&str>) = wanted
        .iter()
        .map(|version| version.as_str())
        .partition(|version| spoken.iter().any(|text| text == version));
    if good.is_empty() {
        return Err(format!(
            "plugin {program} speaks neither {} (it speaks {}): install one that does, or change \"cniVersions\"",
            bad.join(" nor "),
            spoken.join(", ")
        ));
    }
    Ok((!bad.is_empty()).then(|| {
        format!(
            "plugin {program} does not speak {}: a runtime that chooses it from \"cniVersions\" starts no Pod; install a newer \
             {program}, or leave that version out",
            bad.join(", ")
        )
    }))
}

fn call(
    program: &Path,
    bin_dir: &Path,
    verb: &str,
    input: &[u8],
    limit: Duration,
    stop: &Stop,
) -> Result<Ended, RunProgramError> {
    let mut command = Command::new(program);
    command.env("CNI_COMMAND", verb).env("CNI_PATH", bin_dir);
    for variable in ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"] {
        command.env_remove(variable);
    }
    run::run(command, input, limit, stop)
}

/// The error a plugin printed, else what else it said.
fn words(ended: &Ended) -> String {
    match serde_json::from_str::<Failure>(&ended.stdout) {
        Ok(failure) if failure.details.is_empty() => failure.msg,
        Ok(failure) => format!("{}: {}", failure.msg, failure.details),
        Err(_) => {
            let said = format!("{} {}", ended.stdout.trim(), ended.stderr.trim());
            let said: String = said.trim().chars().take(300).collect();
            format!("ended with {}: {said}", ended.status)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn plugin(folder: &Path, name: &str, script: &str) {
        let path = folder.join(name);
        // By `sh -c` and a rename: an open descriptor of this process would make the kernel say "text file busy".
        fs::write(path.with_extension("new"), format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(
            path.with_extension("new"),
            fs::Permissions::from_mode(0o755),
        )
        .unwrap();
        fs::rename(path.with_extension("new"), path).unwrap();
    }

    fn list(more: &str) -> Conflist {
        let text = format!(
            r#"{{"cniVersion": "1.0.0", "cniVersions": ["1.0.0", "1.1.0"], "name": "bank",
            "plugins": [{{"type": "berth", "networks": [{{"name": "external", "uplink": "eth0"}}]}}{more}]}}"#
        );
        Conflist::parse(text.as_bytes()).unwrap()
    }

    const VERSIONS: &str = r#"[ "$CNI_COMMAND" = VERSION ] && { echo '{"cniVersion":"1.1.0","supportedVersions":["1.0.0","1.1.0"]}'; exit; }"#;

    fn asked(list: &Conflist, folder: &Path) -> Answer {
        ask(list, folder, &Stop::never()).unwrap()
    }

    #[test]
    fn chain_that_can_serve_says_nothing() {
        let root = tempfile::tempdir().unwrap();
        let script = format!("{VERSIONS}\n[ \"$CNI_COMMAND\" = STATUS ] && exit 0");
        plugin(root.path(), "berth", &script);
        assert_eq!(asked(&list(""), root.path()), Answer::default());
    }

    #[test]
    fn plugin_is_asked_as_libcni_asks() {
        let root = tempfile::tempdir().unwrap();
        let seen = root.path().join("seen");
        let script = format!(
            "{VERSIONS}\n{{ echo \"$CNI_COMMAND $CNI_PATH\"; cat; }} > {}",
            seen.display()
        );
        plugin(root.path(), "berth", &script);
        assert_eq!(asked(&list(""), root.path()), Answer::default());
        let seen = fs::read_to_string(seen).unwrap();
        let (first, input) = seen.split_once('\n').unwrap();
        assert_eq!(first, format!("STATUS {}", root.path().display()));
        let input: serde_json::Value = serde_json::from_str(input).unwrap();
        assert_eq!(input["name"], "bank");
        assert_eq!(input["cniVersion"], "1.1.0");
        assert_eq!(input["type"], "berth");
    }

    #[test]
    fn words_of_the_plugin_are_the_reason_to_wait() {
        let root = tempfile::tempdir().unwrap();
        let fault = r#"echo '{"cniVersion":"1.1.0","code":50,"msg":"not ready","details":"ipamd recovers"}'; exit 1"#;
        plugin(root.path(), "berth", &format!("{VERSIONS}\n{fault}"));
        let answer = asked(&list(""), root.path());
        assert_eq!(answer.waits, ["plugin berth: not ready: ipamd recovers"]);
    }

    #[test]
    fn every_plugin_that_is_missing_is_named_with_advice() {
        let root = tempfile::tempdir().unwrap();
        let answer = asked(&list(r#", {"type": "portmap"}"#), root.path());
        assert_eq!(answer.waits.len(), 2);
        assert!(
            answer.waits[0].contains("berth-install plugin"),
            "{answer:?}"
        );
        assert!(answer.waits[1].contains("portmap"), "{answer:?}");
    }

    #[test]
    fn plugin_without_a_needed_version_is_a_reason_or_a_warning() {
        let spoken = |versions: &[&str]| -> Vec<String> {
            versions.iter().map(|&version| version.to_owned()).collect()
        };
        let wanted = [CniVersion::V1_0_0, CniVersion::V1_1_0];
        let judged = |versions: &[&str]| judge_versions("portmap", &wanted, &spoken(versions));
        assert_eq!(judged(&["0.4.0", "1.0.0", "1.1.0"]), Ok(None));
        assert!(judged(&["1.0.0"]).unwrap().unwrap().contains("1.1.0"));
        assert!(judged(&["0.4.0"]).unwrap_err().contains("1.0.0 nor 1.1.0"));
    }
}
