//! `supervisorctl -s ADDRESS`, executed on the node: for nodes where sshd forwards nothing, or no relay runs.
//!
//! Invariants: a query costs a Python start-up, so one answer serves as much as it can; the exit code is never proof
//! of success; a log is followed by one command, and queried besides only where that command would miss a rotation.

use std::time::Duration;

use super::interface::{Backend, Capabilities};
use super::request::ReachRequest;
use super::socket_probe::SocketProbe;
use crate::command_answer::{acted, failed, problems_of, processes, refuse};
use crate::error::{RpcFault, SupervisorError};
use crate::logs::line_buffer::LineBuffer;
use crate::logs::reader::{KNOWN_BYTES, LogReader, LogStep};
use crate::logs::source::{kept_nowhere, no_log};
use crate::logs::tail_follower::{self, TailFollower};
use crate::parse::supervisorctl::{self, TailOutput};
use crate::process::{ProcessInfo, ProcessReading, ProcessVerb, SupervisorReading, UpdateSummary};
use crate::rescue::{self, RescueContext};
use crate::shell::{NodeShell, quote_words};
use ctl_event::LogStream;
use ctl_guard::Rescue;
use ctl_inventory::ControlAddress;
use ctl_remote::CommandAnswer;
use ctl_transport::Session;

/// The properties of this backend.
pub(super) const CAPABILITIES: Capabilities = Capabilities {
    runs_commands: true,
    restarts: true,
    acts_on_programs: false,
    lists_other_instances: false,
    reports_exits: false,
    reads_program_settings: false,
    reads_own_log: true,
};

/// Most that is read of a log at once, in bytes.
const TAIL_LIMIT: usize = 256 * 1024;

/// How much of the end of a log is read when following starts anew, to find the lines that were shown before.
const JOIN_BYTES: usize = 64 * 1024;

/// How long a followed log is given to produce something new.
const FOLLOW_TIME: Duration = Duration::from_millis(250);

/// Prints where a log of a process is: address, process, key. `supervisor.xmlrpc` has both names in 3.0 to 4.2.5.
const LOG_PATH: &str = concat!(
    "import sys; from supervisor.xmlrpc import SupervisorTransport as T, xmlrpclib as x; ",
    "s = x.ServerProxy(\"http://127.0.0.1\", T(None, None, sys.argv[1])).supervisor; ",
    "print(\"log:\" + s.getProcessInfo(sys.argv[2])[sys.argv[3]])"
);

/// supervisorctl towards one supervisord.
pub struct SupervisorctlBackend<S: Session> {
    shell: NodeShell<S>,
    address: ControlAddress,
}

impl<S: Session> SupervisorctlBackend<S> {
    /// For the supervisord at `address`.
    pub(super) fn new(shell: NodeShell<S>, address: ControlAddress) -> Self {
        Self { shell, address }
    }

    /// Runs a query.
    async fn query(&self, words: &[&str]) -> Result<CommandAnswer, SupervisorError> {
        let address = self.address.to_string();
        let mut all = vec!["supervisorctl", "-s", &address];
        all.extend(words);
        self.shell.run(&all).await
    }

    /// Acts on a process or on a whole group (`name:*`): [`SupervisorError::Fault`] for what supervisorctl reports as
    /// failed.
    async fn send(&self, verb: &str, name: &str) -> Result<(), SupervisorError> {
        let address = self.address.to_string();
        let answer = self.shell.run_to_its_end(&["supervisorctl", "-s", &address, verb, name]).await?;
        acted(&format!("supervisorctl {verb}"), &answer)
    }

    /// supervisord's own pid.
    async fn pid(&self) -> Result<Option<u32>, SupervisorError> {
        let output = self.query(&["pid"]).await?;
        // Whatever kept supervisorctl from asking explains more than the missing number.
        refuse(&problems_of(&output))?;
        // It prints 0 for one that does not run.
        let pid = supervisorctl::parse_pid(&output.stdout).ok_or_else(|| failed("supervisorctl pid", &output))?;
        Ok(Some(pid).filter(|pid| *pid != 0))
    }

