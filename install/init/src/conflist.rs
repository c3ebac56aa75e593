//! The configuration list as an operator wrote it: checked before a runtime sees it, and cut into what each plugin of
//! the chain is asked with. No IO.
//!
//! What passes here, a runtime loads and `berth` reads; the words of a refusal are for the operator who made the file.

use cni_spec::{CniVersion, DelegateConf, Document, NetConf, ParseConfError, Verb};
use serde_json::{Map, Value};

/// Type of the main plugin.
pub(crate) const MAIN: &str = "berth";
/// Type of the IPAM plugin.
const IPAM: &str = "berth-ipam";

/// A configuration list that may be put into place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Conflist {
    /// The file's bytes, as they are put into place.
    pub(crate) bytes: Vec<u8>,
    /// Every version that a runtime may choose, oldest first.
    pub(crate) versions: Vec<CniVersion>,
    /// The plugins, in order.
    pub(crate) plugins: Vec<ChainPlugin>,
    /// What our main plugin is configured with; `None` where only addresses come from us.
    pub(crate) ours: Option<NetConf>,
    name: String,
}

/// One plugin of the chain.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ChainPlugin {
    /// Its program in the plugin folder.
    pub(crate) program: String,
    object: Map<String, Value>,
}

/// Why a configuration list is not put into place.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ParseConflistError {
    /// Not JSON; the source says line and column.
    #[error("not valid JSON")]
    Json(#[source] serde_json::Error),
    /// JSON of another form.
    #[error("{place} {problem}")]
    Form {
        place: String,
        problem: &'static str,
    },
    /// A version that we do not speak.
    #[error(
        "version {found:?} in {place} is not spoken by this berth: it speaks {}",
        spoken()
    )]
    Version { place: &'static str, found: String },
    /// Nothing of ours.
    #[error(
        "no plugin of type \"berth\" (and no \"ipam\" of type \"berth-ipam\") in it: this is another plugin's configuration"
    )]
    NotOurs,
    /// Ours is not first.
    #[error(
        "\"berth\" is plugin number {number} of the chain: it makes the interface, so it must be the first"
    )]
    NotFirst { number: usize },
    /// Our own part makes no sense.
    #[error("plugin {program:?}{}", advice(.source))]
    Ours {
        program: String,
        #[source]
        source: ParseConfError,
    },
}

fn spoken() -> String {
    CniVersion::ALL.map(CniVersion::as_str).join(", ")
}

fn advice(error: &ParseConfError) -> String {
    error
        .advice()
        .map_or_else(String::new, |advice| format!(" ({advice})"))
}

/// Whether a decoded file holds anything of ours, whatever else is wrong with it.
pub(crate) fn is_ours(file: &Value) -> bool {
    types(file).iter().any(|kind| kind == MAIN || kind == IPAM)
}

/// The plugins that a decoded file names, IPAM plugins of ours included.
pub(crate) fn types(file: &Value) -> Vec<String> {
    let alone = std::slice::from_ref(file);
    let plugins = match file.get("plugins") {
        Some(plugins) => plugins.as_array().map_or(&[][..], Vec::as_slice),
        None => alone,
    };
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    plugins
        .iter()
        .flat_map(|plugin| {
            let ipam = plugin.get("ipam").and_then(|ipam| ipam.get("type"));
            let ipam = text(ipam).filter(|kind| kind == IPAM);
            text(plugin.get("type")).into_iter().chain(ipam)
        })
        .collect()
}

