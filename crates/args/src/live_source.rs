//! The `source` of an inventory: its program is found, checked and run here.
//!
//! Invariants: it is run at most once a command, without a shell, and killed with its children when it takes too long or
//! prints too much; a program or an inventory that another user can change is not run. What it printed is saved with the
//! inventory's text, without secrets, so that a resumed run acts on the same nodes.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use signal_hook::consts::SIGTSTP;
use signal_hook::low_level;

use ctl_console::secret::HeldSignals;
use ctl_console::{trust, waiting};
use ctl_import::{ImportedFleet, ansible};
use ctl_inventory::{SourceCommand, SourceFailure};
use ctl_local::command::{self, CommandBounds, ExcessOutput, LocalCommand, ProgramEnd};
use ctl_local::file::FileAccess;
use ctl_sink::text;

const BOUNDS: CommandBounds =
    CommandBounds { patience: Duration::from_secs(10), max_output: 64 * 1024 * 1024, excess: ExcessOutput::Kill };

/// Maximum of the error output that a message repeats, in characters.
const MAX_SHOWN: usize = 1000;

/// The line of a saved inventory that has the nodes of its source.
const SAVED_LINE: &str = "# ctl: nodes of the source: ";

/// The source of one inventory.
pub(crate) struct LiveSource {
    /// Of the inventory's file.
    access: FileAccess,
    path: PathBuf,
    /// Its output, reduced to the fields in use.
    printed: Option<String>,
}

impl LiveSource {
    pub(crate) fn new(path: &Path, access: FileAccess) -> Self {
        Self { access, path: path.to_owned(), printed: None }
    }

    /// Runs the command, and reads what it prints.
    pub(crate) fn run(&mut self, source: &SourceCommand) -> Result<ImportedFleet, SourceFailure> {
        // It names a program to run, so it gets no benefit of the doubt, even where it was named by the user.
        refuse(&self.path, self.access)?;
        let program = find_program(&source.program)?;
        let shown = program.display().to_string();
        let metadata = std::fs::metadata(&program).map_err(|error| failure(format!("cannot run {shown}: {error}")))?;
        refuse(&program, FileAccess::from(&metadata))?;
        let end = waiting::on(format!("the source {shown}"), || run_watched(&program, source));
        let end = end.map_err(|error| failure(format!("cannot run {shown}: {error}")))?;
        let (status, output, errors) = match end {
            ProgramEnd::Exited { status, output, errors } => (status, output, errors),
            ProgramEnd::TimedOut(errors) => {
                let seconds = BOUNDS.patience.as_secs();
                return Err(failure(format!("{shown} took longer than {seconds} s, and was killed{}", said(&errors))));
            }
            ProgramEnd::TooLarge => {
                return Err(failure(format!(
                    "{shown} printed more than {} MiB, and was killed",
                    BOUNDS.max_output >> 20
                )));
            }
            ProgramEnd::Stopped => return Err(failure(format!("{shown} was interrupted"))),
        };
        if !status.success() {
            return Err(failure(format!("{shown} failed ({status}){}", said(&errors))));
        }
        let printed =
            String::from_utf8(output).map_err(|_| failure(format!("{shown} printed text that is not UTF-8")))?;
        let name = program.file_name().map_or(program.as_path(), Path::new);
        let fleet = ansible::read_list(&printed, name).map_err(|error| {
            with_help(
                format!("{shown} did not print an inventory: {error}{}", said(&errors)),
                "it must print the JSON of `ansible-inventory --list`",
            )
        })?;
        if let Some(what) = incomplete(&fleet, &errors) {
            return Err(failure(format!("{shown} {what}{}", said(&errors))));
        }
        self.printed = Some(ansible::write_list(&fleet));
        Ok(fleet)
    }

    /// The inventory's text with the nodes of its source, if it has one.
    pub(crate) fn saved_text(self, text: String) -> String {
        match self.printed {
            Some(printed) => format!("{text}\n{SAVED_LINE}{printed}\n"),
            None => text,
        }
    }
}

/// What is missing from the output of a program that ended well. Ansible only warns of a file that it cannot read, and prints the
/// other hosts; a run without those of the file would pass for complete.
fn incomplete(fleet: &ImportedFleet, errors: &[u8]) -> Option<&'static str> {
    let errors = String::from_utf8_lossy(errors);
    if errors.contains("Unable to parse ") && errors.contains(" as an inventory source") {
        return Some("left out a part of the inventory");
    }
    (fleet.hosts.is_empty() && !errors.trim().is_empty()).then_some("printed an inventory without hosts")
}

