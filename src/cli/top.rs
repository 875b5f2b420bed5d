//! `ctl top`: the live view over kept connections.
//!
//! It uses `run` and `top`. Invariants: nothing that is typed waits for the network; an action is an ordinary run of
//! this program, with journal, guard and lock, for which the terminal is given back.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use nodeset::NodeSet;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::job::JobRequest;
use super::{output, watch};
use ctl_args::connect_args::{FORKS, HostKey, RETRIES};
use ctl_args::settings::{self, OutputSettings, SavedInputs, Settings, SshOverrides};
use ctl_console::error::CliError;
use ctl_console::exit::ExitStatus;
use ctl_console::signals::signals;
use ctl_console::terminal;
use ctl_event::CancelReason;
use ctl_plan::Work;
use ctl_session::log_ends::{LogEndReader, LogOwner};
use ctl_session::rounds::{ClusterState, NodeRounds};
use ctl_session::session::RunSession;
use ctl_top::{PendingAction, TerminalInput, TopModel, TopOrder, TopScreen, TopTarget, draw};

/// What comes in while the screen is shown.
enum TopInput {
    /// A round is over, or a node that was late has answered.
    Round(Box<ClusterState>),
    /// A log was read.
    Log(TopTarget, Vec<String>),
}

/// Runs a command line, the program's name first.
pub(super) type RunWords = dyn Fn(Vec<OsString>) -> ExitCode;

/// Shows the cluster until `q` is pressed or a signal comes.
///
/// # Errors
/// If there is no terminal, the inventory or the options are wrong, or no node has a named service.
pub(super) fn run(
    names: &[String],
    interval: Duration,
    settings: Settings,
    run_words: &RunWords,
) -> Result<ExitStatus, CliError> {
    if !terminal::can_ask() || !terminal::stdin_is_terminal() || !terminal::stdout_is_terminal() {
        return Err(CliError::usage("`ctl top` needs a terminal")
            .with_hint("without one, `ctl status --watch` prints one line per change"));
    }
    let request = JobRequest::new("status", names, &settings, Work::deep_status);
    let (inventory, document) = settings::inventory(settings.inventory.as_deref(), &SavedInputs::default())?;
    let job = request.job_in(&inventory, document)?;
    let access = watch::access(&settings, &job.plan)?;
    let color = terminal::color(settings.output.color);
    let model = TopModel::new(output::node_roles(&job.plan), interval, color);
    let RunSession { runtime, transport, notices, access, budget, .. } =
        RunSession::open(&job.plan, access, &settings, false)?;
    let names = job.plan.nodes.iter().map(|node| node.node.name.clone());
    let ways = names.zip(access.iter().cloned()).collect();
    let reader = LogEndReader::new(&transport, ways, settings.clone(), budget, inventory);
    let rounds =
        NodeRounds::new(&job.plan, &job.services, &access, &settings, (&transport, notices), (budget, interval));
    // Bounded: a reader that is ahead waits for the screen instead of filling memory.
    let (sender, inbox) = mpsc::channel(8);
    let (logs, wanted) = mpsc::channel(8);
    let signals = {
        // tokio's signal handlers need the runtime, and the loop below runs outside of it.
        let _inside = runtime.enter();
        signals(None)?
    };
    let rounds = runtime.spawn(read_rounds(rounds, sender.clone()));
    runtime.spawn(read_logs(reader, wanted, sender));
    let exit = TopLoop { model, rounds, inbox, logs, signals, settings }.run(run_words);
    runtime.shutdown_background();
    exit
}

/// What the view is made of while it is shown. Nothing here waits for the network.
struct TopLoop {
    model: TopModel,
    /// Ends only by an internal error.
    rounds: JoinHandle<()>,
    inbox: mpsc::Receiver<TopInput>,
    /// Logs to be read.
    logs: mpsc::Sender<TopTarget>,
    signals: mpsc::Receiver<CancelReason>,
    settings: Settings,
}

impl TopLoop {
    fn run(mut self, run_words: &RunWords) -> Result<ExitStatus, CliError> {
        let failed = |error: std::io::Error| CliError::usage(format!("cannot set up the terminal: {error}"));
        let mut screen = TopScreen::take().map_err(failed)?;
        let mut is_drawn = false;
        loop {
            // Before anything is drawn or read, so that a signal ends the view at once.
            if let Ok(reason) = self.signals.try_recv() {
                return Ok(ended_by(reason));
            }
            if self.rounds.is_finished() {
                return Err(CliError::internal("the cluster is no longer read"));
            }
            // What has arrived is taken in as a whole before it is drawn once.
            is_drawn &= !self.take_inputs()?;
            if !is_drawn {
                screen.draw(|frame| draw(frame, &mut self.model)).map_err(failed)?;
            }
            let input = screen.input().map_err(failed)?;
            is_drawn = input == TerminalInput::Nothing;
            let order = match input {
                TerminalInput::Key(key) => self.model.key(key),
                TerminalInput::Other | TerminalInput::Nothing => None,
                // The terminal is gone, as after SIGHUP.
                TerminalInput::Gone => return Ok(ExitStatus::HungUp),
            };
            match order {
                None => {}
                Some(TopOrder::Quit) => return Ok(ExitStatus::Good),
                Some(TopOrder::ReadLog(target)) => self.read_log(target),
                Some(TopOrder::Act(confirm)) => {
                    // The action has the terminal to itself.
                    drop(screen);
                    act(&confirm, &self.settings, run_words);
                    // Ctrl-C was meant for the action; the other signals are meant for the whole process.
                    let mut pending = std::iter::from_fn(|| self.signals.try_recv().ok());
                    if let Some(reason) = pending.find(|reason| *reason != CancelReason::Interrupted) {
                        return Ok(ended_by(reason));
                    }
                    screen = TopScreen::take().map_err(failed)?;
                }
            }
        }
    }

