//! `ctl cp FILE... :PATH` and `ctl cp :PATH DIR`.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cli::execute::execute;
use crate::cli::job::{CliJob, JobRequest};
use ctl_args::args::CpArgs;
use ctl_args::copy_habits::scp_target;
use ctl_args::settings::{SavedInputs, Settings};
use ctl_console::error::CliError;
use ctl_console::exit::ExitStatus;
use ctl_local::file::digest;
use ctl_plan::{CopySource, FileCopy, Work};

/// How the command is used.
const USAGE: &str = "usage: ctl cp FILE... :PATH, or ctl cp :PATH DIR";
/// What to use for a directory.
const DIRECTORY: &str = "send a directory with: tar c DIR | ctl exec -- tar x -C PATH";

pub(in crate::cli) fn run(args: &CpArgs, words: &[String]) -> Result<ExitStatus, CliError> {
    let settings = Settings::from(&args.fanout);
    settings.output.start_log()?;
    let job = job(args, &settings, &SavedInputs::default())?;
    // Before any node is contacted: a directory that cannot be made would fail on each of them.
    if args.change.go.dry_run.is_none()
        && let CopyWords::FromNodes { directory, .. } = direction(&args.words)?
    {
        fs::create_dir_all(&directory)
            .map_err(|error| CliError::usage(format!("cannot create {}: {error}", directory.display())))?;
    }
    execute(job, &settings, Some(&(&args.change.go).into()), words, None)
}

/// What the words mean.
pub(in crate::cli) fn job(args: &CpArgs, settings: &Settings, sources: &SavedInputs) -> Result<CliJob, CliError> {
    let words = direction(&args.words).map_err(|error| or_recursive(error, &settings.roles));
    let copy = Arc::new(match words? {
        CopyWords::ToNodes { files, target } => to_nodes(files, target)?,
        CopyWords::FromNodes { source, directory } => from_nodes(source, directory)?,
    });
    let work = |_| Work::Copy(copy);
    JobRequest { change: Some(&args.change.policy.policy), ..JobRequest::new("cp", &[], settings, work) }.job(sources)
}

/// The words, by direction.
#[derive(Debug, PartialEq, Eq)]
enum CopyWords<'a> {
    ToNodes { files: &'a [String], target: &'a str },
    FromNodes { source: &'a str, directory: PathBuf },
}

/// Which of the words are paths on the nodes.
fn direction(words: &[String]) -> Result<CopyWords<'_>, CliError> {
    let error = |message: &str| Err(CliError::usage(message).with_hint(USAGE));
    let Some((last, others)) = words.split_last() else { return error("nothing to copy") };
    let remote = |word: &String| word.starts_with(':');
    match (last.strip_prefix(':'), others) {
        (_, []) => error("a source and a target are needed"),
        (Some(target), files) if !files.iter().any(remote) => Ok(CopyWords::ToNodes { files, target }),
        (Some(_), _) => error("ctl cannot copy from nodes to nodes; copy the file here first"),
        (None, [source]) if remote(source) => {
            Ok(CopyWords::FromNodes { source: source.get(1..).unwrap_or_default(), directory: last.into() })
        }
        (None, sources) if sources.iter().any(remote) => error("only one file can be copied from the nodes at a time"),
        (None, _) => Err(match scp_target(last, others) {
            Some(line) => CliError::usage("a path on the nodes begins with a colon").with_hint(line),
            None => {
                CliError::usage("none of the paths is on the nodes: a path there begins with a colon").with_hint(USAGE)
            }
        }),
    }
}

/// The error for `-r DIR :PATH`, as scp and cp take it.
fn or_recursive(error: CliError, roles: &[String]) -> CliError {
    match roles.iter().find(|role| Path::new(role).is_dir()) {
        Some(directory) => {
            CliError::usage(format!("-r selects roles, and {directory} is a directory; ctl cp copies files"))
                .with_hint(DIRECTORY)
        }
        None => error,
    }
}

