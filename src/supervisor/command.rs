//! The ways that run a command on the node: `supervisorctl`, the init wrapper of a program, and init itself.
//!
//! What always holds: each word is quoted, so that no name is ever a command; output is read up to [`OUTPUT_LIMIT`]; the exit code is never the truth, the state read afterwards is.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;

use super::init::{self, InitProblem, InitStatus};
use super::relay::Relay;
use super::supervisorctl::{self, ControlProblem, Tail};
use super::tailed::Tailed;
use super::{Fault, ProcessInfo, SupervisorError, UpdateSummary};
use crate::event::LogStream;
use crate::inventory::ControlAddress;
use crate::remote::Sudo;
use crate::transport::{ExecOutput, Session};

/// Longest output read of one command, each of stdout and stderr.
pub const OUTPUT_LIMIT: usize = 1024 * 1024;

/// Most that is read of a log at once, in bytes.
pub const TAIL_LIMIT: usize = 256 * 1024;

/// A command that only asks has to start a Python, on a busy node, and hangs if it takes longer than this.
const QUESTION_TIME: Duration = Duration::from_secs(60);

/// Before the exit code of a command in what it printed.
const EXIT_MARK: &str = "ctl-exit";

/// The words as one line for a shell.
fn words_of(words: &[&str]) -> Result<String, SupervisorError> {
    let quote = |word: &&str| {
        let quoted = shlex::try_quote(word).map(std::borrow::Cow::into_owned);
        quoted.map_err(|_| SupervisorError::Unsupported(format!("`{}` holds a NUL", word.escape_debug())))
    };
    Ok(words.iter().map(quote).collect::<Result<Vec<_>, _>>()?.join(" "))
}

/// Runs commands on a node, through sudo where asked. Clones are the same shell.
pub struct Shell<S: Session> {
    inner: Arc<Inner<S>>,
}

struct Inner<S: Session> {
    session: Arc<S>,
    sudo: Sudo,
    relay: Mutex<Option<Arc<Relay>>>,
}

impl<S: Session> Clone for Shell<S> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<S: Session> Shell<S> {
    /// A shell on `session`.
    pub fn new(session: Arc<S>, sudo: Sudo) -> Self {
        Self { inner: Arc::new(Inner { session, sudo, relay: Mutex::default() }) }
    }

    /// The session that it is on.
    pub fn session(&self) -> &Arc<S> {
        &self.inner.session
    }

    /// Whether and how it goes through sudo.
    pub fn sudo(&self) -> &Sudo {
        &self.inner.sudo
    }

    /// The node's relay, started now unless it runs already.
    pub(super) async fn relay(&self) -> Result<Arc<Relay>, SupervisorError> {
        let mut current = self.inner.relay.lock().await;
        if let Some(relay) = current.as_ref().filter(|relay| relay.is_alive()) {
            return Ok(Arc::clone(relay));
        }
        let relay = Arc::new(Relay::start(self.session().as_ref(), self.sudo()).await?);
        *current = Some(Arc::clone(&relay));
        Ok(relay)
    }

    /// Runs the words as one command, through sudo where asked: a question, which is answered in [`QUESTION_TIME`].
    async fn run(&self, words: &[&str]) -> Result<ExecOutput, SupervisorError> {
        let line = words_of(words)?;
        match timeout(QUESTION_TIME, self.execute(|sudo| format!("{sudo}{line}"))).await {
            Ok(answer) => answer,
            Err(_) => Err(SupervisorError::Silent(words.join(" "))),
        }
    }

    /// Runs the words as one command that goes on to its end even if the connection is lost meanwhile: what it
    /// prints then is drained on the node. Without that it would be killed by its next word to a closed pipe, and
    /// `supervisorctl restart` prints between its stop and its start. stderr is told as stdout.
    async fn run_to_its_end(&self, words: &[&str]) -> Result<ExecOutput, SupervisorError> {
        let words = words_of(words)?;
        // Where sudo may have to be answered, its input is ours.
        let input = if self.sudo().has_password() { "" } else { "</dev/null" };
        let line = |sudo: &str| {
            let script = format!(
                "trap \"\" HUP; {{ {sudo}{words} 2>&1 {input}; echo {EXIT_MARK} $?; }} | {{ trap \"\" PIPE; cat; cat >/dev/null; }}"
            );
            // Words that hold a NUL were refused above.
            format!("sh -c {}", shlex::try_quote(&script).unwrap_or_default())
        };
        let mut output = self.execute(line).await?;
        // The last line is ours; a word of the command's own may stand before it without a line's end.
        if let Some((said, code)) = output.stdout.rsplit_once(EXIT_MARK) {
            output.exit = code.trim().parse().ok();
            output.stdout = said.to_owned();
        }
        Ok(output)
    }

