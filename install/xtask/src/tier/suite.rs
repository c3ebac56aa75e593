//! A test program of a tier that runs daemons of others (containerd, etcd, Kubernetes) beside ours.
//!
//! On a busy machine such a test can be late without anything of ours being wrong: a test that failed is run once more, alone. When it passes then it
//! is called FLAKY, loudly, there and once more at the end of the run, and what the failed run saved stays. When it fails again, the run fails.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use crate::step::{run, run_and_keep, say};

/// More tests than this are not late but wrong: they are not tried again.
const ACCIDENTS: usize = 3;

/// A test that failed, then passed alone.
#[derive(Debug)]
pub(super) struct Flaky {
    pub(super) test: String,
    pub(super) evidence: PathBuf,
}

/// How a test program is run.
pub(super) struct Suite<'a> {
    pub(super) what: &'a str,
    /// The program with its surroundings; what it saves of failed tests goes into the folder.
    pub(super) command: &'a dyn Fn(&Path) -> Result<Command>,
    /// Removes what the program shared between its tests and left.
    pub(super) clean: &'a dyn Fn() -> Result<()>,
    /// Words for the program.
    pub(super) rest: &'a [String],
    pub(super) budget: Duration,
    /// Tests that run at once: two cores carry few daemons, but what a test does is mostly to wait.
    pub(super) at_once: usize,
    /// Where failed runs save what they saw; a second run has a folder of its own beside it.
    pub(super) evidence: &'a Path,
}

impl Suite<'_> {
    /// Runs the program, and each failed test once more; those that passed then.
    pub(super) fn run(&self) -> Result<Vec<Flaky>> {
        let mut command = (self.command)(self.evidence)?;
        let threads = format!("--test-threads={}", self.at_once);
        command.arg(threads).args(self.rest);
        let done = run_and_keep(self.what, &mut command, self.budget);
        (self.clean)()?;
        let (status, output) = done?;
        let again = plan(status.success(), &output).with_context(|| {
            let (what, evidence) = (self.what, self.evidence.display());
            format!("{what} ended with {status}; evidence is in {evidence}")
        })?;
        again.into_iter().map(|test| self.again(test)).collect()
    }

    fn again(&self, test: &str) -> Result<Flaky> {
        // What the first run saved stays.
        let second = self.evidence.with_file_name("evidence-of-rerun");
        let mut command = (self.command)(&second)?;
        command.args(["--exact", test, "--nocapture"]);
        let done = run(
            &format!("once more, alone: {test}"),
            &mut command,
            self.budget,
        );
        (self.clean)()?;
        done?;
        let flaky = Flaky {
            test: test.to_owned(),
            evidence: self.evidence.to_owned(),
        };
        flaky.tell();
        Ok(flaky)
    }
}

impl Flaky {
    /// Says it so that nobody overlooks it.
    pub(super) fn tell(&self) {
        say(&format!(
            "!!! FLAKY: {} failed, then passed alone; evidence of the failure is in {}",
            self.test,
            self.evidence.display()
        ));
    }
}

/// Which tests to try again, by what the program said.
fn plan(passed: bool, output: &str) -> Result<Vec<&str>> {
    if passed {
        return Ok(Vec::new());
    }
    let failed = failed_tests(output);
    ensure!(!failed.is_empty(), "the program named no failed test");
    ensure!(
        failed.len() <= ACCIDENTS,
        "{} tests failed, too many for an accident: {}",
        failed.len(),
        failed.join(", ")
    );
    Ok(failed)
}

/// The names of failed tests: behind each test, and in the last list, which is whole where tests write in between.
fn failed_tests(output: &str) -> Vec<&str> {
    let behind = output
        .lines()
        .filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"));
    let list = output
        .rsplit_once("\nfailures:\n")
        .map_or("", |(_, list)| list);
    let listed = list
        .lines()
        .map_while(|line| line.strip_prefix("    "))
        .filter(|name| !name.contains(' '));
    let mut failed: Vec<&str> = behind.chain(listed).collect();
    failed.sort_unstable();
    failed.dedup();
    failed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_tests_are_read_from_the_runners_output() {
        let output = "running 2 tests\ntest a::good ... ok\ntest b::bad ... FAILED\n\nfailures:\n    b::bad\n";
        assert_eq!(failed_tests(output), ["b::bad"]);
    }

    #[test]
    fn failed_test_that_writes_between_is_found_in_the_last_list() {
        let output = "test b::bad ... noise\nFAILED\n\nfailures:\n\n---- b::bad stdout ----\nx\n\nfailures:\n    b::bad\n\ntest result: FAILED.\n";
        assert_eq!(failed_tests(output), ["b::bad"]);
    }

    #[test]
    fn few_failed_tests_are_tried_again() {
        let output = "test a::late ... FAILED\ntest b::good ... ok\ntest c::late ... FAILED\n";
        assert_eq!(plan(false, output).unwrap(), ["a::late", "c::late"]);
        assert!(plan(true, "test b::good ... ok\n").unwrap().is_empty());
    }

    #[test]
    fn many_failed_tests_are_named_and_not_tried_again() {
        let output = "test a ... FAILED\ntest b ... FAILED\ntest c ... FAILED\ntest d ... FAILED\n";
        let refused = plan(false, output).unwrap_err().to_string();
        assert_eq!(
            refused,
            "4 tests failed, too many for an accident: a, b, c, d"
        );
    }

    #[test]
    fn program_that_dies_without_a_word_fails_the_run() {
        assert!(plan(false, "running 2 tests\n").is_err());
    }
}
