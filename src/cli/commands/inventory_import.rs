//! `ctl inventory import --from TOOL PATH`.

use std::ffi::OsString;
use std::io::{ErrorKind, Write};
use std::path::Path;

use clap::{CommandFactory, FromArgMatches};

use ctl_args::args::{CliArgs, CliCommand, ImportTool, InventoryCommand};
use ctl_console::error::CliError;
use ctl_console::exit::ExitStatus;
use ctl_console::{terminal, waiting};
use ctl_import::{ForeignFile, ansible, clustershell, testbed};
use ctl_inventory::{PathEnvironment, draft_of, parse};
use ctl_sink::text;

use crate::cli::missing_roles::missing_roles;

pub(in crate::cli) fn run(tool: ImportTool, path: &Path, out: Option<&Path>) -> Result<ExitStatus, CliError> {
    // Before anything is read: a long import must not end in this.
    if let Some(out) = out.filter(|out| out.symlink_metadata().is_ok()) {
        return Err(exists(out));
    }
    let name = match tool {
        ImportTool::Ansible => "ansible",
        ImportTool::Testbed => "testbed",
        ImportTool::Clustershell => "clustershell",
    };
    let read = waiting::on(path.display().to_string(), || match tool {
        ImportTool::Ansible => ansible::read_path(path),
        ImportTool::Testbed => testbed::read(path),
        ImportTool::Clustershell => clustershell::read(path),
    });
    let fleet = read.map_err(|error| {
        let error = CliError::usage(text::single_line(&error.to_string()));
        match of_another(path, tool) {
            Some(format) => error.with_hint(looks_like(path, format)),
            None => error,
        }
    })?;
    let header = vec![
        format!("Imported with `ctl inventory import --from {name} {}`.", path.display()),
        "Check it with `ctl inventory check -i FILE`; inventory.md of the documentation describes the format."
            .to_owned(),
    ];
    let (draft, omissions) = draft_of(fleet, header);
    if draft.nodes.is_empty() {
        let lines: Vec<String> =
            omissions.iter().take(10).map(|left_out| text::single_line(&left_out.to_string())).collect();
        let error = CliError::usage(format!("{} has no host that can be carried over", path.display()));
        if let Some(format) = of_another(path, tool) {
            return Err(error.with_hint(looks_like(path, format)));
        }
        return Err(if lines.is_empty() { error } else { error.with_hint(lines.join("; ")) });
    }
    let yaml = draft.to_yaml();
    // The file would be refused later, when the source may be gone.
    let inventory = parse(&yaml, out.unwrap_or(Path::new("inventory.yaml")), &PathEnvironment::process())?;
    match out {
        Some(out) => write_new(out, &yaml)?,
        None => match std::io::stdout().lock().write_all(yaml.as_bytes()) {
            // A reader such as `head` that has seen enough is no error.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                return Err(CliError::usage(format!("standard output: {error}")));
            }
            Ok(()) | Err(_) => {}
        },
    }
    terminal::say(&summary(inventory.nodes.len(), inventory.groups.len(), omissions.len()));
    if let Some(said) = missing_roles(&inventory) {
        terminal::say(&format!(
            "{said}; a group sets a role only if it has exactly the role's name, so add `roles` to these nodes"
        ));
    }
    Ok(ExitStatus::Good)
}

/// The error of a line, the program's name first, that is an import without `--from`.
pub(in crate::cli) fn without_tool(line: &[OsString]) -> Option<CliError> {
    let is_optional = |arg: clap::Arg| arg.required(false);
    let cli = CliArgs::command().mut_subcommand("inventory", |inventory| {
        inventory.mut_subcommand("import", |import| import.mut_arg("from", is_optional))
    });
    let matches = cli.try_get_matches_from(line).ok()?;
    let CliCommand::Inventory(inventory) = CliArgs::from_arg_matches(&matches).ok()?.command else { return None };
    match inventory.command {
        Some(InventoryCommand::Import { from: None, path, .. }) => Some(no_tool(&path)),
        _ => None,
    }
}

