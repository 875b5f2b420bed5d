//! The ways that run a command on the node: `supervisorctl`, the init wrapper of a program, and init itself.
//!
//! What always holds: each word is quoted, so that no name is ever a command; output is read up to [`OUTPUT_LIMIT`]; the
//! exit code is never proof of success, the state read afterwards is; but an answer of which no line is understood, or
//! that ended as answers do not, is an error and never an empty list.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;

use super::parse::init::{self, InitProblem, InitStatus};
use super::parse::problem::ControlProblem;
use super::parse::supervisorctl::{self, TailOutput};
use super::relay::Relay;
use super::tail_follower::TailFollower;
use super::{ProcessInfo, RpcFault, SupervisorError, UpdateSummary};
use crate::event::LogStream;
use crate::inventory::ControlAddress;
use crate::remote::{CommandAnswer, NoAnswer, Sudo, last_line};
use crate::transport::Session;

/// Longest output read of one command, each of stdout and stderr.
pub const OUTPUT_LIMIT: usize = 1024 * 1024;

/// Most that is read of a log at once, in bytes.
pub const TAIL_LIMIT: usize = 256 * 1024;

/// A command that only asks has to start a Python, on a busy node, and hangs if it takes longer than this.
const QUESTION_TIME: Duration = Duration::from_secs(60);

/// Prints where a log of a process is: address, process, key. `supervisor.xmlrpc` has both names in 3.0 to 4.2.5.
const LOG_PATH: &str = concat!(
    "import sys; from supervisor.xmlrpc import SupervisorTransport as T, xmlrpclib as x; ",
    "s = x.ServerProxy(\"http://127.0.0.1\", T(None, None, sys.argv[1])).supervisor; ",
    "print(\"log:\" + s.getProcessInfo(sys.argv[2])[sys.argv[3]])"
);

/// The words as one line for a shell.
fn words_of(words: &[&str]) -> Result<String, SupervisorError> {
    let quote = |word: &&str| {
        let quoted = shlex::try_quote(word).map(std::borrow::Cow::into_owned);
        quoted.map_err(|_| SupervisorError::Unsupported(format!("`{}` contains a NUL character", word.escape_debug())))
    };
    Ok(words.iter().map(quote).collect::<Result<Vec<_>, _>>()?.join(" "))
}

/// Runs commands on a node, through sudo where asked. Clones are the same shell.
pub struct NodeShell<S: Session> {
    inner: Arc<ShellState<S>>,
}

struct ShellState<S: Session> {
    session: Arc<S>,
    sudo: Sudo,
    relay: Mutex<Option<Arc<Relay>>>,
}

impl<S: Session> Clone for NodeShell<S> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<S: Session> NodeShell<S> {
    /// A shell on `session`.
    pub fn new(session: Arc<S>, sudo: Sudo) -> Self {
        Self { inner: Arc::new(ShellState { session, sudo, relay: Mutex::default() }) }
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
    async fn run(&self, words: &[&str]) -> Result<CommandAnswer, SupervisorError> {
        let line = words_of(words)?;
        self.ask_in_time(&words.join(" "), |sudo| format!("{sudo}{line}")).await
    }

    /// Asks what is answered in [`QUESTION_TIME`].
    async fn ask_in_time(
        &self,
        what: &str,
        body: impl FnOnce(&str) -> String,
    ) -> Result<CommandAnswer, SupervisorError> {
        match timeout(QUESTION_TIME, self.ask(body)).await {
            Ok(answer) => answer,
            Err(_) => Err(SupervisorError::Silent(what.to_owned())),
        }
    }

    /// Runs the words as one command that goes on to its end even if the connection is lost meanwhile. Without that it
    /// would be killed by its next word to a closed pipe, and `supervisorctl restart` prints between its stop and its
    /// start. stderr is read as stdout.
    async fn run_to_its_end(&self, words: &[&str]) -> Result<CommandAnswer, SupervisorError> {
        let words = words_of(words)?;
        // Where sudo may have to be answered, its input is ours.
        let input = if self.sudo().has_password() { "" } else { " </dev/null" };
        let body = |sudo: &str| format!("{sudo}{words}{input}");
        Ok(self.sudo().ask_to_the_end(self.session().as_ref(), body, OUTPUT_LIMIT).await?)
    }

    pub(super) async fn ask(&self, body: impl FnOnce(&str) -> String) -> Result<CommandAnswer, SupervisorError> {
        self.ask_within(body, OUTPUT_LIMIT).await
    }

    /// The same for a command that is to print no more than `limit` bytes.
    pub(super) async fn ask_within(
        &self,
        body: impl FnOnce(&str) -> String,
        limit: usize,
    ) -> Result<CommandAnswer, SupervisorError> {
        Ok(self.sudo().ask(self.session().as_ref(), body, limit).await?)
    }

    /// Runs a script of a POSIX shell as it is, without sudo.
    pub(super) async fn script(&self, script: &str) -> Result<CommandAnswer, SupervisorError> {
        Ok(Sudo::No.ask(self.session().as_ref(), |_| script.to_owned(), OUTPUT_LIMIT).await?)
    }
}

/// `supervisorctl -s ADDRESS`, executed on the node.
pub struct Supervisorctl<S: Session> {
    shell: NodeShell<S>,
    address: ControlAddress,
}

impl<S: Session> Supervisorctl<S> {
    /// For the supervisord at `address`.
    pub fn new(shell: NodeShell<S>, address: ControlAddress) -> Self {
        Self { shell, address }
    }