    /// The last bytes of one of a process's logs, at most so many and [`TAIL_LIMIT`]. [`RpcFault::NoFile`] if it has no
    /// such log, [`RpcFault::BadName`] if there is no such process.
    async fn tail(&self, name: &str, stream: LogStream, bytes: usize) -> Result<Vec<u8>, SupervisorError> {
        let bytes = bytes.min(TAIL_LIMIT);
        // On Python 3 it fails where a character is cut, which has at most three more bytes.
        for more in 0..=3 {
            let length = format!("-{}", bytes + more);
            let output = self.query(&tail_words(&length, name, stream)).await?;
            match supervisorctl::parse_tail(name, &output.stdout, &output.stderr) {
                TailOutput::Text(text) if output.status == 0 && text.is_empty() => {
                    // supervisord also reports an empty log for one that goes to a device, so the path has to decide.
                    let path = self.log_path(name, stream).await?;
                    let nowhere = path.and_then(|path| kept_nowhere(stream, Some(&path)));
                    return nowhere.map_or_else(|| Ok(Vec::new()), Err);
                }
                TailOutput::Text(text) if output.status == 0 => return Ok(text.into_bytes()),
                TailOutput::Text(_) => return Err(failed("supervisorctl tail", &output)),
                // One more byte may reach the start of the character that was cut.
                TailOutput::NotText => {}
                TailOutput::NoLog => return Err(no_log(stream)),
                TailOutput::Unreadable => {
                    // supervisord cannot read from an offset of a device, and the path shows whether the log is one.
                    let path = self.log_path(name, stream).await?;
                    let nowhere = path.and_then(|path| kept_nowhere(stream, Some(&path)));
                    let text = "supervisord cannot read its log".to_owned();
                    return Err(nowhere.unwrap_or(SupervisorError::Fault { fault: RpcFault::Failed, text }));
                }
                TailOutput::NoProcess => {
                    let text = "supervisorctl has no such process".to_owned();
                    return Err(SupervisorError::Fault { fault: RpcFault::BadName, text });
                }
                TailOutput::Refused => {
                    // A known problem explains the refusal better than the general error below.
                    refuse(&problems_of(&output))?;
                    return Err(SupervisorError::Protocol("supervisorctl cannot read the log".to_owned()));
                }
            }
        }
        Err(SupervisorError::Protocol("the log is not UTF-8, which supervisorctl cannot return".to_owned()))
    }

    /// The last bytes of a log in which at least so many lines are whole, if the log has as many; and those lines.
    async fn last_lines(
        &self,
        name: &str,
        stream: LogStream,
        wanted: usize,
    ) -> Result<(Vec<u8>, Vec<String>), SupervisorError> {
        let mut bytes = likely_bytes(wanted);
        loop {
            let read = self.tail(name, stream, bytes).await?;
            // Fewer bytes than requested are the whole log.
            let is_part = read.len() >= bytes;
            let lines = LineBuffer::last_of(&read, is_part, wanted);
            if !is_part || lines.len() >= wanted || bytes >= TAIL_LIMIT {
                return Ok((read, lines));
            }
            // The lines are longer than expected.
            bytes = bytes.saturating_mul(4).min(TAIL_LIMIT);
        }
    }

    /// Where one of a process's logs is; none if that is not known. supervisorctl itself does not print it; the Python that
    /// runs it can ask, where the user may run it.
    async fn log_path(&self, name: &str, stream: LogStream) -> Result<Option<String>, SupervisorError> {
        let words = quote_words(&["-c", LOG_PATH, &self.address.to_string(), name, &format!("{stream}_logfile")])?;
        // The Python in the first line of supervisorctl has the `supervisor` package for sure; another one may not.
        let find = r#"own=$(command -v supervisorctl); own=$(sed -n "1s/^#! *//p" "$own")"#;
        let body = |sudo: &str| format!("{find}; {sudo}$own {words}");
        let answer = self.shell.query_in_time("the Python of supervisorctl", body).await?;
        // Without the mark the program did not run: the path stays unknown, which is no error.
        let path = answer.stdout.strip_prefix("log:").filter(|_| answer.status == 0);
        Ok(path.map(|path| path.trim_end_matches('\n').to_owned()).filter(|path| !path.is_empty()))
    }