fn to_nodes(files: &[String], target: &str) -> Result<FileCopy, CliError> {
    let files = files.iter().map(|path| source_file(Path::new(path))).collect::<Result<Vec<_>, _>>()?;
    let mut names = BTreeSet::new();
    if let Some(twice) = files.iter().find(|file| !names.insert(&file.name)) {
        return Err(CliError::usage(format!("two files are called {}; one would replace the other", twice.name)));
    }
    let into_directory = files.len() > 1 || target.is_empty() || target.ends_with('/');
    Ok(FileCopy::ToNodes { files, target: target.to_owned(), into_directory })
}

/// Opens a file, and reads all of it once, for its hash.
fn source_file(path: &Path) -> Result<CopySource, CliError> {
    let failed = |error: io::Error| CliError::usage(format!("cannot read {}: {error}", path.display()));
    // Before it is opened: opening a pipe would wait for its writer.
    let metadata = fs::metadata(path).map_err(failed)?;
    if metadata.is_dir() {
        return Err(
            CliError::usage(format!("{} is a directory; ctl cp copies files", path.display())).with_hint(DIRECTORY)
        );
    }
    if !metadata.is_file() {
        return Err(CliError::usage(format!("{} is not a regular file", path.display()))
            .with_hint("send the output of a command with: COMMAND | ctl exec -- tee PATH"));
    }
    let content = File::open(path).map_err(failed)?;
    let (size, sha256) = digest(&content).map_err(failed)?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(CopySource {
        path: path.to_owned(),
        name,
        size,
        mode: metadata.mode() & 0o7777,
        sha256,
        content: Arc::new(content),
    })
}

fn from_nodes(source: &str, directory: PathBuf) -> Result<FileCopy, CliError> {
    let name = source.rsplit('/').next().unwrap_or_default();
    if matches!(name, "" | "." | ".." | "~") {
        return Err(CliError::usage(format!(":{source} is a directory; ctl cp copies files"))
            .with_hint("name a file, as in ctl cp :/etc/hosts DIR"));
    }
    if directory.exists() && !directory.is_dir() {
        return Err(CliError::usage(format!("{} is not a directory", directory.display()))
            .with_hint("each node's copy is written to DIR/NODE/"));
    }
    Ok(FileCopy::FromNodes { source: source.to_owned(), name: name.to_owned(), directory })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<String, String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        direction(&words).map(|words| format!("{words:?}")).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn the_colon_decides_the_direction() {
        let table = [
            ("a b :/etc/", Ok("ToNodes { files: [\"a\", \"b\"], target: \"/etc/\" }")),
            ("a :", Ok("ToNodes { files: [\"a\"], target: \"\" }")),
            ("./:a ::b", Ok("ToNodes { files: [\"./:a\"], target: \":b\" }")),
            (":/etc/hosts copies", Ok("FromNodes { source: \"/etc/hosts\", directory: \"copies\" }")),
            ("a", Err("a source and a target are needed")),
            (":a", Err("a source and a target are needed")),
            (":a :b", Err("from nodes to nodes")),
            (":a :b dir", Err("only one file")),
            ("a b", Err("none of the paths is on the nodes")),
            ("a n1:b", Err("begins with a colon")),
        ];
        for (line, wanted) in table {
            match (read(line), wanted) {
                (Ok(read), Ok(wanted)) => assert_eq!(read, wanted, "{line}"),
                (Err(read), Err(wanted)) => assert!(read.contains(wanted), "{line}: {read}"),
                (read, _) => panic!("{line}: {read:?}"),
            }
        }
    }

    #[test]
    fn the_form_of_scp_is_answered_with_ours() {
        let line = |last: &str, others: &[&str]| {
            scp_target(last, &others.iter().map(|&word| word.to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(line("root@n1:/tmp", &["a b"]).as_deref(), Some("ctl cp -w n1 -u root 'a b' :/tmp"));
        assert_eq!(line("here", &["n1:/etc/hosts"]).as_deref(), Some("ctl cp -w n1 :/etc/hosts here"));
        assert_eq!((line("./a:b", &["x"]), line("b", &["x", "y"])), (None, None));
    }
}