    /// Where it listens.
    pub fn address(&self) -> &ControlAddress {
        &self.address
    }

    async fn control(&self, words: &[&str]) -> Result<CommandAnswer, SupervisorError> {
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
        let answer = self.control(&["status"]).await?;
        // 4.x ends with 3 where a process is not running.
        processes("supervisorctl status", &answer, self.shell.sudo().is_on(), |status| matches!(status, 0 | 3))
    }

    /// The last bytes of one of a process's logs, at most so many and 256 KiB.
    ///
    /// # Errors
    /// [`RpcFault::NoFile`] if it has no such log, [`RpcFault::BadName`] if there is no such process, else as
    /// [`Supervisorctl::list`].
    pub async fn tail(&self, name: &str, stream: LogStream, bytes: usize) -> Result<Vec<u8>, SupervisorError> {
        let bytes = bytes.min(TAIL_LIMIT);
        // On Python 3 it fails where a character is cut, which has at most three more bytes.
        for more in 0..=3 {
            let output = self.control(&["tail", &format!("-{}", bytes + more), name, stream.as_str()]).await?;
            match supervisorctl::parse_tail(name, &output.stdout, &output.stderr) {
                TailOutput::Text(text) if output.status == 0 && text.is_empty() => {
                    let path = self.log_path(name, stream).await?;
                    let nowhere = path.and_then(|path| super::log::kept_nowhere(stream, Some(&path)));
                    return nowhere.map_or_else(|| Ok(Vec::new()), Err);
                }
                TailOutput::Text(text) if output.status == 0 => return Ok(text.into_bytes()),
                TailOutput::Text(_) => return Err(failed("supervisorctl tail", &output)),
                TailOutput::NotText => {}
                TailOutput::NoLog => return Err(super::log::no_log(stream)),
                TailOutput::Unreadable => {
                    let path = self.log_path(name, stream).await?;
                    let nowhere = path.and_then(|path| super::log::kept_nowhere(stream, Some(&path)));
                    let text = "supervisord cannot read its log".to_owned();
                    return Err(nowhere.unwrap_or(SupervisorError::Fault { fault: RpcFault::Failed, text }));
                }
                TailOutput::NoProcess => {
                    let text = "supervisorctl has no such process".to_owned();
                    return Err(SupervisorError::Fault { fault: RpcFault::BadName, text });
                }
                TailOutput::Refused => {
                    refuse(&problems_of(&output))?;
                    return Err(SupervisorError::Protocol("supervisorctl cannot read the log".to_owned()));
                }
            }
        }
        Err(SupervisorError::Protocol("the log is not UTF-8, which supervisorctl cannot return".to_owned()))
    }

    /// Where one of a process's logs is; none if that is not known. supervisorctl itself does not tell; the Python that runs it
    /// can ask, where the user may run it.
    async fn log_path(&self, name: &str, stream: LogStream) -> Result<Option<String>, SupervisorError> {
        let words = words_of(&["-c", LOG_PATH, &self.address.to_string(), name, &format!("{stream}_logfile")])?;
        let find = r#"own=$(command -v supervisorctl); own=$(sed -n "1s/^#! *//p" "$own")"#;
        let body = |sudo: &str| format!("{find}; {sudo}$own {words}");
        let answer = self.shell.ask_in_time("the Python of supervisorctl", body).await?;
        let path = answer.stdout.strip_prefix("log:").filter(|_| answer.status == 0);
        Ok(path.map(|path| path.trim_end_matches('\n').to_owned()).filter(|path| !path.is_empty()))
    }

