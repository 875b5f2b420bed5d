//! `ctl top`: the live view over kept connections.
//!
//! It uses `run` and `top`. What always holds: nothing that is typed waits for the network; an action is an ordinary run of
//! this program, with journal, guard and lock, for which the terminal is given back.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::args::{FanoutArgs, HostKey, TopArgs, ViaArg};
use super::exit::Exit;
use super::fanout::{self, Ready};
use super::job::Request;
use super::report::CliError;
use super::settings::Sources;
use super::watch::PATIENCE;
use super::{output, settings, terminal};
use crate::event::{CancelReason, EventKind, Ledger, LogStream, RunHead};
use crate::guard::Holder;
use crate::inventory::Inventory;
use crate::journal::Document;
use crate::nodeset::NodeSet;
use crate::plan::{Action, LogTail, Plan};
use crate::run::{Crew, Guarding, NodeAccess, Noted, Setup, run as run_plan};
use crate::top::{Confirm, Input, Model, Order, Screen, Target, draw};
use crate::transport::SshTransport;

/// Lines of a log that are read.
const LOG_LINES: usize = 100;

/// What comes in while the screen is shown.
enum News {
    /// A round is over.
    Round(Box<Ledger>),
    /// A log was read.
    Log(Target, Vec<String>),
}

/// Shows the cluster until `q` is pressed or a signal comes.
pub(super) fn run(args: &TopArgs) -> Result<Exit, CliError> {
    if !terminal::can_ask() || !terminal::stdout_is_terminal() {
        return Err(CliError::usage("`ctl top` needs a terminal")
            .with_hint("`ctl status --watch` prints one line for each change where there is none"));
    }
    let fanout = &args.fanout;
    let request = Request { in_depth: true, ..Request::new("status", Action::Status, &args.names, fanout) };
    let (inventory, document) = settings::inventory(fanout.inventory.as_deref(), &Sources::default())?;
    let job = request.job_in(&inventory, document.clone())?;
    let mut access = settings::access(fanout, &job.plan.nodes)?;
    if fanout.timeout.is_none() {
        for node in &mut access {
            node.timeout = node.timeout.min(PATIENCE);
        }
    }
    let color = terminal::color(fanout.output.color);
    let mut model = Model::new(output::node_roles(&job.plan), args.interval, color);
    let head = RunHead {
        run: fanout::run_id(),
        command: job.command.clone(),
        action: job.action.clone(),
        services: job.services.clone(),
        started: jiff::Timestamp::now(),
        nodes: u32::try_from(job.plan.selected).unwrap_or(u32::MAX),
        selection: settings::scope(fanout),
    };
    let Ready { runtime, transport, notices, access } = Ready::new(&job.plan, access, fanout)?;
    let reader = LogReader {
        transport: Arc::new(transport),
        access: job.plan.nodes.iter().map(|node| node.node.name.clone()).zip(access.iter().cloned()).collect(),
        fanout: fanout.clone(),
        inventory: Arc::new(inventory),
        document,
    };
    let setup = setup(job.plan, head.clone(), access, fanout, &reader.transport, notices);
    let (sender, mut inbox) = mpsc::channel(8);
    let mut signals = {
        let _inside = runtime.enter();
        fanout::signals(true)?
    };
    let rounds = runtime.spawn(rounds(Crew::new(setup), head, args.interval, sender.clone()));
    let failed = |error: std::io::Error| CliError::usage(format!("the terminal: {error}"));
    let mut screen = Screen::take().map_err(failed)?;
    let mut is_drawn = false;
    let exit = loop {
        if let Ok(reason) = signals.try_recv() {
            break Ok(ended_by(reason));
        }
        if rounds.is_finished() {
            break Err(CliError::usage("the cluster is not read any more: this is a fault of ctl"));
        }
        while let Ok(news) = inbox.try_recv() {
            is_drawn = false;
            match news {
                News::Round(ledger) => {
                    model.update(&ledger, jiff::Zoned::now().strftime("%H:%M:%S").to_string());
                    if let Some(target) = model.log_shown().cloned() {
                        runtime.spawn(reader.clone().read(target, sender.clone()));
                    }
                }
                News::Log(target, lines) => model.log_read(&target, lines),
            }
        }
        if !is_drawn {
            screen.draw(|frame| draw(frame, &mut model)).map_err(failed)?;
        }
        let input = screen.input().map_err(failed)?;
        is_drawn = input == Input::Nothing;
        let order = match input {
            Input::Key(key) => model.key(key),
            Input::Other | Input::Nothing => None,
            Input::Gone => break Ok(Exit::HungUp),
        };
        match order {
            None => {}
            Some(Order::Quit) => break Ok(Exit::Good),
            Some(Order::ReadLog(target)) => {
                runtime.spawn(reader.clone().read(target, sender.clone()));
            }
            Some(Order::Act(confirm)) => {
                drop(screen);
                act(&confirm, fanout);
                // Ctrl-C was meant for the action; whoever ends the process means all of it.
                let mut ends = std::iter::from_fn(|| signals.try_recv().ok());
                if let Some(reason) = ends.find(|reason| *reason != CancelReason::Interrupted) {
                    runtime.shutdown_background();
                    return Ok(ended_by(reason));
                }
                screen = Screen::take().map_err(failed)?;
            }
        }
    };
    drop(screen);
    runtime.shutdown_background();
    exit
}