    /// Takes in the news since the last call. Whether there were any.
    fn take_inputs(&mut self) -> Result<bool, CliError> {
        let mut is_new = false;
        while let Ok(input) = self.inbox.try_recv() {
            is_new = true;
            match input {
                TopInput::Round(state) => {
                    let ClusterState { ledger, late, mistakes, changes: _ } = *state;
                    // A name that no node has is an error of the command line, as without the view.
                    if !mistakes.is_empty() {
                        return Err(CliError::mistaken_names(&mistakes));
                    }
                    self.model.update(&ledger, late, jiff::Zoned::now().strftime("%H:%M:%S").to_string());
                    // The log on screen is read anew with each round.
                    if let Some(target) = self.model.log_shown().cloned() {
                        self.read_log(target);
                    }
                }
                TopInput::Log(target, lines) => self.model.log_read(&target, lines),
            }
        }
        Ok(is_new)
    }

    /// Asks for a log. One for which there is no room is asked for again with the next round.
    fn read_log(&self, target: TopTarget) {
        self.logs.try_send(target).unwrap_or_else(|error| tracing::debug!(%error, "a log later"));
    }
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
        let picture = rounds.next_state().await;
        if news.send(TopInput::Round(Box::new(picture))).await.is_err() {
            return;
        }
    }
}

/// Reads the end of one log after the other: of the one that was asked for last. Ends with the view that asks for logs and
/// shows them.
async fn read_logs(mut reader: LogEndReader, mut wanted: mpsc::Receiver<TopTarget>, news: mpsc::Sender<TopInput>) {
    while let Some(mut target) = wanted.recv().await {
        // Only the newest wish counts: the operator has moved on from the others.
        while let Ok(later) = wanted.try_recv() {
            target = later;
        }
        let TopTarget { node, role, service } = target.clone();
        let lines = reader.read(LogOwner { node, role, service }).await;
        if news.send(TopInput::Log(target, lines)).await.is_err() {
            return;
        }
    }
}

/// Carries out what was confirmed, as if it had been typed.
fn act(confirm: &PendingAction, settings: &Settings, run_words: &RunWords) {
    let mut words = vec!["ctl".to_owned(), "service".to_owned(), confirm.service.clone()];
    words.push(confirm.action.as_str().to_owned());
    words.extend(["-w".to_owned(), NodeSet::from_names(&confirm.nodes).to_string(), "-y".to_owned()]);
    words.extend(confirm.role.iter().flat_map(|role| ["--role".to_owned(), role.clone()]));
    words.extend(same_way(settings));
    terminal::say(&format!("$ {}", words.join(" ")));
    run_words(words.into_iter().map(Into::into).collect());
    drop(std::io::stdout().flush());
    if let Err(error) = terminal::ask("\nPress Enter to return to the view\n") {
        tracing::debug!(%error, "nobody answers");
    }
}

/// The options by which nodes are found and reached, as they would be typed. Taken apart by name, so that an option that
/// is not passed on does not compile.
fn same_way(settings: &Settings) -> Vec<String> {
    let path = |path: &std::path::PathBuf| path.display().to_string();
    let time = |time: &Duration| humantime::format_duration(*time).to_string().replace(' ', "");
    // The nodes and roles are those of the action, and its output is for the terminal.
    let Settings {
        inventory,
        roles: _,
        nodes: _,
        exclude: _,
        forks,
        timeout,
        retries,
        ssh,
        sudo,
        ask_sudo_password,
        ask_ssh_password,
        persist,
        via,
        output,
    } = settings;
    let SshOverrides { connect_timeout, user, port, identity, jump, ssh_config, known_hosts, host_key } = ssh;
    let OutputSettings { format: _, out: _, fold: _, quiet: _, verbose: _, color: _, no_progress: _, log_file: _ } =
        output;
    let host_key = host_key.map(|policy| match policy {
        HostKey::Strict => "strict",
        HostKey::AcceptNew => "accept-new",
    });
    let valued = [
        ("--inventory", inventory.as_ref().map(path)),
        ("--forks", (*forks != FORKS as usize).then(|| forks.to_string())),
        ("--timeout", timeout.as_ref().map(time)),
        ("--retries", (*retries != RETRIES).then(|| retries.to_string())),
        ("--connect-timeout", connect_timeout.as_ref().map(time)),
        ("--user", user.clone()),
        ("--port", port.map(|port| port.to_string())),
        ("--identity", identity.as_ref().map(path)),
        ("--jump", jump.clone()),
        ("--ssh-config", ssh_config.as_ref().map(path)),
        ("--known-hosts", known_hosts.as_ref().map(path)),
        ("--host-key", host_key.map(str::to_owned)),
        ("--persist", persist.as_ref().map(time)),
        ("--via", via.map(|via| via.to_string())),
    ];
    let flags = [(*sudo, "--sudo"), (*ask_sudo_password, "--ask-sudo-pass"), (*ask_ssh_password, "--ask-pass")];
    let valued = valued.into_iter().filter_map(|(option, value)| Some([option.to_owned(), value?])).flatten();
    valued.chain(flags.into_iter().filter(|(is_on, _)| *is_on).map(|(_, option)| option.to_owned())).collect()
}