impl Conflist {
    /// Reads and checks a file.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, ParseConflistError> {
        let file: Value = serde_json::from_slice(bytes).map_err(ParseConflistError::Json)?;
        let root = file
            .as_object()
            .ok_or_else(|| form("the file", "is not a JSON object"))?;
        let name = root
            .get("name")
            .and_then(Value::as_str)
            .filter(|name| !name.is_empty())
            .ok_or_else(|| form("\"name\"", "is missing or not a text"))?;
        let versions = versions(root)?;
        let plugins = plugins(root)?;
        if !is_ours(&file) {
            return Err(ParseConflistError::NotOurs);
        }
        if let Some(index) = plugins.iter().position(|plugin| plugin.program == MAIN)
            && index > 0
        {
            return Err(ParseConflistError::NotFirst { number: index + 1 });
        }
        let mut list = Self {
            bytes: bytes.to_owned(),
            versions,
            plugins,
            ours: None,
            name: name.to_owned(),
        };
        list.ours = list.check_ours()?;
        Ok(list)
    }

    /// The newest version that a runtime may choose.
    pub(crate) fn newest(&self) -> CniVersion {
        self.versions.last().copied().unwrap_or(CniVersion::LATEST)
    }

    /// What a plugin gets on standard input, as libcni makes it: its own object with the list's name and a version.
    pub(crate) fn input(&self, plugin: &ChainPlugin, version: CniVersion) -> Vec<u8> {
        let mut object = plugin.object.clone();
        object.insert("name".to_owned(), self.name.as_str().into());
        object.insert("cniVersion".to_owned(), version.as_str().into());
        Value::Object(object).to_string().into_bytes()
    }

    fn check_ours(&self) -> Result<Option<NetConf>, ParseConflistError> {
        let mut ours = None;
        for plugin in &self.plugins {
            let failed = |source| ParseConflistError::Ours {
                program: plugin.program.clone(),
                source,
            };
            let input = self.input(plugin, self.newest());
            let document = Document::decode(&input).map_err(failed)?;
            if plugin.program == MAIN {
                document.header(Verb::Add).map_err(failed)?;
                ours = Some(NetConf::parse(&document).map_err(failed)?);
            } else if plugin.ipam() == Some(IPAM) {
                document.header(Verb::Add).map_err(failed)?;
                DelegateConf::parse(&document).map_err(failed)?;
            }
        }
        Ok(ours)
    }
}

impl ChainPlugin {
    fn ipam(&self) -> Option<&str> {
        self.object.get("ipam")?.get("type")?.as_str()
    }
}

fn form(place: impl Into<String>, problem: &'static str) -> ParseConflistError {
    ParseConflistError::Form {
        place: place.into(),
        problem,
    }
}

/// `cniVersion`, which older runtimes read, and `cniVersions`, of which newer ones choose the newest they speak.
fn versions(root: &Map<String, Value>) -> Result<Vec<CniVersion>, ParseConflistError> {
    let one = |place, value: &Value| match value.as_str() {
        None => Err(form(format!("{place:?}"), "is not a text")),
        Some(text) => CniVersion::of(text).ok_or_else(|| ParseConflistError::Version {
            place,
            found: text.chars().take(64).collect(),
        }),
    };
    let single = root.get("cniVersion").ok_or_else(|| {
        form(
            "\"cniVersion\"",
            "is missing: runtimes would take the file for version 0.1.0",
        )
    })?;
    let mut versions = vec![one("cniVersion", single)?];
    if let Some(list) = root.get("cniVersions") {
        let list = list
            .as_array()
            .ok_or_else(|| form("\"cniVersions\"", "is not a list"))?;
        for value in list {
            versions.push(one("cniVersions", value)?);
        }
    }
    versions.sort_unstable();
    versions.dedup();
    Ok(versions)
}

fn plugins(root: &Map<String, Value>) -> Result<Vec<ChainPlugin>, ParseConflistError> {
    let list = root
        .get("plugins")
        .and_then(Value::as_array)
        .filter(|list| !list.is_empty())
        .ok_or_else(|| form("\"plugins\"", "is missing, empty or not a list"))?;
    list.iter()
        .enumerate()
        .map(|(index, plugin)| {
            let object = plugin
                .as_object()
                .ok_or_else(|| form(format!("plugins[{index}]"), "is not an object"))?;
            let program = object
                .get("type")
                .and_then(Value::as_str)
                // It becomes a file name in the plugin folder.
                .filter(|kind| !kind.is_empty() && !kind.contains('/') && *kind != "..")
                .ok_or_else(|| {
                    form(
                        format!("plugins[{index}].type"),
                        "is missing or not the name of a plugin",
                    )
                })?;
            Ok(ChainPlugin {
                program: program.to_owned(),
                object: object.clone(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests;