fn ended_by(reason: CancelReason) -> Exit {
    match reason {
        CancelReason::HungUp => Exit::HungUp,
        CancelReason::Terminated => Exit::Terminated,
        CancelReason::Interrupted | CancelReason::GivenUp | CancelReason::JournalLost | CancelReason::OutputClosed => {
            Exit::Interrupted
        }
    }
}

fn setup(
    plan: Plan,
    head: RunHead,
    access: Vec<NodeAccess>,
    fanout: &FanoutArgs,
    transport: &Arc<SshTransport>,
    notices: mpsc::Receiver<String>,
) -> Setup<SshTransport> {
    let guarding = Guarding::new(Holder::default(), Duration::ZERO, true, &plan);
    Setup {
        plan: Arc::new(plan),
        head,
        access,
        forks: fanout.forks as usize,
        transport: Arc::clone(transport),
        notices,
        guarding,
        first_seq: 0,
        first_batch: 1,
    }
}

/// Reads the cluster again and again.
async fn rounds(mut crew: Crew<SshTransport>, head: RunHead, interval: Duration, news: mpsc::Sender<News>) {
    // Who ends the view ends the runtime; a round is told nothing.
    let (_silent, mut signals) = mpsc::channel(1);
    loop {
        let began = Instant::now();
        let mut ledger = Ledger::default();
        let head = RunHead { started: jiff::Timestamp::now(), ..head.clone() };
        crew.round(head, &mut signals, |events| {
            for event in events {
                if let Err(error) = ledger.apply(event) {
                    tracing::error!(%error, "an event that does not fit");
                }
            }
            Noted::Yes
        })
        .await;
        if news.send(News::Round(Box::new(ledger))).await.is_err() {
            return;
        }
        sleep_until(began + interval).await;
    }
}

/// Reads the ends of logs, each with a run of its own.
#[derive(Clone)]
struct LogReader {
    transport: Arc<SshTransport>,
    access: HashMap<String, NodeAccess>,
    fanout: FanoutArgs,
    inventory: Arc<Inventory>,
    document: Document,
}

impl LogReader {
    async fn read(self, target: Target, news: mpsc::Sender<News>) {
        let mut lines = self.lines(&target, LogStream::Stderr).await;
        if !lines.as_ref().is_ok_and(|lines| !lines.is_empty()) {
            lines = self.lines(&target, LogStream::Stdout).await.or(lines);
        }
        let lines = lines.unwrap_or_else(|error| vec![error]);
        if news.send(News::Log(target, lines)).await.is_err() {
            tracing::debug!("the view has ended");
        }
    }

    async fn lines(&self, target: &Target, stream: LogStream) -> Result<Vec<String>, String> {
        let role = target.role.clone().into_iter().collect();
        let fanout = FanoutArgs { nodes: Some(target.node.clone()), exclude: None, role, ..self.fanout.clone() };
        let tail = Some(LogTail { stream, lines: LOG_LINES, follow: false });
        let services: Vec<String> = target.service.clone().into_iter().collect();
        let request = Request { tail, ..Request::new("logs", Action::Logs, &services, &fanout) };
        let job = request.job_in(&self.inventory, self.document.clone()).map_err(|error| error.message().to_owned())?;
        let access = job.plan.nodes.iter().filter_map(|node| self.access.get(&node.node.name).cloned()).collect();
        let head = RunHead {
            run: fanout::run_id(),
            command: job.command.clone(),
            action: job.action.clone(),
            services: job.services.clone(),
            started: jiff::Timestamp::now(),
            nodes: 1,
            selection: settings::scope(&fanout),
        };
        let (_quiet, notices) = mpsc::channel(1);
        let (_silent, signals) = mpsc::channel(1);
        let setup = setup(job.plan, head, access, &fanout, &self.transport, notices);
        let (mut lines, mut failure) = (Vec::new(), None);
        run_plan(setup, signals, |events| {
            for event in events {
                match &event.kind {
                    EventKind::LogLines(more) => lines.extend(more.lines.iter().cloned()),
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
                    | EventKind::RunFinished { .. } => {}
                }
            }
            Noted::Yes
        })
        .await;
        match failure {
            Some(failure) if lines.is_empty() => Err(failure.message),
            _ => Ok(lines),
        }
    }
}

/// Carries out what was confirmed, as if it had been typed.
fn act(confirm: &Confirm, fanout: &FanoutArgs) {
    let mut words = vec!["ctl".to_owned(), "service".to_owned(), confirm.service.clone()];
    words.push(confirm.action.as_str().to_owned());
    words.extend(["-w".to_owned(), NodeSet::from_names(&confirm.nodes).to_string(), "-y".to_owned()]);
    words.extend(confirm.role.iter().flat_map(|role| ["--role".to_owned(), role.clone()]));
    words.extend(same_way(fanout));
    terminal::say(&format!("$ {}", words.join(" ")));
    super::main(words.into_iter().map(Into::into));
    terminal::say("\nEnter goes back to the view");
    drop(std::io::stdout().flush());
    if let Err(error) = terminal::ask("") {
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