/// The error without a tool: it names the one that the file is of.
fn no_tool(path: &Path) -> CliError {
    if !path.exists() {
        return CliError::usage(text::single_line(&format!("{}: no such file or directory", path.display())));
    }
    let error = CliError::usage("`inventory import` needs --from: the tool whose inventory it is");
    match recognized(path) {
        Some(format) => error.with_hint(looks_like(path, format)),
        None => error.with_hint("use --from ansible, --from testbed or --from clustershell"),
    }
}

/// The format of a file by its text, or of a directory by its contents.
fn recognized(path: &Path) -> Option<ForeignFile> {
    let has = |names: &[&str]| names.iter().any(|name| path.join(name).exists());
    if path.is_dir() {
        return match (has(&["groups.conf", "groups.conf.d", "groups.d"]), has(&["group_vars", "host_vars", "hosts"])) {
            (true, false) => Some(ForeignFile::ClusterShell),
            (false, true) => Some(ForeignFile::Ansible),
            (true, true) | (false, false) => None,
        };
    }
    ForeignFile::recognize(path, &ctl_inventory::read(path).ok()?.0)
}

/// The same, if another command or tool reads it; a list of hosts has no form by which it could be recognized.
fn of_another(path: &Path, tool: ImportTool) -> Option<ForeignFile> {
    recognized(path).filter(|format| *format != ForeignFile::HostList && !is_of(*format, tool))
}

const fn is_of(format: ForeignFile, tool: ImportTool) -> bool {
    matches!(
        (format, tool),
        (ForeignFile::Ansible, ImportTool::Ansible)
            | (ForeignFile::Testbed, ImportTool::Testbed)
            | (ForeignFile::ClusterShell, ImportTool::Clustershell)
    )
}

fn looks_like(path: &Path, format: ForeignFile) -> String {
    text::single_line(&format!("{} looks like {}: {}", path.display(), format.name(), format.command(path)))
}

fn summary(nodes: usize, groups: usize, omissions: usize) -> String {
    let counted = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    let rest = match omissions {
        0 => "everything was carried over".to_owned(),
        1 => "1 item was not carried over; see the end of the inventory".to_owned(),
        count => format!("{count} items were not carried over; see the end of the inventory"),
    };
    format!("{}, {}; {rest}", counted(nodes, "node"), counted(groups, "group"))
}

/// Writes a file that does not exist yet, completely or not at all.
fn write_new(path: &Path, text: &str) -> Result<(), CliError> {
    let failed =
        |error: &dyn std::fmt::Display| CliError::usage(format!("--out: {} was not written: {error}", path.display()));
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut temporary = tempfile::NamedTempFile::new_in(folder).map_err(|error| failed(&error))?;
    temporary.write_all(text.as_bytes()).map_err(|error| failed(&error))?;
    // Synced before it gets its name, so that a crash leaves the whole file or none.
    temporary.as_file().sync_all().map_err(|error| failed(&error))?;
    temporary.persist_noclobber(path).map_err(|error| {
        if error.error.kind() == ErrorKind::AlreadyExists { exists(path) } else { failed(&error.error) }
    })?;
    Ok(())
}

fn exists(path: &Path) -> CliError {
    CliError::usage(format!("--out: {} already exists", path.display()))
        .with_hint("choose another name, or move it away")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_inventory_never_replaces_a_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let hosts = folder.path().join("hosts");
        std::fs::write(&hosts, "[collector]\na[1:3]\n").expect("written");
        let out = folder.path().join("inventory.yaml");
        let import = |out: &Path| run(ImportTool::Ansible, &hosts, Some(out));
        assert!(import(&out).is_ok());
        let text = std::fs::read_to_string(&out).expect("written");
        assert!(text.ends_with("nodes:\n  a[1-3]: {roles: [analytics]}\n"), "{text}");
        std::fs::write(&out, "mine").expect("written");
        assert!(import(&out).is_err());
        assert!(write_new(&out, &text).is_err());
        assert_eq!(std::fs::read_to_string(&out).expect("kept"), "mine");
        std::os::unix::fs::symlink("nowhere", folder.path().join("link")).expect("a link");
        assert!(import(&folder.path().join("link")).is_err());
        assert!(import(&folder.path().join("none/inventory.yaml")).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 3);
    }
}
