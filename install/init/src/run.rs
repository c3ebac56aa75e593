//! Runs another program and waits for its end, at most so long, and no longer than this process is wanted.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::stop::Stop;

/// Between two looks whether it has ended.
const PAUSE: Duration = Duration::from_millis(10);

/// What a program said and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// Its standard output.
    pub(crate) stdout: String,
    /// Its standard error.
    pub(crate) stderr: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunProgramError {
    /// It could not be started.
    #[error("start {program:?}")]
    Start {
        program: PathBuf,
        #[source]
        source: io::Error,
    },
    /// It could not be waited for.
    #[error("wait for {program:?}")]
    Wait {
        program: PathBuf,
        #[source]
        source: io::Error,
    },
    /// It did not end.
    #[error("{program:?} did not end within {limit:?} and was killed")]
    Slow { program: PathBuf, limit: Duration },
    /// This process was asked to end.
    #[error("asked to end while {program:?} ran")]
    Stopped { program: PathBuf },
}

/// Runs it with this on standard input.
pub(crate) fn run(
    mut command: Command,
    input: &[u8],
    limit: Duration,
    stop: &Stop,
) -> Result<Ended, RunProgramError> {
    let program = PathBuf::from(command.get_program());
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = start(&mut command).map_err(|source| RunProgramError::Start {
        program: program.clone(),
        source,
    })?;
    if let Some(mut stdin) = child.stdin.take() {
        // Far less than a pipe holds. A program may answer without having read it.
        let _ = stdin.write_all(input);
    }
    let stdout = child.stdout.take().map(drain);
    let stderr = child.stderr.take().map(drain);
    let status = wait(&mut child, &program, limit, stop);
    if status.is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
    Ok(Ended {
        status: status?,
        stdout: collect(stdout),
        stderr: collect(stderr),
    })
}

/// A program that was renamed into place a moment ago may still be open for writing in a child that another process
/// forked meanwhile: the kernel says ETXTBSY until that child has executed.
fn start(command: &mut Command) -> io::Result<Child> {
    let started = Instant::now();
    loop {
        match command.spawn() {
            Err(error)
                if error.kind() == io::ErrorKind::ExecutableFileBusy
                    && started.elapsed() < Duration::from_secs(1) =>
            {
                std::thread::sleep(PAUSE);
            }
            other => return other,
        }
    }
}

fn wait(
    child: &mut Child,
    program: &Path,
    limit: Duration,
    stop: &Stop,
) -> Result<ExitStatus, RunProgramError> {
    let started = Instant::now();
    loop {
        let ended = child.try_wait().map_err(|source| RunProgramError::Wait {
            program: program.to_owned(),
            source,
        })?;
        if let Some(status) = ended {
            return Ok(status);
        }
        if started.elapsed() >= limit {
            return Err(RunProgramError::Slow {
                program: program.to_owned(),
                limit,
            });
        }
        if stop.within(PAUSE) {
            return Err(RunProgramError::Stopped {
                program: program.to_owned(),
            });
        }
    }
}

fn drain(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}

fn collect(reader: Option<JoinHandle<Vec<u8>>>) -> String {
    let bytes = reader.and_then(|reader| reader.join().ok());
    String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn answer_and_exit_code_come_back() {
        let limit = Duration::from_secs(20);
        let ended = run(
            shell("cat; echo no >&2; exit 3"),
            b"hello",
            limit,
            &Stop::never(),
        );
        let ended = ended.unwrap();
        assert_eq!(ended.status.code(), Some(3));
        assert_eq!(
            (ended.stdout.as_str(), ended.stderr.as_str()),
            ("hello", "no\n")
        );
    }

    #[test]
    fn hung_program_is_killed_and_named() {
        let limit = Duration::from_millis(50);
        let error = run(shell("exec tail -f /dev/null"), b"", limit, &Stop::never()).unwrap_err();
        assert!(matches!(error, RunProgramError::Slow { .. }), "{error}");
        assert!(error.to_string().contains("sh"), "{error}");
    }

    #[test]
    fn missing_program_is_named() {
        let command = Command::new("/nowhere/berth");
        let error = run(command, b"", Duration::from_secs(1), &Stop::never()).unwrap_err();
        assert!(error.to_string().contains("/nowhere/berth"), "{error}");
    }
}