    /// Whether supervisord follows the old file after a rotation; `false` as long as it does not report its version.
    async fn keeps_old_file(&self, follower: &mut TailFollower<S::Command>) -> bool {
        if let Some(known) = *follower.keeps_old_file() {
            return known;
        }
        let Ok(answer) = self.query(&["version"]).await else { return false };
        *follower.keeps_old_file() = tail_follower::keeps_old_file(&answer.stdout);
        follower.keeps_old_file().unwrap_or(false)
    }

    /// Follows one of a process's logs, until the follower is dropped.
    async fn follow(&self, name: &str, stream: LogStream) -> Result<TailFollower<S::Command>, SupervisorError> {
        let address = self.address.to_string();
        let mut words = vec!["supervisorctl", "-s", &address];
        words.extend(tail_words("-f", name, stream));
        let line = quote_words(&words)?;
        TailFollower::start(self.shell.session().as_ref(), self.shell.sudo(), &line).await
    }
}

impl<S: Session> Backend for SupervisorctlBackend<S> {
    type Session = S;

    const NAME: &'static str = "supervisorctl";

    async fn reach(
        request: &ReachRequest<'_, S>,
        seen: Option<&SocketProbe>,
    ) -> Result<(Self, SupervisorReading), SupervisorError> {
        let mut worst = SupervisorError::Down("the inventory names no address for it".to_owned());
        for (index, address) in request.supervisor.addresses.iter().enumerate() {
            // A missing socket is not worth the start of a Python.
            if seen.is_some_and(|seen| !seen.worth_asking(index)) {
                continue;
            }
            let client = Self::new(request.shell.clone(), address.clone());
            match client.list().await {
                Ok(processes) => return Ok((client, SupervisorReading::of_processes(processes))),
                // The instance may listen at the next address; any other error would only repeat there.
                Err(error @ (SupervisorError::Down(_) | SupervisorError::NoSocket(_))) => worst = error,
                Err(error) => return Err(error),
            }
        }
        Err(worst)
    }

    /// Once supervisorctl has run, the init wrapper cannot do better: it is supervisorctl behind another name.
    fn is_final(error: &SupervisorError) -> bool {
        !matches!(error, SupervisorError::CommandMissing(_))
    }

    fn on(&self, shell: NodeShell<S>) -> Self {
        Self::new(shell, self.address.clone())
    }

    fn address(&self) -> Option<&ControlAddress> {
        Some(&self.address)
    }

    async fn list(&self) -> Result<Vec<ProcessInfo>, SupervisorError> {
        let answer = self.query(&["status"]).await?;
        // 4.x ends with 3 where a process is not running.
        processes("supervisorctl status", &answer, self.shell.sudo().is_on(), |status| matches!(status, 0 | 3))
    }

    async fn read(
        &self,
        group: &str,
        name: &str,
        with_supervisor: bool,
    ) -> Result<Option<ProcessReading>, SupervisorError> {
        // The pid costs one more start of a Python, so it is read only where a restart of supervisord itself matters.
        let pid = if with_supervisor { self.pid().await? } else { None };
        Ok(ProcessReading::find(self.list().await?, group, name, pid))
    }

    async fn act(&self, verb: ProcessVerb, process: &ProcessInfo) -> Result<(), SupervisorError> {
        self.send(verb.as_str(), &process.full_name()).await
    }

    async fn reload_config(&self) -> Result<UpdateSummary, SupervisorError> {
        let output = self.query(&["reread"]).await?;
        refuse(&problems_of(&output))?;
        let read = supervisorctl::parse_reread(&output.stdout);
        if let Some(error) = read.error {
            return Err(SupervisorError::Fault { fault: RpcFault::CantReread, text: error });
        }
        // An answer of which nothing is understood does not prove that nothing has changed.
        if !read.is_understood || output.status != 0 {
            return Err(failed("supervisorctl reread", &output));
        }
        Ok(UpdateSummary { added: read.available, changed: read.changed, removed: read.disappeared })
    }

