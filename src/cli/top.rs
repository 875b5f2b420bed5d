//! `ctl top`: the live view over kept connections.
//!
//! It uses `run` and `top`. What always holds: nothing that is typed waits for the network; an action is an ordinary run of
//! this program, with journal, guard and lock, for which the terminal is given back.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::args::{FanoutArgs, HostKey, TopArgs, ViaArg};
use super::exit::ExitStatus;
use super::job::JobRequest;
use super::limits::FileBudget;
use super::report::CliError;
use super::rounds::{ClusterState, NodeRounds};
use super::session::{self, RunSession};
use super::settings::SavedInputs;
use super::{output, settings, terminal, watch};
use crate::event::{CancelReason, EventKind, LogStream, RunHead};
use crate::inventory::Inventory;
use crate::nodeset::NodeSet;
use crate::plan::{Action, LogTail, TaskSpec, plan};
use crate::run::{JournalAck, NodeAccess, WorkerPool};
use crate::select::{NodeQuery, select};
use crate::top::{PendingAction, TerminalInput, TopModel, TopOrder, TopScreen, TopTarget, draw};
use crate::transport::SshTransport;

/// Lines of a log that are read.
const LOG_LINES: usize = 100;

/// What comes in while the screen is shown.
enum TopInput {
    /// A round is over, or a node that was late has answered.
    Round(Box<ClusterState>),
    /// A log was read.
    Log(TopTarget, Vec<String>),
}

/// Shows the cluster until `q` is pressed or a signal comes.
pub(super) fn run(args: &TopArgs) -> Result<ExitStatus, CliError> {
    if !terminal::can_ask() || !terminal::stdin_is_terminal() || !terminal::stdout_is_terminal() {
        return Err(CliError::usage("`ctl top` needs a terminal")
            .with_hint("without one, `ctl status --watch` prints one line per change"));
    }
    let fanout = &args.fanout;
    let request = JobRequest { in_depth: true, ..JobRequest::new("status", Action::Status, &args.names, fanout) };
    let (inventory, document) = settings::inventory(fanout.inventory.as_deref(), &SavedInputs::default())?;
    let job = request.job_in(&inventory, document)?;
    let access = watch::access(fanout, &job.plan)?;
    let color = terminal::color(fanout.output.color);
    let mut model = TopModel::new(output::node_roles(&job.plan), args.interval, color);
    let RunSession { runtime, transport, notices, access, room } = RunSession::new(&job.plan, access, fanout, false)?;
    let transport = Arc::new(transport);
    let reader = TopLogReader {
        transport: Arc::clone(&transport),
        access: job.plan.nodes.iter().map(|node| node.node.name.clone()).zip(access.iter().cloned()).collect(),
        fanout: fanout.clone(),
        room,
        inventory,
    };
    let node_rounds =
        NodeRounds::new(&job.plan, &job.services, &access, fanout, (&transport, notices), (room, args.interval));
    let (sender, mut inbox) = mpsc::channel(8);
    let mut signals = {
        let _inside = runtime.enter();
        session::signals(None)?
    };
    let rounds = runtime.spawn(read_rounds(node_rounds, sender.clone()));
    let (logs, wanted) = mpsc::channel(8);
    runtime.spawn(reader.serve(wanted, sender));
    // One that does not fit is asked for again with the next round.
    let ask_for_log = |target| logs.try_send(target).unwrap_or_else(|error| tracing::debug!(%error, "a log later"));
    let failed = |error: std::io::Error| CliError::usage(format!("cannot set up the terminal: {error}"));
    let mut screen = TopScreen::take().map_err(failed)?;
    let mut is_drawn = false;
    let exit = 'shown: loop {
        if let Ok(reason) = signals.try_recv() {
            break Ok(ended_by(reason));
        }
        if rounds.is_finished() {
            break Err(CliError::usage("internal error: the cluster is no longer read; please report this bug"));
        }
        while let Ok(news) = inbox.try_recv() {
            is_drawn = false;
            match news {
                TopInput::Round(picture) => {
                    let ClusterState { ledger, late, mistakes, changes: _ } = *picture;
                    if !mistakes.is_empty() {
                        break 'shown Err(CliError::mistaken_names(&mistakes));
                    }
                    model.update(&ledger, late, jiff::Zoned::now().strftime("%H:%M:%S").to_string());
                    if let Some(target) = model.log_shown().cloned() {
                        ask_for_log(target);
                    }
                }
                TopInput::Log(target, lines) => model.log_read(&target, lines),
            }
        }
        if !is_drawn {
            screen.draw(|frame| draw(frame, &mut model)).map_err(failed)?;
        }
        let input = screen.input().map_err(failed)?;
        is_drawn = input == TerminalInput::Nothing;
        let order = match input {
            TerminalInput::Key(key) => model.key(key),
            TerminalInput::Other | TerminalInput::Nothing => None,
            TerminalInput::Gone => break Ok(ExitStatus::HungUp),
        };
        match order {
            None => {}
            Some(TopOrder::Quit) => break Ok(ExitStatus::Good),
            Some(TopOrder::ReadLog(target)) => ask_for_log(target),
            Some(TopOrder::Act(confirm)) => {
                drop(screen);
                act(&confirm, fanout);
                // Ctrl-C was meant for the action; whoever ends the process means all of it.
                let mut ends = std::iter::from_fn(|| signals.try_recv().ok());
                if let Some(reason) = ends.find(|reason| *reason != CancelReason::Interrupted) {
                    runtime.shutdown_background();
                    return Ok(ended_by(reason));
                }
                screen = TopScreen::take().map_err(failed)?;
            }
        }
    };
    drop(screen);
    runtime.shutdown_background();
    exit
}