    /// Follows one of a process's logs, until what is returned is dropped.
    ///
    /// # Errors
    /// As [`Supervisorctl::list`].
    pub async fn follow(&self, name: &str, stream: LogStream) -> Result<TailFollower<S::Command>, SupervisorError> {
        let address = self.address.to_string();
        let line = words_of(&["supervisorctl", "-s", &address, "tail", "-f", name, stream.as_str()])?;
        TailFollower::start(self.shell.session().as_ref(), self.shell.sudo(), &line).await
    }

    /// The last bytes of supervisord's own log, at most so many and 256 KiB. What supervisorctl has to say instead is told
    /// as if it were the log.
    ///
    /// # Errors
    /// As [`Supervisorctl::list`].
    pub async fn own_log(&self, bytes: usize) -> Result<Vec<u8>, SupervisorError> {
        let output = self.control(&["maintail", &format!("-{}", bytes.min(TAIL_LIMIT))]).await?;
        if output.status != 0 {
            return Err(failed("supervisorctl maintail", &output));
        }
        Ok(output.stdout.into_bytes())
    }

    /// supervisord's own pid.
    ///
    /// # Errors
    /// As [`Supervisorctl::list`].
    pub async fn pid(&self) -> Result<Option<u32>, SupervisorError> {
        let output = self.control(&["pid"]).await?;
        refuse(&problems_of(&output))?;
        // 0 is said of one that does not run.
        let pid = supervisorctl::parse_pid(&output.stdout).ok_or_else(|| failed("supervisorctl pid", &output))?;
        Ok(Some(pid).filter(|pid| *pid != 0))
    }

    /// `start`, `stop` or `restart` of a process or a whole group (`name:*`).
    ///
    /// # Errors
    /// [`SupervisorError::Fault`] for what supervisorctl said went wrong, else as [`Supervisorctl::list`].
    pub async fn act(&self, verb: &str, name: &str) -> Result<(), SupervisorError> {
        let address = self.address.to_string();
        let answer = self.shell.run_to_its_end(&["supervisorctl", "-s", &address, verb, name]).await?;
        acted(&format!("supervisorctl {verb}"), &answer)
    }

    /// Rereads the configuration; nothing is applied.
    ///
    /// # Errors
    /// As [`Supervisorctl::act`].
    pub async fn reload_config(&self) -> Result<UpdateSummary, SupervisorError> {
        let output = self.control(&["reread"]).await?;
        refuse(&problems_of(&output))?;
        let read = supervisorctl::parse_reread(&output.stdout);
        if let Some(error) = read.error {
            return Err(SupervisorError::Fault { fault: RpcFault::CantReread, text: error });
        }
        if !read.is_understood || output.status != 0 {
            return Err(failed("supervisorctl reread", &output));
        }
        Ok(UpdateSummary { added: read.available, changed: read.changed, removed: read.disappeared })
    }
}

/// The init wrapper of a program, `service contrail-collector VERB`: supervisorctl behind another name.
pub struct InitWrapper<S: Session> {
    shell: NodeShell<S>,
    programs: Vec<String>,
}

impl<S: Session> InitWrapper<S> {
    /// For the programs that have a wrapper: only these can be listed.
    pub fn new(shell: NodeShell<S>, programs: Vec<String>) -> Self {
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
        let status = init::parse_status(program, &output.stdout, &output.stderr, Some(output.status));
        if status.state == init::InitState::NotFound {
            return Err(SupervisorError::CommandMissing(format!("`service {program}` does not exist on the node")));
        }
        // A script may end with whatever its last command did.
        let listed =
            processes(&format!("service {program} status"), &output, self.shell.sudo().is_on(), |status| status < 126)?;
        Ok(listed.into_iter().filter(|process| process.group == program).collect())
    }

