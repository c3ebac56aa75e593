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
        let spoken = versions(plugin, bin_dir, stop)?;
        let version = answer.take(list, plugin, spoken);
        asked.extend(version.map(|version| (plugin, version)));
    }
    if !answer.waits.is_empty() {
        return Some(answer);
    }
    for (plugin, version) in asked {
        let input = list.input(plugin, version);
        let program = bin_dir.join(&plugin.program);
        let why = match call(&program, bin_dir, "STATUS", &input, STATUS_LIMIT, stop) {
            Err(RunProgramError::Stopped { .. }) => return None,
            Err(error) => chain(&error),
            Ok(ended) if ended.status.success() => continue,
            Ok(ended) => words(&ended),
        };
        answer.blame(plugin, format!("plugin {}: {why}", plugin.program));
    }
    Some(answer)
}

/// What every plugin but ours speaks: before ours is on the node.
pub(crate) fn others(list: &Conflist, bin_dir: &Path) -> Answer {
    let mut answer = Answer::default();
    for plugin in list.plugins.iter().filter(|plugin| plugin.program != MAIN) {
        if let Some(spoken) = versions(plugin, bin_dir, &Stop::never()) {
            answer.take(list, plugin, spoken);
        }
    }
    answer
}

/// The versions a plugin says it speaks.
enum Spoken {
    These(Vec<String>),
    /// There is no such plugin; what to do.
    Missing(String),
    /// It did not say; why.
    Silent(String),
}

impl Answer {
    /// Notes what a plugin speaks; the version to ask it for its STATUS with, if it shall be asked.
    fn take(
        &mut self,
        list: &Conflist,
        plugin: &ChainPlugin,
        spoken: Spoken,
    ) -> Option<CniVersion> {
        let spoken = match spoken {
            Spoken::These(spoken) => spoken,
            Spoken::Missing(why) => {
                self.waits.push(why);
                return None;
            }
            Spoken::Silent(why) => {
                self.blame(plugin, why);
                return None;
            }
        };
        match judge_versions(&plugin.program, &list.versions, &spoken) {
            Ok(warning) => self.warnings.extend(warning),
            Err(why) => self.waits.push(why),
        }
        // libcni calls STATUS where the newest version of the list has it; ours is asked in any case.
        let version = list.newest().max(CniVersion::V1_1_0);
        let asked = list.newest().permits(Verb::Status) || plugin.program == MAIN;
        let can = spoken.iter().any(|text| text == version.as_str());
        (asked && can).then_some(version)
    }

    /// Notes a trouble. Others' plugins may need what only the node has, libraries for one, and this may run in a
    /// container without: the runtime decides about them.
    fn blame(&mut self, plugin: &ChainPlugin, why: String) {
        if plugin.program == MAIN {
            self.waits.push(why);
        } else {
            self.warnings.push(format!(
                "{why} (asked from here; the runtime may fare better)"
            ));
        }
    }
}

/// Asks a plugin what it speaks. `None`: this process was asked to end.
fn versions(plugin: &ChainPlugin, bin_dir: &Path, stop: &Stop) -> Option<Spoken> {
    let program = bin_dir.join(&plugin.program);
    // A link out of the folder is there, although a container that has only the folder cannot follow it.
    if program.symlink_metadata().is_err() || program.is_dir() {
        return Some(Spoken::Missing(missing(plugin, bin_dir)));
    }
    let silent = |why| Spoken::Silent(format!("plugin {}: {why}", plugin.program));
    // libcni's own input for VERSION.
    let input = br#"{"cniVersion":"1.1.0"}"#;
    Some(
        match call(&program, bin_dir, "VERSION", input, VERSION_LIMIT, stop) {
            Err(RunProgramError::Stopped { .. }) => return None,
            Err(error) => silent(chain(&error)),
            Ok(ended) if !ended.status.success() => silent(words(&ended)),
            Ok(ended) => match serde_json::from_str::<Versions>(&ended.stdout) {
                Ok(versions) => Spoken::These(versions.supported),
                Err(error) => silent(format!(
                    "VERSION is not answered as the specification has it: {error}"
                )),
            },
        },
    )
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
        let script = format!("{VERSIONS}\n[ \"$CNI_COMMAND\" = STATUS ] || exit 1");
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
    fn plugin_of_others_that_cannot_be_asked_from_here_is_a_warning() {
        let root = tempfile::tempdir().unwrap();
        plugin(root.path(), "berth", &format!("{VERSIONS}\nexit 0"));
        let more = r#", {"type": "linked"}, {"type": "strange"}, {"type": "sick"}"#;
        // Out of the folder; and with an interpreter that is not here.
        std::os::unix::fs::symlink("/nowhere/linked", root.path().join("linked")).unwrap();
        plugin(root.path(), "strange", "");
        fs::write(root.path().join("strange"), "#!/nowhere/sh\n").unwrap();
        plugin(
            root.path(),
            "sick",
            &format!("{VERSIONS}\necho no iptables; exit 1"),
        );
        let answer = asked(&list(more), root.path());
        assert_eq!(answer.waits, Vec::<String>::new());
        for (warning, word) in answer
            .warnings
            .iter()
            .zip(["linked", "strange", "no iptables"])
        {
            assert!(warning.contains(word), "{answer:?}");
        }
        assert_eq!(answer.warnings.len(), 3);
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