fn ended_by(reason: CancelReason) -> ExitStatus {
    match reason {
        CancelReason::HungUp => ExitStatus::HungUp,
        CancelReason::Terminated => ExitStatus::Terminated,
        CancelReason::Interrupted | CancelReason::GivenUp | CancelReason::JournalLost | CancelReason::OutputClosed => {
            ExitStatus::Interrupted
        }
    }
}

/// Reads the cluster again and again.
async fn read_rounds(mut rounds: NodeRounds, news: mpsc::Sender<TopInput>) {
    loop {
        let picture = rounds.next().await;
        if news.send(TopInput::Round(Box::new(picture))).await.is_err() {
            return;
        }
    }
}

/// A log that is read, and what reads it.
type OpenLog = (TopTarget, WorkerPool<SshTransport>, RunHead);

/// Reads the end of one log after the other: of the one that was asked for last.
struct TopLogReader {
    transport: Arc<SshTransport>,
    access: HashMap<String, NodeAccess>,
    fanout: FanoutArgs,
    room: FileBudget,
    inventory: Inventory,
}

impl TopLogReader {
    /// Ends with whoever asks, or listens.
    async fn serve(self, mut wanted: mpsc::Receiver<TopTarget>, news: mpsc::Sender<TopInput>) {
        // The same log is read again and again over one connection.
        let mut open: Option<OpenLog> = None;
        while let Some(mut target) = wanted.recv().await {
            while let Ok(later) = wanted.try_recv() {
                target = later;
            }
            let same = open.take().filter(|(of, ..)| *of == target);
            let ready = same.map_or_else(|| self.open(&target), Ok);
            let lines = match ready {
                Ok((of, mut pool, head)) => {
                    let lines = end_of_log(&mut pool, &head).await;
                    open = Some((of, pool, head));
                    lines
                }
                Err(error) => vec![error.message().to_owned()],
            };
            if news.send(TopInput::Log(target, lines)).await.is_err() {
                return;
            }
        }
    }

    /// Both logs of a service.
    fn open(&self, target: &TopTarget) -> Result<OpenLog, CliError> {
        let services: Vec<String> = target.service.clone().into_iter().collect();
        let roles: Vec<String> = target.role.clone().into_iter().collect();
        let query = NodeQuery { roles: &roles, nodes: Some(&target.node), exclude: None, services: &services };
        let of = |stream| {
            let mut wanted = TaskSpec::new(Action::Logs, select(&self.inventory, &query)?);
            wanted.task.tail = Some(LogTail { stream, lines: LOG_LINES, follow: false });
            wanted.task.continue_on_failure = true;
            Ok::<_, CliError>(wanted)
        };
        let wanted = vec![of(LogStream::Stderr)?, of(LogStream::Stdout)?];
        let plan = plan(wanted, &self.inventory, self.fanout.via.via());
        let access = plan.nodes.iter().filter_map(|node| self.access.get(&node.node.name).cloned()).collect();
        let (_quiet, notices) = mpsc::channel(1);
        let setup = session::reading(plan, &services, access, &self.fanout, self.room, &self.transport, notices);
        let action = Some(Action::Logs.as_str().to_owned());
        let head = RunHead { command: Action::Logs.as_str().to_owned(), action, ..setup.head.clone() };
        Ok((target.clone(), WorkerPool::new(setup), head))
    }
}