    pub(super) async fn execute(&self, line: impl FnOnce(&str) -> String) -> Result<ExecOutput, SupervisorError> {
        self.execute_within(line, OUTPUT_LIMIT).await
    }

    /// The same for a command that is to print no more than `limit` bytes.
    pub(super) async fn execute_within(
        &self,
        line: impl FnOnce(&str) -> String,
        limit: usize,
    ) -> Result<ExecOutput, SupervisorError> {
        let output = self.sudo().exec(self.session().as_ref(), line, limit).await?;
        if output.truncated {
            return Err(SupervisorError::Protocol(format!("a command printed more than {limit} bytes")));
        }
        Ok(output)
    }

    /// Runs a script of the login shell as it is, without sudo.
    pub(super) async fn script(&self, script: &str) -> Result<ExecOutput, SupervisorError> {
        Ok(self.session().exec(script, OUTPUT_LIMIT).await?)
    }
}

/// `supervisorctl -s ADDRESS`, executed on the node.
pub struct Supervisorctl<S: Session> {
    shell: Shell<S>,
    address: ControlAddress,
}

impl<S: Session> Supervisorctl<S> {
    /// For the supervisord at `address`.
    pub fn new(shell: Shell<S>, address: ControlAddress) -> Self {
        Self { shell, address }
    }

    /// Where it listens.
    pub fn address(&self) -> &ControlAddress {
        &self.address
    }

    async fn control(&self, words: &[&str]) -> Result<ExecOutput, SupervisorError> {
        let address = self.address.to_string();
        let mut all = vec!["supervisorctl", "-s", &address];
        all.extend(words);
        self.shell.run(&all).await
    }

    /// All processes.
    ///
    /// # Errors
    /// [`SupervisorError`] for anything that kept it from answering.
    pub async fn list(&self) -> Result<Vec<ProcessInfo>, SupervisorError> {
        let output = self.control(&["status"]).await?;
        processes(&output)
    }

    /// The last bytes of one of a process's logs, at most so many and 256 KiB.
    ///
    /// # Errors
    /// [`Fault::NoFile`] if it has no such log, [`Fault::BadName`] if there is no such process, else as
    /// [`Supervisorctl::list`].
    pub async fn tail(&self, name: &str, stream: LogStream, bytes: usize) -> Result<Vec<u8>, SupervisorError> {
        let bytes = bytes.min(TAIL_LIMIT);
        // On Python 3 it fails where a character is cut, which has at most three more bytes.
        for more in 0..=3 {
            let output = self.control(&["tail", &format!("-{}", bytes + more), name, stream.as_str()]).await?;
            match supervisorctl::parse_tail(name, &output.stdout, &output.stderr) {
                Tail::Text(text) => return Ok(text.into_bytes()),
                Tail::NotText => {}
                Tail::NoLog => return Err(super::log::no_log()),
                Tail::NoProcess => {
                    let text = "supervisorctl knows no such process".to_owned();
                    return Err(SupervisorError::Fault { fault: Fault::BadName, text });
                }
                Tail::Refused => {
                    let status = supervisorctl::parse_status(&output.stdout, &output.stderr, output.exit);
                    refuse(&status.problems)?;
                    return Err(SupervisorError::Protocol("supervisorctl could not read the log".to_owned()));
                }
            }
        }
        Err(SupervisorError::Protocol("the log is not UTF-8, and supervisorctl cannot tell it".to_owned()))
    }

    /// Follows one of a process's logs, until what is returned is dropped.
    ///
    /// # Errors
    /// As [`Supervisorctl::list`].
    pub async fn follow(&self, name: &str, stream: LogStream) -> Result<Tailed<S::Command>, SupervisorError> {
        let address = self.address.to_string();
        let line = words_of(&["supervisorctl", "-s", &address, "tail", "-f", name, stream.as_str()])?;
        Tailed::start(self.shell.session().as_ref(), self.shell.sudo(), &line).await
    }

    /// The last bytes of supervisord's own log, at most so many and 256 KiB. What supervisorctl has to say instead is told
    /// as if it were the log.
    ///
    /// # Errors
    /// As [`Supervisorctl::list`].
    pub async fn own_log(&self, bytes: usize) -> Result<Vec<u8>, SupervisorError> {
        let output = self.control(&["maintail", &format!("-{}", bytes.min(TAIL_LIMIT))]).await?;
        Ok(output.stdout.into_bytes())
    }

