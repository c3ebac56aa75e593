//! Where the product's binaries are.
//!
//! Tests never build: `cargo xtask` builds once and names the folder in `BERTH_BIN_DIR`.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

/// Names the docker-archive of the product's image, `localhost/berth:dev`.
pub const IMAGE_VARIABLE: &str = "BERTH_IMAGE";

/// Names the docker-archive of an image one minor version newer, `localhost/berth:next`. For the cluster tier only.
pub const NEXT_IMAGE_VARIABLE: &str = "BERTH_NEXT_IMAGE";

/// Names the docker-archive of an image three minor versions newer, `localhost/berth:far`. For the cluster tier only.
pub const FAR_IMAGE_VARIABLE: &str = "BERTH_FAR_IMAGE";

/// The folder of the product's binaries, from `BERTH_BIN_DIR`.
///
/// # Errors
/// The variable is not set: somebody runs the tests without `cargo xtask test`.
pub fn bin_dir() -> Result<PathBuf> {
    std::env::var_os("BERTH_BIN_DIR")
        .map(PathBuf::from)
        .context("BERTH_BIN_DIR is not set: run `cargo xtask test`, or name the folder that has berth and berth-ipamd")
}

/// The path of one binary of the product.
///
/// # Errors
/// `BERTH_BIN_DIR` is not set, or the folder has no such file.
pub fn binary(name: &str) -> Result<PathBuf> {
    let path = bin_dir()?.join(name);
    ensure!(
        path.is_file(),
        "{} does not exist: build it, or let BERTH_BIN_DIR name the folder that has it",
        path.display()
    );
    Ok(path)
}
