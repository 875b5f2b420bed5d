//! The meaning of the typed words: which inventory is read, where the journal is, how carefully nodes are changed.
//!
//! How each node is reached is looked up in `session/endpoints.rs`. After this no clap type exists. Invariants: a setting on the
//! command line is stronger than the inventory's; what cannot be honoured is refused before a node is touched.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::args::{FanoutArgs, InitArgs};
use crate::change_args::{DryRun, GoArgs};
use crate::connect_args::{ConnectArgs, HostKey, SshArgs};
use crate::format::OutputFormat;
use crate::live_source::{self, LiveSource};
use crate::output_args::OutputArgs;
use crate::selection_args::SelectionArgs;
use ctl_console::error::CliError;
use ctl_console::terminal::ColorChoice;
use ctl_console::{log, trust, waiting};
use ctl_event::{RunScope, Via};
use ctl_guard::LockHolder;
use ctl_inventory::{Inventory, NameSuggestions, PathEnvironment};
use ctl_journal::{Journal, RunSummary, SavedFile};
use ctl_local::account;
use ctl_local::file::{self, FileContent, ReadBounds};
use ctl_plan::TaskSpec;
use ctl_sink::text;
use ctl_snapshot::Snapshot;

/// Time limit of a read for completion: a slow mount must not hold up the prompt.
const GLANCE: Duration = Duration::from_millis(500);

/// The inventory in the current directory.
const INVENTORY_FILE: &str = "inventory.yaml";

/// What the options of a command that goes to nodes mean.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The file that was named; none is the first found.
    pub inventory: Option<PathBuf>,
    /// Roles, as typed.
    pub roles: Vec<String>,
    /// Patterns of nodes, as typed.
    pub nodes: Vec<String>,
    /// Patterns of nodes to leave out, as typed.
    pub exclude: Vec<String>,
    /// Nodes that are worked on at once.
    pub forks: usize,
    /// For the action on one node; none is the inventory's.
    pub timeout: Option<Duration>,
    /// Connection attempts after the first.
    pub retries: u32,
    /// How hosts are reached.
    pub ssh: SshOverrides,
    /// How long connections are kept after the run; none is the inventory's.
    pub persist: Option<Duration>,
    /// Whether commands go through sudo also where the inventory does not say so.
    pub sudo: bool,
    /// Whether sudo's password is asked for.
    pub ask_sudo_password: bool,
    /// Whether the user's password on the nodes is asked for.
    pub ask_ssh_password: bool,
    /// None is the first that works.
    pub via: Option<Via>,
    /// Where results, messages and the log go.
    pub output: OutputSettings,
}

/// How hosts are reached; stronger than the inventory, which is stronger than ssh_config.
#[derive(Debug, Clone)]
pub struct SshOverrides {
    /// Time limit for one attempt to connect and to log in.
    pub connect_timeout: Option<Duration>,
    /// The user to log in as.
    pub user: Option<String>,
    /// The port of sshd.
    pub port: Option<u16>,
    /// A key file.
    pub identity: Option<PathBuf>,
    /// The jump hosts.
    pub jump: Option<String>,
    /// A file instead of the ssh_config of user and system.
    pub ssh_config: Option<PathBuf>,
    /// A file instead of the known_hosts of the user.
    pub known_hosts: Option<PathBuf>,
    /// What happens to an unknown host key.
    pub host_key: Option<HostKey>,
}

/// Where results, messages and the log go.
#[derive(Debug, Clone)]
pub struct OutputSettings {
    /// The form of results.
    pub format: OutputFormat,
    /// A file for the results instead of stdout.
    pub out: Option<PathBuf>,
    /// None is: fold where there are too many rows.
    pub fold: Option<bool>,
    /// Whether nothing but results and errors is printed.
    pub quiet: bool,
    /// How often `-v` was given.
    pub verbose: u8,
    /// When output has colour.
    pub color: ColorChoice,
    /// Whether no progress is shown.
    pub no_progress: bool,
    /// A file for the log.
    pub log_file: Option<PathBuf>,
}

