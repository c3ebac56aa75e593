//! `cargo xtask image`: Berth's container image in an archive, by buildah and without an engine; and the images that tests need.
//!
//! Two builds of the same sources give the same image; `--check` shows it by a second one in another folder.

mod elsewhere;
mod pack;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use self::pack::{Packed, Recipe};
use crate::{
    build::{Elsewhere, PROGRAMS, Profile, Workspace, product, product_elsewhere},
    packages,
    step::{say, show},
};

/// Where images and what they are made of are, below the target folder.
const FOLDER: &str = "image";

/// The images that tests use.
const DEV: &str = "localhost/berth:dev";
const NEXT: &str = "localhost/berth:next";
const FAR: &str = "localhost/berth:far";

/// Programs that tell their version to others, or judge another's: only these are built for another version.
const VERSIONED: [&str; 2] = ["berth", "berth-ipamd"];

/// How to make the image.
#[derive(Debug, Args)]
pub(crate) struct ImageArgs {
    /// Name of the image [default: localhost/berth: and the version]
    #[arg(long)]
    tag: Option<String>,
    /// The docker-archive to write [default: below target/image]
    #[arg(long)]
    output: Option<PathBuf>,
    /// How the programs are built
    #[arg(long, value_enum, default_value_t = Profile::Release)]
    profile: Profile,
    /// Build everything a second time, from a copy of the sources in another folder, and compare
    #[arg(long)]
    check: bool,
}

/// Makes the image and says where it is.
pub(crate) fn run(args: &ImageArgs) -> Result<()> {
    packages::ensure(&[packages::BUILD, packages::IMAGE])?;
    let workspace = Workspace::find()?;
    let tag = match &args.tag {
        Some(tag) => tag.clone(),
        None => format!("localhost/berth:{}", workspace.version),
    };
    let output = match &args.output {
        Some(output) => output.clone(),
        None => archive_of(&workspace, &tag),
    };
    let bin_dir = product(&workspace, args.profile)?;
    let revision = revision(&workspace);
    let recipe = |programs: &[PathBuf], output: &Path| {
        let recipe = Recipe {
            containerfile: &workspace.root.join("install/image/Containerfile"),
            programs,
            tag: &tag,
            version: &workspace.version,
            revision: revision.as_deref(),
            output,
        };
        recipe.pack()
    };
    let programs = PROGRAMS.map(|name| bin_dir.join(name));
    let packed = recipe(&programs, &output)?;
    show(&told(&tag, &packed, &output));
    if args.check {
        check(&workspace, args.profile, &packed, &recipe)?;
    }
    Ok(())
}

/// Builds and packs again from a copy of the sources; the images must be the same.
fn check(
    workspace: &Workspace,
    profile: Profile,
    first: &Packed,
    recipe: &dyn Fn(&[PathBuf], &Path) -> Result<Packed>,
) -> Result<()> {
    let folder = workspace.target.join(FOLDER).join("check");
    let place = Elsewhere {
        what: "building the product a second time, from a copy of the sources",
        root: folder.join("source"),
        target: folder.join("target"),
        shares_parts: false,
    };
    elsewhere::copy_sources(workspace, &place.root, &workspace.version)?;
    let programs = product_elsewhere(workspace, profile, &place, &PROGRAMS)?;
    let output = folder.join("second.tar");
    let second = recipe(&programs, &output)?;
    fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
    if second != *first {
        bail!("two builds gave two images: {} and {}", first.id, second.id);
    }
    say("a second build in another folder gave the same image");
    Ok(())
}

/// The image of the programs as tests run them; its archive.
pub(crate) fn dev(workspace: &Workspace, bin_dir: &Path) -> Result<PathBuf> {
    let programs = PROGRAMS.map(|name| bin_dir.join(name));
    Ok(for_tests(workspace, DEV, &workspace.version, &programs)?.0)
}

/// The image of the programs as they are measured, under the name that tests use; its archive, which is not that of the tests.
pub(crate) fn bench(workspace: &Workspace, bin_dir: &Path) -> Result<PathBuf> {
    let programs = PROGRAMS.map(|name| bin_dir.join(name));
    let output = workspace.target.join(FOLDER).join("berth-bench.tar");
    pack_for_tests(workspace, DEV, &workspace.version, &programs, &output)?;
    Ok(output)
}

