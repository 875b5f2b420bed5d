//! Tests of `put.sh` and `get.sh`, run locally: targets, odd names, and that a file is never half written.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::*;

/// A content and its SHA-256.
const ABC: (&str, &str) = ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");

/// Runs a script as the node does, with this input after the script's own lines.
fn script(folder: &Path, script: &str, words: &str, input: &[u8]) -> Output {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec sh -c {} {words}", ctl_remote::script::READ_AND_RUN)]).current_dir(folder);
    shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut shell = shell.spawn().expect("a shell");
    let mut stdin = shell.stdin.take().expect("its input");
    stdin.write_all(format!("{}\n", one_line(script)).as_bytes()).expect("a script that is read");
    // A script that refuses does not read the rest.
    drop(stdin.write_all(input));
    drop(stdin);
    shell.wait_with_output().expect("its output")
}

/// What `put.sh` answers after its mark, and its error.
fn put(folder: &Path, target: &str, into: bool, mode: u32, content: &str) -> (String, String) {
    let (into, size) = (if into { "into" } else { "any" }, ABC.0.len());
    let words = format!("ctl-put 60 mark {size} {mode:o} {into} 0123");
    let input = format!("{}\n{}\n{}\n{content}", escaped(&safe_path(target)), escaped("-f x"), ABC.1);
    let output = script(folder, PUT, &words, input.as_bytes());
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    let after = |text: &str, mark: &str| text.strip_prefix(mark).map(|rest| rest.trim_end().to_owned());
    (after(&stdout, "mark\n").expect("a mark"), after(&stderr, "mark-2\n").expect("a mark"))
}

fn good(answers: &str) -> (String, String) {
    (answers.to_owned(), String::new())
}

/// The names in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_file_is_written_and_known_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let mode = |path: &Path| fs::metadata(path).expect("a file").permissions().mode() & 0o7777;
    for target in ["plain", "-rf", "a b;'\"$(x)\\n", "line\nend\n", "~/home", "\u{e9}\t*?"] {
        assert_eq!(put(folder.path(), target, false, 0o640, ABC.0), good("send\nchanged"), "{target:?}");
        let path = folder.path().join(target.trim_start_matches("~/"));
        assert_eq!((fs::read_to_string(&path).expect("a file").as_str(), mode(&path)), (ABC.0, 0o640), "{target:?}");
        assert_eq!(put(folder.path(), target, false, 0o640, ""), good("same"), "{target:?}");
        assert_eq!(put(folder.path(), target, false, 0o755, ""), good("changed"), "{target:?}");
        assert_eq!(mode(&path), 0o755, "{target:?}");
        fs::remove_file(path).expect("removed");
    }
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn a_target_is_what_it_is_for_cp() {
    let folder = tempfile::tempdir().expect("a folder");
    let inside = |name: &str| folder.path().join(name);
    for name in ["dir", "taken", "taken/-f x", "links"] {
        fs::create_dir(inside(name)).expect("a folder");
    }
    let put = |target: &str, into: bool| put(folder.path(), target, into, 0o644, ABC.0);
    for (target, into) in [("dir", false), ("dir/", true), ("./dir//", true)] {
        assert!(put(target, into).1.is_empty(), "{target}");
        assert_eq!(fs::read_to_string(inside("dir/-f x")).expect("a file"), ABC.0, "{target}");
        fs::remove_file(inside("dir/-f x")).expect("removed");
    }
    // Through a link, as cp does, and the link stays.
    fs::write(inside("links/old"), "old").expect("written");
    symlink("links/old", inside("link")).expect("a link");
    symlink("dir", inside("link-to-dir")).expect("a link");
    symlink("nowhere/at/all", inside("dangling")).expect("a link");
    assert_eq!(put("link", false), good("send\nchanged"));
    assert_eq!(fs::read_to_string(inside("links/old")).expect("a file"), ABC.0);
    assert!(inside("link").is_symlink());
    assert_eq!(put("link-to-dir", false), good("send\nchanged"));
    assert_eq!(names(&inside("dir")), ["-f x"]);
    assert!(Command::new("mkfifo").arg(inside("pipe")).status().expect("mkfifo").success());
    for (target, into, error) in [
        ("taken", false, "./taken/-f x: Is a directory"),
        ("missing/", true, "./missing/: No such directory"),
        ("links/old", true, "./links/old: Not a directory"),
        ("links/old/", true, "./links/old/: Not a directory"),
        ("missing/file", false, "./missing: No such directory"),
        ("dangling", false, "./dangling: the symbolic link cannot be followed"),
        ("pipe", false, "./pipe: Not a regular file"),
        ("/dev/null", false, "/dev/null: Not a regular file"),
        ("/proc/self", false, "cannot write to /proc/self: "),
    ] {
        let (answer, said) = put(target, into);
        assert!(answer.is_empty() && said.starts_with(error), "{target}: {answer} {said}");
    }
}