/// The text of a saved inventory, and the nodes that its source printed.
pub(crate) fn split_saved(saved: &str) -> (&str, Option<&str>) {
    match saved.rsplit_once(SAVED_LINE) {
        // Only the last line can be ours: the JSON is one line.
        Some((text, printed)) if printed.trim_end().lines().count() == 1 && text.ends_with('\n') => {
            (text, Some(printed))
        }
        _ => (saved, None),
    }
}

/// Reads the nodes that a source printed when the run began.
pub(crate) fn saved_fleet(printed: Option<&str>) -> Result<ImportedFleet, SourceFailure> {
    let printed = printed.ok_or_else(|| failure("the journal has no nodes of the source".to_owned()))?;
    ansible::read_list(printed, Path::new("the journal")).map_err(|error| failure(error.to_string()))
}

/// The file of a program: as it is written, or found in `$PATH`.
fn find_program(program: &Path) -> Result<PathBuf, SourceFailure> {
    if program.as_os_str().as_encoded_bytes().contains(&b'/') {
        // The program runs in the directory of the inventory, and its path counts from ours.
        return std::path::absolute(program).map_err(|error| failure(format!("{}: {error}", program.display())));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    // An empty or relative entry would depend on where the user is.
    let folders = std::env::split_paths(&path).filter(|folder| folder.is_absolute());
    let found = folders.map(|folder| folder.join(program)).find(|file| is_program(file));
    found.ok_or_else(|| {
        let message = format!("there is no program {} in $PATH", program.display());
        with_help(message, "a program beside the inventory is written with its path: ./NAME")
    })
}

fn is_program(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|metadata| metadata.is_file() && FileAccess::from(&metadata).mode & 0o111 != 0)
}

/// Runs the program. A signal ends it first, since in a group of its own it does not get those of the terminal, and then this
/// process.
fn run_watched(program: &Path, source: &SourceCommand) -> std::io::Result<ProgramEnd> {
    let signals = HeldSignals::catch()?;
    let received = Cell::new(None);
    let is_stopped = || match signals.received() {
        // Ctrl-Z stops only this process; the program has its time limit.
        Some(SIGTSTP) => low_level::emulate_default_handler(SIGTSTP).is_err(),
        Some(signal) => {
            received.set(Some(signal));
            true
        }
        None => false,
    };
    let (arguments, folder) = (source.arguments.as_slice(), source.folder.as_path());
    let command = LocalCommand { program, arguments, folder, environment: &[] };
    let end = command::run(command, BOUNDS, &is_stopped);
    drop(signals);
    if let Some(signal) = received.get() {
        // As if nobody had caught it.
        low_level::emulate_default_handler(signal)?;
    }
    end
}

fn refuse(path: &Path, access: FileAccess) -> Result<(), SourceFailure> {
    match trust::foreign_writer(path, access) {
        Some(why) => {
            Err(with_help(format!("the source is not run: {why}"), "only you and root may be able to change it"))
        }
        None => Ok(()),
    }
}

fn failure(message: String) -> SourceFailure {
    SourceFailure { message, help: None }
}

fn with_help(message: String, help: &str) -> SourceFailure {
    SourceFailure { message, help: Some(help.to_owned()) }
}