/// The archives of the cluster tier's images.
#[derive(Debug)]
pub(crate) struct Images {
    /// The sources as they are.
    pub(crate) dev: PathBuf,
    /// One minor version newer: works together with `dev`.
    pub(crate) next: PathBuf,
    /// Three minor versions newer: must be refused.
    pub(crate) far: PathBuf,
}

impl Images {
    /// Builds and packs all three.
    pub(crate) fn build(workspace: &Workspace, bin_dir: &Path) -> Result<Self> {
        let programs = PROGRAMS.map(|name| bin_dir.join(name));
        let (dev, first) = for_tests(workspace, DEV, &workspace.version, &programs)?;
        // That the programs are the same each time takes two builds to see (`--check`); that packing is, takes a second.
        let (_, again) = for_tests(workspace, DEV, &workspace.version, &programs)?;
        ensure!(
            first == again,
            "the same programs gave two images: {first:?} and {again:?}"
        );
        Ok(Self {
            dev,
            next: of_version(workspace, bin_dir, NEXT, 1)?,
            far: of_version(workspace, bin_dir, FAR, 3)?,
        })
    }
}

/// The image of the same sources some minor versions later. Programs that neither tell nor judge versions are this version's.
fn of_version(workspace: &Workspace, bin_dir: &Path, tag: &str, minors: u64) -> Result<PathBuf> {
    let version = elsewhere::later(&workspace.version, minors)?;
    let folder = workspace.target.join("versions").join(&version);
    let place = Elsewhere {
        what: &format!("building plugin and daemon as version {version}"),
        root: folder.join("source"),
        target: folder.join("target"),
        shares_parts: true,
    };
    elsewhere::copy_sources(workspace, &place.root, &version)?;
    let mut programs = product_elsewhere(workspace, Profile::Dev, &place, &VERSIONED)?;
    let others = PROGRAMS.iter().filter(|name| !VERSIONED.contains(name));
    programs.extend(others.map(|name| bin_dir.join(name)));
    Ok(for_tests(workspace, tag, &version, &programs)?.0)
}

fn for_tests(
    workspace: &Workspace,
    tag: &str,
    version: &str,
    programs: &[PathBuf],
) -> Result<(PathBuf, Packed)> {
    let output = archive_of(workspace, tag);
    let packed = pack_for_tests(workspace, tag, version, programs, &output)?;
    Ok((output, packed))
}

fn pack_for_tests(
    workspace: &Workspace,
    tag: &str,
    version: &str,
    programs: &[PathBuf],
    output: &Path,
) -> Result<Packed> {
    packages::ensure(&[packages::IMAGE])?;
    let recipe = Recipe {
        containerfile: &workspace.root.join("install/image/Containerfile"),
        programs,
        tag,
        version,
        revision: None,
        output,
    };
    let packed = recipe.pack()?;
    say(&told(tag, &packed, output));
    Ok(packed)
}

fn told(tag: &str, packed: &Packed, output: &Path) -> String {
    let tenths = packed.size_bytes / 100_000;
    format!(
        "{tag}  sha256:{}  {}.{} MB  {}",
        packed.id,
        tenths / 10,
        tenths % 10,
        output.display()
    )
}

/// `localhost/berth:dev` is in `berth-dev.tar`.
fn archive_of(workspace: &Workspace, tag: &str) -> PathBuf {
    let name = tag.rsplit('/').next().unwrap_or(tag).replace(':', "-");
    workspace.target.join(FOLDER).join(format!("{name}.tar"))
}

/// The commit, where the sources are what it says.
fn revision(workspace: &Workspace) -> Option<String> {
    let git = |words: &[&str]| {
        let output = Command::new("git")
            .args(words)
            .current_dir(&workspace.root)
            .output()
            .ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let changed = git(&["status", "--porcelain"])?;
    changed
        .is_empty()
        .then(|| git(&["rev-parse", "HEAD"]))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archive_is_called_after_the_last_part_of_the_name() {
        let workspace = Workspace {
            root: "/w".into(),
            target: "/t".into(),
            version: "0.1.0".to_owned(),
            packages: Vec::new(),
        };
        assert_eq!(
            archive_of(&workspace, "registry.example:5000/x/berth:1.2"),
            Path::new("/t/image/berth-1.2.tar")
        );
    }
}