    /// supervisord's own pid.
    ///
    /// # Errors
    /// As [`Supervisorctl::list`].
    pub async fn pid(&self) -> Result<Option<u32>, SupervisorError> {
        let output = self.control(&["pid"]).await?;
        refuse(&supervisorctl::parse_status(&output.stdout, &output.stderr, output.exit).problems)?;
        Ok(supervisorctl::parse_pid(&output.stdout))
    }

    /// `start`, `stop` or `restart` of a process or a whole group (`name:*`).
    ///
    /// # Errors
    /// [`SupervisorError::Fault`] for what supervisorctl said went wrong, else as [`Supervisorctl::list`].
    pub async fn act(&self, verb: &str, name: &str) -> Result<(), SupervisorError> {
        let address = self.address.to_string();
        let output = self.shell.run_to_its_end(&["supervisorctl", "-s", &address, verb, name]).await?;
        acted(&output)
    }

    /// Rereads the configuration; nothing is applied.
    ///
    /// # Errors
    /// As [`Supervisorctl::act`].
    pub async fn reload_config(&self) -> Result<UpdateSummary, SupervisorError> {
        let output = self.control(&["reread"]).await?;
        refuse(&supervisorctl::parse_status(&output.stdout, &output.stderr, output.exit).problems)?;
        let read = supervisorctl::parse_reread(&output.stdout);
        if let Some(error) = read.error {
            return Err(SupervisorError::Fault { fault: Fault::CantReread, text: error });
        }
        Ok(UpdateSummary { added: read.available, changed: read.changed, removed: read.disappeared })
    }
}

/// The init wrapper of a program, `service contrail-collector VERB`: supervisorctl behind another name.
pub struct Wrapper<S: Session> {
    shell: Shell<S>,
    programs: Vec<String>,
}

impl<S: Session> Wrapper<S> {
    /// For the programs that have a wrapper: only these can be listed.
    pub fn new(shell: Shell<S>, programs: Vec<String>) -> Self {
        Self { shell, programs }
    }

    /// The processes of all programs whose wrapper the node has.
    ///
    /// # Errors
    /// [`SupervisorError`] of the first wrapper that could not ask its supervisord;
    /// [`SupervisorError::CommandMissing`] if the node has none of them.
    pub async fn list(&self) -> Result<Vec<ProcessInfo>, SupervisorError> {
        let asked = futures_util::future::join_all(self.programs.iter().map(|program| self.one(program))).await;
        let mut found = Vec::new();
        let mut any = false;
        for answer in asked {
            match answer {
                Ok(processes) => {
                    any = true;
                    found.extend(processes);
                }
                Err(SupervisorError::CommandMissing(_)) => {}
                Err(error) => return Err(error),
            }
        }
        if any { Ok(found) } else { Err(SupervisorError::CommandMissing("no init wrapper of its programs".to_owned())) }
    }

    async fn one(&self, program: &str) -> Result<Vec<ProcessInfo>, SupervisorError> {
        let output = self.shell.run(&["service", program, "status"]).await?;
        let status = init::parse_status(program, &output.stdout, &output.stderr, output.exit);
        if status.state == init::InitState::NotFound {
            return Err(SupervisorError::CommandMissing(format!("`service {program}` is not known there")));
        }
        let listed = processes(&output)?;
        Ok(listed.into_iter().filter(|process| process.group == program).collect())
    }

    /// `start`, `stop` or `restart` of all processes of a program.
    ///
    /// # Errors
    /// As [`Supervisorctl::act`].
    pub async fn act(&self, verb: &str, program: &str) -> Result<(), SupervisorError> {
        let output = self.shell.run_to_its_end(&["service", program, verb]).await?;
        acted(&output)
    }
}

/// A service that init runs: a supervisord instance, or one outside supervisord.
pub struct InitService<S: Session> {
    shell: Shell<S>,
    name: String,
}

impl<S: Session> InitService<S> {
    /// The service of this name.
    pub fn new(shell: Shell<S>, name: String) -> Self {
        Self { shell, name }
    }

