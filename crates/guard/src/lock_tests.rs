//! Tests of `lock.sh`, run locally: it finds the holder of a lock.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A process that waits until it is dropped. One that locks must wait for the lock, too (no `flock -n`): each look at the
/// lock takes it for a moment.
struct WaitingProcess(Child);

impl WaitingProcess {
    fn start(command: &mut Command, words: &[&str]) -> Self {
        command.args(["sh", "-c", "read never", "ctl-guard"]).args(words).stdin(Stdio::piped());
        Self(command.spawn().expect("a process"))
    }
}

impl Drop for WaitingProcess {
    fn drop(&mut self) {
        // Closing its input ends the process, and with it the lock.
        drop(self.0.stdin.take());
        drop(self.0.wait());
    }
}

/// The script's output, with the lock on `dir` and these locks in /proc/locks.
fn said(dir: &Path, locks: &Path) -> String {
    answered(dir, locks, "")
}

/// The same, with this answer on its input.
fn answered(dir: &Path, locks: &Path, answer: &str) -> String {
    let script = super::channel::LOCK
        .replace("/run/lock /var/lock /", &dir.display().to_string())
        .replace("/proc/locks", &locks.display().to_string());
    let mut shell = Command::new("sh");
    // The shell around it reads the guard's script.
    let script = format!("l() {{ IFS= read -r s; }}\n{script}");
    shell.args(["-c", &script, "sh", "mark", "key-of-mine"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut shell = shell.spawn().expect("a shell");
    shell.stdin.take().expect("a pipe").write_all(format!("echo ran\n{answer}").as_bytes()).expect("written");
    String::from_utf8(shell.wait_with_output().expect("an end").stdout).expect("text")
}

/// A locked directory, and a replacement for /proc/locks.
struct LockedPlace {
    _folder: tempfile::TempDir,
    dir: PathBuf,
    locks: PathBuf,
    major: u32,
    minor: u32,
    inode: u64,
}

impl LockedPlace {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (dir, locks) = (folder.path().join("lock"), folder.path().join("locks"));
        fs::create_dir(&dir).expect("a folder");
        let metadata = fs::metadata(&dir).expect("a folder");
        let (major, minor) = (rustix::fs::major(metadata.dev()), rustix::fs::minor(metadata.dev()));
        Self { _folder: folder, dir, locks, major, minor, inode: metadata.ino() }
    }
}

/// The root of every tmpfs has the same inode, even in a container whose locks appear in this /proc.
#[test]
fn a_lock_of_another_device_is_not_taken_for_this_one() {
    let LockedPlace { _folder, dir, locks, major, minor, inode } = LockedPlace::new();
    let other = WaitingProcess::start(&mut Command::new("env"), &["mark", "key-of-other", "run-of-other"]);
    let holder = WaitingProcess::start(Command::new("flock").arg("-o").arg(&dir), &["mark", "key", "run-of-holder"]);
    let lines = [
        format!("1: FLOCK  ADVISORY  WRITE {} {major:02x}:{minor:02x}:{inode} 0 EOF", holder.0.id()),
        format!("1: -> FLOCK  ADVISORY  WRITE {} {major:02x}:{minor:02x}:{inode} 0 EOF", other.0.id()),
        format!("2: FLOCK  ADVISORY  WRITE {} {major:02x}:{:02x}:{inode} 0 EOF", other.0.id(), minor + 1),
    ];
    fs::write(&locks, lines.join("\n") + "\n").expect("written");
    let began = Instant::now();
    let said = loop {
        let said = said(&dir, &locks);
        if said.contains("mark held") {
            break said;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "never locked: {said}");
    };
    assert!(said.contains("mark by mark key run-of-holder"), "{said}");
}

/// No guard runs beside one of the same controller unless the controller agrees: its connection may be lost, and its
/// lock with it.
#[test]
fn a_lock_of_ones_own_is_asked_about() {
    let LockedPlace { _folder, dir, locks, major, minor, inode } = LockedPlace::new();
    let holder = WaitingProcess::start(
        Command::new("flock").arg("-o").arg(&dir),
        &["mark-of-old", "key-of-mine", "run-of-mine"],
    );
    let line = format!("1: FLOCK  ADVISORY  WRITE {} {major:02x}:{minor:02x}:{inode} 0 EOF\n", holder.0.id());
    fs::write(&locks, line).expect("written");
    let began = Instant::now();
    while !said(&dir, &locks).contains("mark own mark-of-old key-of-mine run-of-mine") {
        assert!(began.elapsed() < Duration::from_secs(60), "never locked");
    }
    for (answer, ran) in [("", false), ("other\n", false), ("beside\n", true)] {
        let said = answered(&dir, &locks, answer);
        assert_eq!(said.lines().any(|line| line == "ran"), ran, "{answer:?}: {said}");
    }
}

/// The script's output where the node only helps.
fn said_to_helper(place: &LockedPlace) -> String {
    let script = super::channel::LOCK
        .replace("/run/lock /var/lock /", &place.dir.display().to_string())
        .replace("/proc/locks", &place.locks.display().to_string());
    let mut shell = Command::new("sh");
    let script = format!("l() {{ IFS= read -r s; }}\n{script}");
    shell.args(["-c", &script, "sh", "mark", "key-of-mine", "use=helper"]);
    let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a shell");
    shell.stdin.take().expect("a pipe").write_all(b"echo ran\n").expect("written");
    String::from_utf8(shell.wait_with_output().expect("an end").stdout).expect("text")
}

/// Runs that use a node as a helper share its lock, and no other run gets it meanwhile. A guard of a lost connection is not
/// run beside: it has yet to take back what it is armed for.
#[test]
fn the_lock_of_a_helper_is_shared() {
    let place = LockedPlace::new();
    let LockedPlace { dir, locks, major, minor, inode, .. } = &place;
    let hold = |share: &str, words: &[&str]| {
        let holder = WaitingProcess::start(Command::new("flock").args([share, "-o"]).arg(dir), words);
        let line = format!("1: FLOCK  ADVISORY  READ {} {major:02x}:{minor:02x}:{inode} 0 EOF\n", holder.0.id());
        fs::write(locks, line).expect("written");
        holder
    };
    let eventually = |what: &str, is_so: &dyn Fn() -> bool| {
        let began = Instant::now();
        while !is_so() {
            assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        }
    };
    let other = hold("-s", &["mark-of-other", "key-of-other", "use=helper"]);
    eventually("the lock is not taken", &|| said(dir, locks).contains("mark by mark-of-other key-of-other use=helper"));
    assert_eq!(said_to_helper(&place), "ran\n");
    drop(other);
    let own = hold("-s", &["mark-of-old", "key-of-mine", "use=helper"]);
    eventually("not asked about", &|| said_to_helper(&place).contains("mark own mark-of-old key-of-mine"));
    drop(own);
    let _other = hold("-x", &["mark-of-other", "key-of-other"]);
    eventually("the lock is shared", &|| said_to_helper(&place).contains("mark by mark-of-other key-of-other"));
}

/// A guard that was started by hand.
struct LocalGuard {
    shell: Child,
    lines: std::io::Lines<std::io::BufReader<std::process::ChildStdout>>,
}

impl LocalGuard {
    fn start(door: &Path) -> Self {
        let script = super::channel::GUARD.replace("/run /var /etc", &door.display().to_string());
        let mut shell = Command::new("sh");
        shell.args(["-c", &script, "ctl-guard", "mark", "key", "use=helper"]);
        let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a shell");
        let lines = std::io::BufRead::lines(std::io::BufReader::new(shell.stdout.take().expect("a pipe")));
        let mut guard = Self { shell, lines };
        guard.expect("mark ready");
        guard
    }

    fn say(&mut self, line: &str) {
        let input = self.shell.stdin.as_mut().expect("a pipe");
        input.write_all(format!("{line}\n").as_bytes()).expect("written");
    }

    #[track_caller]
    fn expect(&mut self, line: &str) {
        assert_eq!(self.lines.next().expect("a line").expect("text"), line);
    }
}

impl Drop for LocalGuard {
    fn drop(&mut self) {
        self.say("q");
        drop(self.shell.wait());
    }
}

/// The turn is had by one guard at a time, in spite of heartbeats; it ends when the guard gives it back, and with the guard.
#[test]
fn one_guard_at_a_time_has_the_turn() {
    let door = tempfile::tempdir().expect("a folder");
    let [mut first, mut second] = [LocalGuard::start(door.path()), LocalGuard::start(door.path())];
    first.say("t1 9");
    first.expect("mark t1");
    second.say("t1 1");
    second.expect("mark b1");
    second.say("t2 60");
    second.say(".");
    second.expect("mark .");
    first.say("f");
    second.expect("mark t2");
    first.say("t2 60");
    drop(second);
    first.expect("mark t2");
}
