//! What can be typed. Declares only.

use clap::{Parser, Subcommand};

use crate::{
    bench::BenchArgs, demo::DemoArgs, generate::GenerateArgs, image::ImageArgs, soak::SoakArgs,
    testbed::TestbedArgs, tier::TestArgs,
};

/// Builds, tries, tests and measures Berth.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) task: Task,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Two racks and two nodes on this machine: watch Pods keep IP and MAC
    Demo(DemoArgs),
    /// A real Kubernetes cluster on this machine, for as long as wanted
    Testbed(TestbedArgs),
    /// Run the tests, cheap tiers first
    Test(TestArgs),
    /// Make the container image of Berth
    Image(ImageArgs),
    /// Measure beside Debian's plugins
    Bench(BenchArgs),
    /// Everything that CI runs: format, lints, layout, all tests
    Ci,
    /// Write the custom resource definitions from their types
    Gen(GenerateArgs),
    /// Check the layout: dependency arrows, unsafe code, file names, generated files
    Tidy,
    /// Check licences, duplicates and sources of dependencies (needs cargo-deny)
    Deny,
    /// Run the crash tests over and over
    Soak(SoakArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