    /// What init says of it. Where init says running but not which process, the pid file of the usual name is asked.
    ///
    /// # Errors
    /// [`SupervisorError::Transport`] and [`SupervisorError::Protocol`]; what sudo refuses.
    pub async fn status(&self) -> Result<InitStatus, SupervisorError> {
        let output = self.shell.run(&["service", &self.name, "status"]).await?;
        let mut status = init::parse_status(&self.name, &output.stdout, &output.stderr, output.exit);
        if status.state == init::InitState::Denied {
            let problems = supervisorctl::parse_status(&output.stdout, &output.stderr, output.exit).problems;
            refuse(&problems)?;
            return Err(SupervisorError::Permission(status.text));
        }
        if status.state == init::InitState::Running && status.pid.is_none() {
            status.pid = self.pid_file().await?;
        }
        Ok(status)
    }

    async fn pid_file(&self) -> Result<Option<u32>, SupervisorError> {
        let Ok(name) = shlex::try_quote(&self.name) else { return Ok(None) };
        let output = self.shell.script(&format!("cat /var/run/{name}.pid /var/run/{name}/{name}.pid")).await?;
        Ok(output.stdout.lines().find_map(|line| line.trim().parse().ok()))
    }

    /// `start`, `stop` or `restart`. Its truth is the status read afterwards.
    ///
    /// # Errors
    /// [`SupervisorError`] where it was not even tried: sudo refused, init does not know the service.
    pub async fn act(&self, verb: &str) -> Result<(), SupervisorError> {
        let output = self.shell.run_to_its_end(&["service", &self.name, verb]).await?;
        match init::parse_action(&output.stdout, &output.stderr, output.exit) {
            None => Ok(()),
            Some(InitProblem::Command(problem)) => refuse(&[problem]),
            Some(problem @ InitProblem::Denied { .. }) => Err(SupervisorError::Permission(problem.to_string())),
            Some(problem @ InitProblem::NotFound { .. }) => Err(SupervisorError::CommandMissing(problem.to_string())),
        }
    }
}

fn processes(output: &ExecOutput) -> Result<Vec<ProcessInfo>, SupervisorError> {
    let status = supervisorctl::parse_status(&output.stdout, &output.stderr, output.exit);
    refuse(&status.problems)?;
    Ok(status
        .processes
        .into_iter()
        .map(|line| ProcessInfo {
            group: line.group,
            name: line.process,
            state: line.state,
            pid: line.pid,
            start: None,
            uptime: line.uptime,
            exited_as_expected: None,
            description: line.description,
        })
        .collect())
}

/// The first problem that kept supervisorctl from doing its work at all.
fn refuse(problems: &[ControlProblem]) -> Result<(), SupervisorError> {
    for problem in problems {
        let text = problem.to_string();
        return Err(match problem {
            ControlProblem::Refused { .. }
            | ControlProblem::NoSuchFile { .. }
            | ControlProblem::ShuttingDown
            | ControlProblem::HungUp => SupervisorError::Down(text),
            ControlProblem::PermissionDenied | ControlProblem::Unauthorized => SupervisorError::Permission(text),
            ControlProblem::Sudo(error) => SupervisorError::Sudo(error.clone()),
            ControlProblem::CommandNotFound => SupervisorError::CommandMissing(text),
            ControlProblem::PythonError { .. } => SupervisorError::Protocol(text),
            ControlProblem::NoSuchProcess { .. }
            | ControlProblem::NoSuchGroup { .. }
            | ControlProblem::Unrecognised { .. } => continue,
        });
    }
    Ok(())
}

/// What supervisorctl said of a start, stop or restart.
fn acted(output: &ExecOutput) -> Result<(), SupervisorError> {
    use supervisorctl::ActionResult as R;
    let action = supervisorctl::parse_action(&output.stdout, &output.stderr, output.exit);
    refuse(&action.problems)?;
    for line in &action.lines {
        let fault = match line.result {
            R::SpawnError => Fault::SpawnError,
            R::AbnormalTermination => Fault::AbnormalTermination,
            R::NoSuchFile => Fault::NoFile,
            R::NotExecutable => Fault::NotExecutable,
            R::NoSuchProcess | R::NoSuchGroup => Fault::BadName,
            // "not running" before "started" is what a restart of a stopped program prints.
            R::Started
            | R::Stopped
            | R::Signalled
            | R::Cleared
            | R::Added
            | R::Removed
            | R::Updated
            | R::AlreadyStarted
            | R::NotRunning
            | R::BadSignal
            | R::AlreadyAdded
            | R::StillRunning
            | R::Failed
            | R::Other => continue,
        };
        return Err(SupervisorError::Fault { fault, text: line.text.clone() });
    }
    Ok(())
}