impl OutputSettings {
    /// Starts the log, if one is asked for.
    ///
    /// # Errors
    /// If its file cannot be opened.
    pub fn start_log(&self) -> Result<(), CliError> {
        log::start(self.verbose, self.log_file.as_deref())
    }
}

/// How a changing run begins, and how it keeps nodes to itself.
#[derive(Debug, Clone)]
pub struct ChangeSettings {
    /// Whether no confirmation is asked for.
    pub yes: bool,
    /// None is a run that changes nodes.
    pub dry_run: Option<DryRun>,
    /// The reason for the journal, and for those who meet the lock.
    pub reason: Option<String>,
    /// How long to wait for a lock held by another run.
    pub lock_wait: Duration,
    /// Whether a node without lock and guard is changed all the same.
    pub no_guard: bool,
}

// Each takes its arguments apart by name, so that an option that is not carried over does not compile.

impl From<&FanoutArgs> for Settings {
    fn from(args: &FanoutArgs) -> Self {
        let FanoutArgs { inventory, selection, connect, output } = args.clone();
        let SelectionArgs { role, nodes, exclude } = selection;
        Self { inventory, roles: role, nodes, exclude, ..Self::connecting(connect, output.into()) }
    }
}

impl From<&InitArgs> for Settings {
    fn from(args: &InitArgs) -> Self {
        // The hosts, and the file that is written, are the command's own.
        let InitArgs { hosts: _, from: _, inventory: _, dry_run: _, connect, quiet, verbose, log_file } = args;
        let output = OutputSettings {
            format: OutputFormat::default(),
            out: None,
            fold: None,
            quiet: *quiet,
            verbose: *verbose,
            color: ColorChoice::Auto,
            no_progress: false,
            log_file: log_file.clone(),
        };
        Self::connecting(connect.clone(), output)
    }
}

impl Settings {
    /// Without nodes.
    fn connecting(connect: ConnectArgs, output: OutputSettings) -> Self {
        let ConnectArgs { forks, timeout, retries, ssh, sudo, ask_sudo_pass, ask_pass, persist, via } = connect;
        Self {
            inventory: None,
            roles: Vec::new(),
            nodes: Vec::new(),
            exclude: Vec::new(),
            forks: forks as usize,
            timeout,
            retries,
            ssh: ssh.into(),
            persist,
            sudo,
            ask_sudo_password: ask_sudo_pass,
            ask_ssh_password: ask_pass,
            via: via.0,
            output,
        }
    }
}

impl From<SshArgs> for SshOverrides {
    fn from(args: SshArgs) -> Self {
        let SshArgs { connect_timeout, user, port, identity, jump, ssh_config, known_hosts, host_key } = args;
        Self { connect_timeout, user, port, identity, jump, ssh_config, known_hosts, host_key }
    }
}

impl From<OutputArgs> for OutputSettings {
    fn from(args: OutputArgs) -> Self {
        let OutputArgs { output: format, out, fold, no_fold, quiet, verbose, color, no_progress, log_file } = args;
        let fold = if fold { Some(true) } else { no_fold.then_some(false) };
        Self { format, out, fold, quiet, verbose, color, no_progress, log_file }
    }
}

impl From<&GoArgs> for ChangeSettings {
    fn from(args: &GoArgs) -> Self {
        let GoArgs { yes, dry_run, reason, lock_wait, no_guard } = args.clone();
        Self { yes, dry_run, reason, lock_wait: lock_wait.unwrap_or_default(), no_guard }
    }
}

/// The home directory of the environment, as the XDG specification means it.
pub fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// A base directory of the XDG specification, else `fallback` in the home. A relative path there is to be ignored.
fn base_directory(variable: &str, fallback: &str) -> Option<PathBuf> {
    let named = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    named.or_else(|| Some(home()?.join(fallback)))
}