/// The last lines: of stderr, or of stdout where nothing is on stderr; where there are none, why not.
async fn end_of_log(pool: &mut WorkerPool<SshTransport>, head: &RunHead) -> Vec<String> {
    let (_silent, mut signals) = mpsc::channel(1);
    let (mut stderr, mut stdout, mut failure) = (Vec::new(), Vec::new(), None);
    pool.run_round(head.clone(), &mut signals, |events| {
        for event in events {
            match &event.kind {
                EventKind::LogLines(more) => match more.stream {
                    LogStream::Stderr => stderr.extend(more.lines.iter().cloned()),
                    LogStream::Stdout => stdout.extend(more.lines.iter().cloned()),
                },
                EventKind::Result(result) => failure = result.failure.clone().or(failure.take()),
                EventKind::RunStarted(_)
                | EventKind::BatchStarted { .. }
                | EventKind::NodeStarted { .. }
                | EventKind::Inspected { .. }
                | EventKind::NodeFacts(_)
                | EventKind::Notice { .. }
                | EventKind::Gate { .. }
                | EventKind::Progress { .. }
                | EventKind::NodeFinished { .. }
                | EventKind::CancelBegan { .. }
                | EventKind::PendingUpdate(_)
                | EventKind::RunFinished { .. } => {}
            }
        }
        JournalAck::Yes
    })
    .await;
    match (stderr.is_empty(), stdout.is_empty(), failure) {
        (false, ..) => stderr,
        (true, true, Some(failure)) => vec![failure.message],
        (true, ..) => stdout,
    }
}

/// Carries out what was confirmed, as if it had been typed.
fn act(confirm: &PendingAction, fanout: &FanoutArgs) {
    let mut words = vec!["ctl".to_owned(), "service".to_owned(), confirm.service.clone()];
    words.push(confirm.action.as_str().to_owned());
    words.extend(["-w".to_owned(), NodeSet::from_names(&confirm.nodes).to_string(), "-y".to_owned()]);
    words.extend(confirm.role.iter().flat_map(|role| ["--role".to_owned(), role.clone()]));
    words.extend(same_way(fanout));
    terminal::say(&format!("$ {}", words.join(" ")));
    super::main(words.into_iter().map(Into::into));
    drop(std::io::stdout().flush());
    if let Err(error) = terminal::ask("\nPress Enter to return to the view\n") {
        tracing::debug!(%error, "nobody answers");
    }
}

/// The options by which nodes are found and reached, as they were typed.
fn same_way(fanout: &FanoutArgs) -> Vec<String> {
    let path = |path: &std::path::PathBuf| path.display().to_string();
    let time = |time: &Duration| humantime::format_duration(*time).to_string().replace(' ', "");
    let ssh = &fanout.ssh;
    let valued = [
        ("--inventory", fanout.inventory.as_ref().map(path)),
        ("--timeout", fanout.timeout.as_ref().map(time)),
        ("--connect-timeout", ssh.connect_timeout.as_ref().map(time)),
        ("--user", ssh.user.clone()),
        ("--port", ssh.port.map(|port| port.to_string())),
        ("--identity", ssh.identity.as_ref().map(path)),
        ("--jump", ssh.jump.clone()),
        ("--ssh-config", ssh.ssh_config.as_ref().map(path)),
        ("--known-hosts", ssh.known_hosts.as_ref().map(path)),
        (
            "--host-key",
            ssh.host_key.map(|policy| {
                match policy {
                    HostKey::Strict => "strict",
                    HostKey::AcceptNew => "accept-new",
                }
                .to_owned()
            }),
        ),
        (
            "--via",
            match fanout.via {
                ViaArg::Auto => None,
                ViaArg::Rpc | ViaArg::Supervisorctl | ViaArg::Service => fanout.via.via().map(|via| via.to_string()),
            },
        ),
    ];
    let mut words: Vec<String> = valued
        .into_iter()
        .filter_map(|(option, value)| value.map(|value| [option.to_owned(), value]))
        .flatten()
        .collect();
    for (is_on, option) in
        [(fanout.sudo, "--sudo"), (fanout.ask_sudo_pass, "--ask-sudo-pass"), (fanout.ask_pass, "--ask-pass")]
    {
        words.extend(is_on.then(|| option.to_owned()));
    }
    words
}