/// The end of the error output as a part of a message.
fn said(errors: &[u8]) -> String {
    let errors = String::from_utf8_lossy(errors);
    let lines: Vec<&str> = errors.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() {
        return String::new();
    }
    // The end says why it failed.
    let whole = lines.join(" | ");
    let count = whole.chars().count();
    let shown: String = whole.chars().skip(count.saturating_sub(MAX_SHOWN)).collect();
    format!(": {}{}", if count > MAX_SHOWN { "…" } else { "" }, text::visible(&shown))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_part_that_the_program_could_not_read_is_a_failure() {
        let fleet = |text: &str| ansible::read_list(text, Path::new("list")).expect("an inventory");
        let one = fleet(r#"{"_meta": {"hostvars": {"n1": {}}}}"#);
        let warning = b"[WARNING]: Unable to parse /etc/hosts.d/b as an inventory source\n";
        assert_eq!(incomplete(&one, warning), Some("left out a part of the inventory"));
        assert_eq!(incomplete(&one, b"[DEPRECATION WARNING]: old\n"), None);
        assert_eq!(incomplete(&fleet("{}"), b"oops\n"), Some("printed an inventory without hosts"));
        assert_eq!(incomplete(&fleet("{}"), b"\n"), None);
    }

    #[test]
    fn a_saved_inventory_has_the_nodes_of_its_source() {
        let mut source =
            LiveSource::new(Path::new("i.yaml"), FileAccess { uid: 0, gid: 0, mode: 0o644, is_regular: true });
        source.printed = Some("{\"a\":1}".to_owned());
        let saved = source.saved_text("version: 1\nsource: {command: [x]}".to_owned());
        assert_eq!(split_saved(&saved), ("version: 1\nsource: {command: [x]}\n", Some("{\"a\":1}\n")));
        for text in ["version: 1\n", "# ctl: nodes of the source: {}\nversion: 1\n"] {
            assert_eq!(split_saved(text), (text, None));
        }
        assert!(saved_fleet(None).is_err());
    }

    #[test]
    fn error_output_is_one_bounded_line() {
        assert_eq!(said(b"\n one \n\x1b[31mtwo\n"), ": one | \\x1b[31mtwo");
        assert_eq!(said(&vec![b'x'; 5000]).chars().count(), MAX_SHOWN + 3);
        assert_eq!(said(b" \n"), "");
    }

    /// A program in a folder, with a source that runs it.
    fn program(folder: &Path, script: &str) -> SourceCommand {
        let program = folder.join("hosts");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("written");
        std::fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("its mode");
        SourceCommand { program, arguments: vec!["--list".to_owned()], folder: folder.to_owned() }
    }

    fn source() -> LiveSource {
        let uid = rustix::process::geteuid().as_raw();
        LiveSource::new(Path::new("i.yaml"), FileAccess { uid, gid: 0, mode: 0o644, is_regular: true })
    }

    #[test]
    fn what_a_program_prints_is_read_and_saved_without_secrets() {
        let folder = tempfile::tempdir().expect("a folder");
        let list =
            r#"echo '{"_meta": {"hostvars": {"n1": {"ansible_port": 2222, "ansible_password": "hunter", "x": 1}}}}'"#;
        let command = program(folder.path(), &format!("test \"$1\" = --list && pwd >&2 && {list}"));
        let mut source = source();
        let fleet = source.run(&command).expect("an inventory");
        assert_eq!(
            fleet.hosts.iter().map(|host| (host.name.as_str(), host.port)).collect::<Vec<_>>(),
            [("n1", Some(2222))]
        );
        let saved = source.saved_text("version: 1\n".to_owned());
        assert!(!saved.contains("hunter"), "{saved}");
        let (_, printed) = split_saved(&saved);
        let again = saved_fleet(printed).expect("the same");
        assert_eq!(again.hosts[0].port, Some(2222));
    }

    #[test]
    fn a_failure_says_what_happened() {
        let folder = tempfile::tempdir().expect("a folder");
        let failed = |script: &str| source().run(&program(folder.path(), script)).expect_err(script).message;
        let hosts = folder.path().join("hosts").display().to_string();
        assert_eq!(failed("echo why; echo no >&2; exit 3"), format!("{hosts} failed (exit status: 3): no"));
        assert_eq!(failed("kill -9 $$"), format!("{hosts} failed (signal: 9 (SIGKILL))"));
        assert_eq!(
            failed("echo '[]'"),
            format!(
                "{hosts} did not print an inventory: hosts: this is not the JSON of `ansible-inventory --list`: expected an object"
            )
        );
        assert!(failed("echo '{'").contains("hosts:2: this is not valid JSON"));
        assert!(failed("printf '\\377'").ends_with("printed text that is not UTF-8"));
        let mut command = program(folder.path(), "true");
        command.program = folder.path().join("none");
        assert!(source().run(&command).expect_err("no program").message.contains("No such file or directory"));
    }

    #[test]
    fn what_others_can_change_is_not_run() {
        let folder = tempfile::tempdir().expect("a folder");
        let command = program(folder.path(), "touch ran");
        std::fs::set_permissions(&command.program, Permissions::from_mode(0o757)).expect("its mode");
        let refused = source().run(&command).expect_err("refused").message;
        assert_eq!(
            refused,
            format!("the source is not run: any user can write to {} (mode 0757)", command.program.display())
        );
        std::fs::set_permissions(&command.program, Permissions::from_mode(0o755)).expect("its mode");
        let mut source = source();
        source.access.mode = 0o646;
        let refused = source.run(&command).expect_err("refused").message;
        assert_eq!(refused, "the source is not run: any user can write to i.yaml (mode 0646)");
        source.access = FileAccess { uid: 4_000_000, mode: 0o644, ..source.access };
        assert!(source.run(&command).expect_err("refused").message.contains("belongs to another user"));
        assert!(!folder.path().join("ran").exists());
    }
}
