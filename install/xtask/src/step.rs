//! Steps: what runs, since when, and until when it may. A step over its budget is ended and named.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{Child, Command, ExitStatus, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// How long between two looks at a running program.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Writes a line with the time since the start to standard error, where cargo writes its own progress too.
pub(crate) fn say(text: &str) {
    static START: OnceLock<Instant> = OnceLock::new();
    let elapsed = START.get_or_init(Instant::now).elapsed();
    let _ = writeln!(std::io::stderr(), "[{:7.1}s] {text}", elapsed.as_secs_f32());
}

/// Writes what a program said to standard output.
pub(crate) fn show(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
}

/// Runs a program that must end with 0 within its budget; its output goes where ours goes.
pub(crate) fn run(what: &str, command: &mut Command, budget: Duration) -> Result<()> {
    say(what);
    let mut child = start(command)?;
    let status = wait(&mut child, what, budget)?;
    if !status.success() {
        bail!("{what}: `{}` ended with {status}", text(command));
    }
    Ok(())
}

/// Runs a program that must end with 0 within its budget, and shows what it said only when it did not.
pub(crate) fn run_quietly(what: &str, command: &mut Command, budget: Duration) -> Result<()> {
    let mut child = start(command.stdout(Stdio::null()).stderr(Stdio::piped()))?;
    let mut stderr = child.stderr.take().context("no pipe to the program")?;
    let reader = thread::spawn(move || {
        let mut said = String::new();
        // Whatever could be read is better than nothing.
        let _ = stderr.read_to_string(&mut said);
        said
    });
    let waited = wait(&mut child, what, budget);
    let said = reader.join().unwrap_or_default();
    let status = waited?;
    if !status.success() {
        bail!(
            "{what}: `{}` ended with {status}: {}",
            text(command),
            said.trim_end()
        );
    }
    Ok(())
}

/// Runs a program within its budget, passes on what it writes to standard output, and keeps it too.
pub(crate) fn run_and_keep(
    what: &str,
    command: &mut Command,
    budget: Duration,
) -> Result<(ExitStatus, String)> {
    say(what);
    let mut child = start(command.stdout(Stdio::piped()))?;
    let stdout = child.stdout.take().context("no pipe to the program")?;
    let reader = thread::spawn(move || {
        let mut kept = String::new();
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = writeln!(std::io::stdout(), "{line}");
            kept.push_str(&line);
            kept.push('\n');
        }
        kept
    });
    let waited = wait(&mut child, what, budget);
    let kept = reader.join().unwrap_or_default();
    Ok((waited?, kept))
}

fn start(command: &mut Command) -> Result<Child> {
    command
        .spawn()
        .with_context(|| format!("start `{}`", text(command)))
}

fn wait(child: &mut Child, what: &str, budget: Duration) -> Result<ExitStatus> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().context("wait for a program")? {
            return Ok(status);
        }
        if start.elapsed() > budget {
            let _ = child.kill();
            let _ = child.wait();
            bail!("{what}: not done within its budget of {budget:?}");
        }
        thread::sleep(LOOK_EVERY);
    }
}

fn text(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn step_over_its_budget_is_ended_and_named() {
        let error = run("the nap", Command::new("sleep").arg("60"), Duration::ZERO).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("the nap: not done within its budget"),
            "{error}"
        );
    }

    #[test]
    fn quiet_program_that_fails_is_quoted() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo the disk is full >&2; exit 3"]);
        let error = run_quietly("packing", &mut command, Duration::from_secs(10)).unwrap_err();
        assert!(error.to_string().contains("the disk is full"), "{error}");
    }

    #[test]
    fn output_is_kept_line_by_line() {
        let mut command = Command::new("printf");
        command.arg("one\ntwo\n");
        let (status, kept) = run_and_keep("print", &mut command, Duration::from_secs(10)).unwrap();
        assert!(status.success());
        assert_eq!(kept, "one\ntwo\n");
    }
}