#[test]
fn a_content_that_is_not_whole_leaves_the_old_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file");
    fs::write(&path, "old").expect("written");
    fs::set_permissions(&path, Permissions::from_mode(0o400)).expect("permissions");
    for (content, error) in [("ab", "did not arrive completely"), ("abd", "changed while it was copied")] {
        let (answer, said) = put(folder.path(), "file", false, 0o644, content);
        assert!(answer == "send" && said.contains(error), "{answer} {said}");
        assert_eq!(names(folder.path()), ["file"]);
        assert_eq!(fs::read_to_string(&path).expect("a file"), "old");
    }
}

#[test]
fn a_file_is_announced_and_printed() {
    let folder = tempfile::tempdir().expect("a folder");
    let get = |source: &str, known: &str| {
        let (size, hash) = known.split_once(' ').expect("two words");
        let input = format!("{}\n{hash}\n", escaped(&safe_path(source)));
        let output = script(folder.path(), GET, &format!("ctl-get mark {size}"), input.as_bytes());
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (text(output.stdout), text(output.stderr))
    };
    let odd = "-n a\nb\\c\n";
    fs::write(folder.path().join(odd), ABC.0).expect("written");
    fs::set_permissions(folder.path().join(odd), Permissions::from_mode(0o640)).expect("permissions");
    assert_eq!(get(odd, "- -"), ("mark\nfile 640 3\nabc".to_owned(), "mark-2\n".to_owned()));
    assert_eq!(get(odd, &format!("3 {}", ABC.1)).0, "mark\nsame 640 3\n");
    assert_eq!(get(odd, "3 0123").0, "mark\nfile 640 3\nabc");
    symlink(odd, folder.path().join("link")).expect("a link");
    assert_eq!(get("link", "- -").0, "mark\nfile 640 3\nabc");
    assert!(get("/proc/self/status", "- -").0.contains("\nName:"));
    for (source, error) in [
        ("missing", "./missing: No such file"),
        (".", "./.: Is a directory"),
        ("/dev/null", "/dev/null: Not a regular file"),
    ] {
        assert_eq!(get(source, "- -"), ("mark\n".to_owned(), format!("mark-2\n{error}\n")));
    }
}

#[test]
fn an_announcement_is_believed_only_in_its_form() {
    let file = |mode, size, is_known| Some(ReceivedFile { mode, size, is_known });
    for (line, wanted) in [
        ("file 644 3", file(0o644, 3, false)),
        ("same 7777 0", file(0o7777, 0, true)),
        ("file 10000 3", None),
        ("file 644 -3", None),
        ("file 644 99999999999999999999", None),
        ("file 644", None),
        ("file 644 3 4", None),
        ("send", None),
        ("", None),
    ] {
        assert_eq!(announced(line), wanted, "{line}");
    }
}

#[test]
fn paths_are_never_options() {
    for (path, wanted) in [("/a", "/a"), ("-a", "./-a"), ("", "./"), ("~", "./"), ("~/-a", "./-a"), ("~x", "./~x")] {
        assert_eq!(safe_path(path), wanted);
    }
}