    /// `start`, `stop` or `restart` of all processes of a program.
    ///
    /// # Errors
    /// As [`Supervisorctl::act`].
    pub async fn act(&self, verb: &str, program: &str) -> Result<(), SupervisorError> {
        let answer = self.shell.run_to_its_end(&["service", program, verb]).await?;
        acted(&format!("service {program} {verb}"), &answer)
    }
}

/// A service that init runs: a supervisord instance, or one outside supervisord.
pub struct InitService<S: Session> {
    shell: NodeShell<S>,
    name: String,
}

impl<S: Session> InitService<S> {
    /// The service of this name.
    pub fn new(shell: NodeShell<S>, name: String) -> Self {
        Self { shell, name }
    }

    /// What init says of it. Where init says running but not which process, the pid file of the usual name is asked.
    ///
    /// # Errors
    /// [`SupervisorError::Transport`] and [`SupervisorError::Protocol`]; what sudo refuses.
    pub async fn status(&self) -> Result<InitStatus, SupervisorError> {
        let output = self.shell.run(&["service", &self.name, "status"]).await?;
        let mut status = init::parse_status(&self.name, &output.stdout, &output.stderr, Some(output.status));
        if status.state == init::InitState::Denied {
            refuse(&problems_of(&output))?;
            return Err(SupervisorError::Permission(status.text));
        }
        if status.state == init::InitState::Unknown {
            refuse(&problems_of(&output))?;
            return Err(failed(&format!("service {} status", self.name), &output));
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
        match init::parse_action(&output.stdout, &output.stderr, Some(output.status)) {
            None => Ok(()),
            Some(InitProblem::Command(problem)) => refuse(&[problem]),
            Some(problem @ InitProblem::Denied { .. }) => Err(SupervisorError::Permission(problem.to_string())),
            Some(problem @ InitProblem::NotFound { .. }) => Err(SupervisorError::CommandMissing(problem.to_string())),
        }
    }
}

/// The processes of a `status`: all of them, or an error. A supervisord without programs prints nothing and ends with 0.
fn processes(
    command: &str,
    answer: &CommandAnswer,
    is_behind_sudo: bool,
    is_usual: impl Fn(u32) -> bool,
) -> Result<Vec<ProcessInfo>, SupervisorError> {
    let stdout = if is_behind_sudo { supervisorctl::without_preface(&answer.stdout) } else { &answer.stdout };
    let status = supervisorctl::parse_status(stdout, &answer.stderr, Some(answer.status));
    refuse(&status.problems)?;
    let unread = status
        .problems
        .iter()
        .find_map(|problem| if let ControlProblem::Unrecognised { line } = problem { Some(line) } else { None });
    let is_explained = status.problems.iter().any(|problem| !matches!(problem, ControlProblem::Unrecognised { .. }));
    if !is_usual(answer.status) || (status.processes.is_empty() && answer.status != 0 && !is_explained) {
        return Err(failed(command, answer));
    }
    if let Some(line) = unread {
        let text = format!("`{command}` printed a line that is not a process of its list: `{line}`");
        return Err(SupervisorError::Protocol(text));
    }
    let process = |line: supervisorctl::StatusLine| ProcessInfo {
        group: line.group,
        name: line.process,
        state: line.state,
        pid: line.pid,
        start: None,
        uptime: line.uptime,
        exited_as_expected: None,
        description: line.description,
    };
    Ok(status.processes.into_iter().map(process).collect())
}

fn problems_of(answer: &CommandAnswer) -> Vec<ControlProblem> {
    supervisorctl::parse_status(&answer.stdout, &answer.stderr, Some(answer.status)).problems
}

/// A command that ended, and of whose answer nothing explains how.
fn failed(command: &str, answer: &CommandAnswer) -> SupervisorError {
    let said = last_line(if answer.stdout.trim().is_empty() { &answer.stderr } else { &answer.stdout });
    NoAnswer::Failed { command: command.to_owned(), status: answer.status, said }.into()
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
fn acted(command: &str, answer: &CommandAnswer) -> Result<(), SupervisorError> {
    use supervisorctl::ActionResult as R;
    let action = supervisorctl::parse_action(&answer.stdout, &answer.stderr, Some(answer.status));
    refuse(&action.problems)?;
    if action.lines.is_empty() {
        return Err(failed(command, answer));
    }
    for line in &action.lines {
        let fault = match line.result {
            R::SpawnError => RpcFault::SpawnError,
            R::AbnormalTermination => RpcFault::AbnormalTermination,
            R::NoSuchFile => RpcFault::NoFile,
            R::NotExecutable => RpcFault::NotExecutable,
            R::NoSuchProcess | R::NoSuchGroup => RpcFault::BadName,
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
