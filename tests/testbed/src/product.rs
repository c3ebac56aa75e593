//! What an operator gets of Berth: an image and manifests; where they are, by environment variables.
//!
//! Like the programs they are never made by a test: `cargo xtask` makes the image once and names it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::binaries::IMAGE_VARIABLE;

/// Names the folder of the manifests; the project's own where it is not set.
pub const MANIFESTS_VARIABLE: &str = "BERTH_MANIFESTS";

/// The image's name in the manifests, without its tag.
pub(crate) const REPOSITORY: &str = "localhost/berth";

/// The tag of the image under test.
pub(crate) const TAG: &str = "dev";

/// What makes a folder one of manifests.
const MARK: &str = "kustomization.yaml";

/// An image and the manifests that install it.
#[derive(Clone, Debug)]
pub struct Product {
    image: PathBuf,
    manifests: PathBuf,
}

impl Product {
    /// The image that `BERTH_IMAGE` names, and the manifests of `BERTH_MANIFESTS` or else the project's.
    ///
    /// # Errors
    /// The variable is not set, or there is no such file or folder.
    pub fn from_environment() -> Result<Self> {
        // The test runner leaves a test no flags of its own.
        let image = std::env::var_os(IMAGE_VARIABLE).with_context(|| {
            format!("{IMAGE_VARIABLE} is not set: run `cargo xtask test`, or name an archive that `cargo xtask image` made")
        })?;
        let manifests = std::env::var_os(MANIFESTS_VARIABLE).map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../install/manifests"),
            PathBuf::from,
        );
        Self::at(image.into(), manifests)
    }

    /// This archive and this folder.
    ///
    /// # Errors
    /// There is no such file or folder.
    pub fn at(image: PathBuf, manifests: PathBuf) -> Result<Self> {
        ensure!(image.is_file(), "there is no image {}", image.display());
        ensure!(
            manifests.join(MARK).is_file(),
            "{} has no {MARK}: name the folder of the manifests by {MANIFESTS_VARIABLE}",
            manifests.display()
        );
        Ok(Self { image, manifests })
    }

    pub(crate) fn image(&self) -> &Path {
        &self.image
    }

    /// Whether these manifests have the cluster's controllers: an older version's do not.
    pub(crate) fn has_controllers(&self) -> bool {
        self.manifests.join("controllers.yaml").is_file()
    }

    pub(crate) fn manifests(&self) -> &Path {
        &self.manifests
    }
}