/// Finds and reads the inventory.
///
/// # Errors
/// If there is none, it cannot be read, or it has errors.
pub fn inventory(named: Option<&Path>, sources: &SavedInputs) -> Result<(Inventory, SavedFile), CliError> {
    let environment = PathEnvironment::process();
    // The text as it was when the run began: a resume must act on the same nodes.
    if let Some(SavedFile { path, text }) = &sources.inventory {
        let (own_text, printed) = live_source::split_saved(text);
        let mut saved = |_: &_| live_source::saved_fleet(printed);
        let inventory = ctl_inventory::parse_with(own_text, path, &environment, &mut saved)?;
        return Ok((inventory, SavedFile { path: path.clone(), text: text.clone() }));
    }
    let InventoryPath { path, is_named } = find_inventory(named)?;
    let (text, access) = waiting::on(format!("the inventory {}", path.display()), || ctl_inventory::read(&path))?;
    // A file that was found could have been put there by somebody else; one that was named was chosen.
    if is_named {
        trust::named(&path, access);
    } else {
        trust::found(&path, access)?;
    }
    let mut live = LiveSource::new(&path, access);
    let inventory = ctl_inventory::parse_with(&text, &path, &environment, &mut |command| live.run(command))?;
    let text = live.saved_text(text);
    // Absolute, since the journal may be read from another directory. The text counts, so a failure is harmless.
    let path = std::path::absolute(&path).unwrap_or(path);
    Ok((inventory, SavedFile { path, text }))
}

/// The names in the inventory that [`inventory`] would find, for completion: quick, silent, and as many as can be read.
pub fn glance_at_inventory(named: Option<&Path>) -> Option<NameSuggestions> {
    let InventoryPath { path, is_named } = find_inventory(named).ok()?;
    // Only regular files: a pipe can be read once, and the command needs it.
    let bounds = ReadBounds { max_bytes: ctl_inventory::MAX_BYTES, patience: GLANCE, only_regular: true };
    let FileContent { bytes, access } = file::read(&path, bounds).ok()?;
    if !is_named && trust::refusal(&path, access).is_some() {
        return None;
    }
    Some(ctl_inventory::names(&String::from_utf8(bytes).ok()?))
}

/// The newest runs, for completion: quick and silent. Creates no journal.
pub fn glance_at_runs(limit: u32) -> Vec<RunSummary> {
    let path = journal_path().ok();
    let runs = path.map(|path| ctl_local::within(GLANCE, move || Journal::open_read_only(&path)?.runs(limit)));
    runs.and_then(Result::ok).and_then(Result::ok).unwrap_or_default()
}

/// Files as they were when a run was first asked for; none means as they are now.
#[derive(Debug, Default)]
pub struct SavedInputs {
    /// The inventory of the run.
    pub inventory: Option<SavedFile>,
    /// The rollout file of the run.
    pub rollout: Option<SavedFile>,
}

/// Opens the journal.
///
/// # Errors
/// If its place is unknown, or it cannot be opened.
pub fn journal() -> Result<Journal, CliError> {
    let path = journal_path()?;
    Ok(waiting::on(format!("the journal {}", path.display()), || Journal::open(&path))?)
}

/// Where the journal is.
fn journal_path() -> Result<PathBuf, CliError> {
    // The journal is state of the user: it must outlive a reboot and is no configuration.
    let Some(state) = base_directory("XDG_STATE_HOME", ".local/state") else {
        let message = "no place for the journal: $HOME is not set, and $XDG_STATE_HOME is not an absolute path";
        return Err(
            CliError::usage(message).with_hint("a run that changes nodes is recorded first, so that it can be resumed")
        );
    };
    let path = state.join("ctl/journal.db");
    std::path::absolute(&path).map_err(|error| CliError::usage(format!("{}: {error}", path.display())))
}

/// Where the inventory is.
pub struct InventoryPath {
    path: PathBuf,
    /// By the user, and not found at a usual place.
    is_named: bool,
}

/// The inventory that an option or the environment names.
fn named_inventory(named: Option<&Path>) -> Option<PathBuf> {
    // An empty variable counts as not set, as in a shell's `${CTL_INVENTORY:-}`.
    let of_environment = || std::env::var_os("CTL_INVENTORY").filter(|value| !value.is_empty()).map(PathBuf::from);
    named.map(Path::to_owned).or_else(of_environment)
}