    async fn remove_group(&self, group: &str) -> Result<(), SupervisorError> {
        // supervisord refuses to remove a group while its processes run (fault 91, STILL_RUNNING).
        self.send("stop", &format!("{group}:*")).await?;
        self.send("remove", group).await?;
        // supervisorctl exits with 0 after a refusal too: the list decides.
        if self.list().await?.iter().any(|process| process.group == group) {
            let text = format!("{group} was not removed: its processes are still running");
            return Err(SupervisorError::Fault { fault: RpcFault::StillRunning, text });
        }
        Ok(())
    }

    async fn add_group(&self, group: &str) -> Result<(), SupervisorError> {
        self.send("add", group).await
    }

    async fn start_group(&self, group: &str) -> Result<(), SupervisorError> {
        self.send("start", &format!("{group}:*")).await
    }

    /// An error message of supervisorctl comes as if it were the log.
    async fn own_log(&self, bytes: usize) -> Result<Option<Vec<u8>>, SupervisorError> {
        let output = self.query(&["maintail", &format!("-{}", bytes.min(TAIL_LIMIT))]).await?;
        if output.status != 0 {
            return Err(failed("supervisorctl maintail", &output));
        }
        Ok(Some(output.stdout.into_bytes()))
    }

    async fn log_end(
        &self,
        process: &ProcessInfo,
        stream: LogStream,
        bytes: usize,
    ) -> Result<Vec<u8>, SupervisorError> {
        self.tail(&process.full_name(), stream, bytes).await
    }

    async fn read_log(
        &self,
        process: &ProcessInfo,
        reader: &mut LogReader<S::Command>,
    ) -> Result<LogStep, SupervisorError> {
        let (name, request) = (process.full_name(), reader.request());
        // Without following, one read of the end is all there is to do.
        if !request.follow {
            let (read, lines) = self.last_lines(&name, request.stream, request.lines).await?;
            return Ok(reader.read_out(&read, lines));
        }
        // Where the follower fails it is dropped, and the next step starts another.
        let Some(mut follower) = reader.take_follower() else {
            // Of a log that is kept nowhere, following shows nothing at all, not even an error.
            if !reader.has_started() {
                self.tail(&name, request.stream, KNOWN_BYTES).await?;
            }
            let mut follower = self.follow(&name, request.stream).await?;
            // Read after the follower has started, so that nothing falls between the two.
            let end = self.tail(&name, request.stream, likely_bytes(request.lines).max(JOIN_BYTES)).await?;
            follower.join(&end);
            return Ok(reader.join(follower, &end));
        };
        let bytes = follower.next(FOLLOW_TIME).await?;
        if bytes.is_empty() && follower.is_doubtful() {
            follower.compare();
            // An end that cannot be read now proves nothing, and the follower itself notices a lost connection.
            if self.keeps_old_file(&mut follower).await
                && let Ok(end) = self.tail(&name, request.stream, KNOWN_BYTES).await
                && reader.is_replaced_by(&end)
            {
                // Without a follower, the next step starts another.
                return Ok(LogStep::AGAIN);
            }
        }
        Ok(reader.follow(follower, &bytes))
    }

    fn rescue(&self, context: &RescueContext<'_>, group: &str, name: &str) -> Option<Rescue> {
        Some(rescue::of_process(context, self.shell.sudo(), &self.address, format!("{group}:{name}")))
    }

    fn rescue_group(&self, context: &RescueContext<'_>, group: &str) -> Option<Rescue> {
        Some(rescue::of_group(context, self.shell.sudo(), &self.address, group))
    }
}

/// The words of a `tail`, where `modifier` is the number of bytes or `-f`.
fn tail_words<'a>(modifier: &'a str, name: &'a str, stream: LogStream) -> Vec<&'a str> {
    let mut words = vec!["tail", modifier, name];
    // Before 4.0.4, supervisorctl compares the word `stdout` by identity and then reads stderr (do_tail). Without a word
    // every version reads stdout.
    if stream == LogStream::Stderr {
        words.push(stream.as_str());
    }
    words
}

/// Bytes in which so many lines are likely to be whole.
fn likely_bytes(lines: usize) -> usize {
    lines.saturating_mul(256).clamp(4096, TAIL_LIMIT)
}