/// Where a new inventory goes, so that the next command finds it.
pub fn new_inventory(named: Option<&Path>) -> PathBuf {
    named_inventory(named).unwrap_or_else(|| PathBuf::from(INVENTORY_FILE))
}

/// The inventory that is named, else the first at the usual places.
///
/// # Errors
/// If there is none, or others may write the one that is found.
pub fn find_inventory(named: Option<&Path>) -> Result<InventoryPath, CliError> {
    if let Some(path) = named_inventory(named) {
        return Ok(InventoryPath { path, is_named: true });
    }
    let mut places = vec![PathBuf::from(INVENTORY_FILE)];
    places.extend(base_directory("XDG_CONFIG_HOME", ".config").map(|config| config.join("ctl/inventory.yaml")));
    places.push(PathBuf::from("/etc/ctl/inventory.yaml"));
    if let Some(found) = places.iter().find(|place| ctl_local::file::exists(place)) {
        return Ok(InventoryPath { path: found.clone(), is_named: false });
    }
    let looked = places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(", ");
    Err(CliError::usage(format!(
        "no inventory found: -i and $CTL_INVENTORY are not set, and none of these files exists: {looked}"
    ))
    .with_hint("to create one: `ctl init HOST...`, or `ctl inventory import --from ansible FILE`"))
}

impl Settings {
    /// Whether only some nodes or roles are asked for.
    pub fn selects_some(&self) -> bool {
        !self.roles.is_empty() || !self.nodes.is_empty() || !self.exclude.is_empty()
    }
}

/// The nodes and roles that are asked for.
pub fn scope(settings: &Settings) -> RunScope {
    RunScope {
        roles: settings.roles.iter().map(|role| ctl_inventory::canonical_role(role.trim()).to_owned()).collect(),
        nodes: joined(&settings.nodes),
        exclude: joined(&settings.exclude),
    }
}

/// The patterns of an option that was given once or several times.
fn joined(patterns: &[String]) -> Option<String> {
    (!patterns.is_empty()).then(|| patterns.join(","))
}

/// Reads a snapshot.
///
/// # Errors
/// If it cannot be read, or is no snapshot.
pub fn snapshot(path: &Path) -> Result<Snapshot, CliError> {
    waiting::on(format!("the snapshot {}", path.display()), || ctl_snapshot::load(path)).map_err(|error| {
        CliError::usage(text::single_line(&format!("{}: {error}", path.display()))).with_hint(error.hint())
    })
}

/// Reads the snapshots that the gates of tasks compare with.
///
/// # Errors
/// As [`snapshot`].
pub fn gate_snapshots(wanted: &mut [TaskSpec]) -> Result<(), CliError> {
    let mut known: BTreeMap<PathBuf, Arc<Snapshot>> = BTreeMap::new();
    for task in wanted.iter_mut().map(|wanted| &mut wanted.task) {
        let Some(path) = &task.policy.gate_snapshot else { continue };
        // Read once for all tasks that name it, so that they compare with the same state.
        let snapshot = match known.get(path) {
            Some(snapshot) => Arc::clone(snapshot),
            None => Arc::new(snapshot(path)?),
        };
        known.insert(path.clone(), Arc::clone(&snapshot));
        task.snapshot = Some(snapshot);
    }
    Ok(())
}

/// Who holds the locks of a run, as others see it.
pub fn lock_holder(run: &str, started: jiff::Timestamp, reason: Option<&str>) -> LockHolder {
    LockHolder {
        // Random, so that no other controller has the same key.
        key: format!("{:016x}", rand::random::<u64>()),
        run: run.to_owned(),
        user: account::user(),
        host: account::host(),
        since: started.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        reason: reason.unwrap_or_default().to_owned(),
        is_helped: false,
    }
}

/// A new ID for a run: the time, and a few letters against collisions.
pub fn run_id() -> String {
    let letters: String = (0..4).map(|_| char::from(rand::random_range(b'a'..=b'z'))).collect();
    format!("{}-{letters}", jiff::Zoned::now().strftime("%Y%m%d-%H%M%S"))
}
