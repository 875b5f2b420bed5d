//! Files on the controller's machine: no file blocks a run forever, and files that others can write are never used
//! silently.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use contrail_lab::{Release, Role};
use rustix::fs::{Mode, OFlags};

use crate::harness::{COLLECTOR, Cluster, Running, ended, eventually, node, single, uniform};

fn pipe(cluster: &Cluster, name: &str) -> String {
    let path = cluster.path(name);
    assert!(Command::new("mkfifo").args(["-m", "600"]).arg(&path).status().expect("cannot run the program").success());
    path.display().to_string()
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("cannot set the mode");
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("cannot read the metadata").permissions().mode() & 0o7777
}

/// The lab's inventory, with the password of the node's supervisord in this file.
fn inventory_with_password(cluster: &Cluster, file: &str) -> std::path::PathBuf {
    let roles = format!(
        "roles:\n  analytics: {{socket: /var/run/supervisord_analytics.sock, username: ops, password_file: {file}}}\nnodes:\n"
    );
    cluster.write("auth.yaml", cluster.inventory().replace("nodes:\n", &roles))
}

/// A password file that is a pipe, or that others can write, is rejected without waiting; one that others can read
/// causes a warning.
#[test]
fn a_password_file_that_is_not_its_users_own() {
    let mut spec = node(Release::R3_2, [Role::Analytics]);
    spec.rpc_auth = Some(("ops".to_owned(), "secret".to_owned()));
    let cluster = Cluster::start(single(spec));
    let status = |file: &str| {
        let inventory = inventory_with_password(&cluster, file);
        let line = format!("service {COLLECTOR} status --via rpc -o json");
        Running::start(cluster.command_with(&line, &inventory)).finish()
    };
    let run = status(&pipe(&cluster, "pipe")).expect(1);
    let result = run.result("n");
    assert_eq!(ended(&result), "failed permission", "{run}");
    assert!(result["failure"]["message"].as_str().expect("expected a message").contains("not a regular file"), "{run}");

    let file = cluster.write("password", "secret\n");
    for mode in [0o644, 0o640] {
        chmod(&file, mode);
        let run = status(&file.display().to_string()).expect(0);
        assert!(run.stderr.contains(&format!("(mode {mode:04o}): chmod 600 {}", file.display())), "{run}");
    }
    for mode in [0o664, 0o602] {
        chmod(&file, mode);
        let run = status(&file.display().to_string()).expect(1);
        let result = run.result("n");
        assert_eq!(ended(&result), "failed permission", "{run}");
        assert!(
            result["failure"]["message"].as_str().expect("expected a message").contains(&format!("{mode:04o}")),
            "{run}"
        );
        let hint = result["failure"]["hint"].as_str().expect("expected a hint").to_owned();
        assert_eq!(hint, format!("chmod 600 {}", file.display()), "{run}");
    }
    chmod(&file, 0o600);
    let run = status(&file.display().to_string()).expect(0);
    assert_eq!(ended(&run.result("n")), "ok", "{run}");
}

/// A pipe without a writer, in every option that takes a file: each run ends, and names the file that it waited for.
#[test]
fn a_pipe_without_a_writer_is_given_up() {
    let cluster = Cluster::start(uniform(1));
    let waits = pipe(&cluster, "waits");
    let line = format!("service {COLLECTOR} status");
    let command = |options: &[&str]| {
        let mut command = cluster.bare(&line);
        command.arg("-i").arg(cluster.inventory_path()).args(options);
        Running::start(command)
    };
    let known_hosts = cluster.inventory_path().with_file_name("known_hosts").display().to_string();
    let config = cluster.write("config", format!("Include {waits}\n")).display().to_string();
    let revoked = cluster.write("revoked", format!("RevokedHostKeys {waits}\n")).display().to_string();
    // All at once, because each run waits for its timeout.
    let runs = [
        command(&["--ssh-config", "none", "--known-hosts", &waits]),
        command(&["--ssh-config", &waits, "--known-hosts", &known_hosts]),
        command(&["--ssh-config", &config, "--known-hosts", &known_hosts]),
        command(&["--ssh-config", &revoked, "--known-hosts", &known_hosts]),
    ];
    for run in runs {
        let run = run.finish().expect(2);
        assert!(run.stderr.contains("a pipe without a writer") && run.stderr.contains(&waits), "{run}");
    }
    let run =
        command(&["--ssh-config", "none", "--known-hosts", &known_hosts, "--identity", &waits]).finish().expect(4);
    assert!(run.stdout.contains("not a regular file") || run.stderr.contains("not a regular file"), "{run}");
}

/// A command at the other end of a pipe may write the inventory. Ctrl-C ends the wait for it.
#[test]
fn an_inventory_comes_through_a_pipe() {
    let cluster = Cluster::start(uniform(1));
    let line = format!("service {COLLECTOR} status");
    let path = cluster.path("inventory.pipe");
    pipe(&cluster, "inventory.pipe");
    let run = Running::start(cluster.command_with(&line, &path));
    fs::write(&path, cluster.inventory()).expect("cannot write the file");
    run.finish().expect(0);

    let environment = cluster.bare("");
    let inventory = cluster.inventory_path();
    let words = format!(
        "{} {line} -i <(cat {}) --known-hosts {} --ssh-config none",
        env!("CARGO_BIN_EXE_ctl"),
        inventory.display(),
        inventory.with_file_name("known_hosts").display()
    );
    let mut bash = Command::new("bash");
    bash.args(["-c", &words]).env_clear();
    bash.envs(environment.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))));
    Running::start(bash).finish().expect(0);

    let mut waiting = Running::start(cluster.command_with(&line, &path));
    // Before ctl has opened the pipe, a signal ends it in any case, so the test would prove nothing.
    let _writer = eventually("a reader of the pipe", || {
        rustix::fs::open(&path, OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty()).ok()
    });
    waiting.signal("INT");
    eventually("the waiting run to end", || waiting.has_ended().then_some(()));
}

/// `./inventory.yaml` is used implicitly, so it is rejected if everyone can write it, or can replace it in its
/// directory.
#[test]
fn an_inventory_that_others_may_write() {
    let cluster = Cluster::start(uniform(1));
    let folder = cluster.path("here");
    fs::create_dir(&folder).expect("cannot create the directory");
    let file = folder.join("inventory.yaml");
    fs::write(&file, cluster.inventory()).expect("cannot write the file");
    let list = |words: &str| {
        let mut command = cluster.bare(words);
        command.current_dir(&folder);
        Running::start(command).finish()
    };
    for (file_mode, folder_mode, code) in [(0o644, 0o755, 0), (0o646, 0o755, 2), (0o644, 0o777, 2), (0o644, 0o1777, 0)]
    {
        chmod(&file, file_mode);
        chmod(&folder, folder_mode);
        let run = list("inventory list").expect(code);
        assert_eq!(run.stderr.contains("inventory.yaml is refused"), code == 2, "{run}");
        assert_eq!(run.stderr.contains("give it with -i ./inventory.yaml"), code == 2, "{run}");
    }
    // The same for the other default location, and for every command that reads it.
    let config = cluster.path("config/ctl");
    fs::create_dir_all(&config).expect("cannot create the directory");
    let other = config.join("inventory.yaml");
    fs::copy(&file, &other).expect("copied");
    for (mode, code) in [(0o644, 0), (0o666, 2)] {
        chmod(&other, mode);
        chmod(&file, mode);
        for words in ["inventory list", "ssh-config n01 --ssh-config none"] {
            let mut command = cluster.bare(words);
            command.env("XDG_CONFIG_HOME", cluster.path("config"));
            let run = Running::start(command).finish().expect(code);
            let refused = format!("{} is refused: any user can write to it", other.display());
            assert_eq!(run.stderr.contains(&refused), code == 2, "{run}");
            let hint = format!("give it with -i {}", other.display());
            assert_eq!(run.stderr.contains(&hint), code == 2, "{run}");
        }
        let run = list("ssh-config n01 --ssh-config none").expect(code);
        assert_eq!(run.stderr.contains("inventory.yaml is refused"), code == 2, "{run}");
    }
    // An explicitly named file is used, with a warning.
    chmod(&file, 0o666);
    let run = list("inventory list -i inventory.yaml").expect(0);
    assert!(run.stderr.contains("warning: any user can write to inventory.yaml (mode 0666)"), "{run}");
    let plan = "version: 1\nsteps: [{name: a, role: analytics, services: all, action: restart}]\n";
    let plan = cluster.write("up.yaml", plan);
    chmod(&plan, 0o666);
    chmod(&file, 0o600);
    let run = list(&format!("rollout --validate {} -i inventory.yaml", plan.display())).expect(0);
    assert!(run.stderr.contains("warning: any user can write to") && run.stderr.contains("up.yaml"), "{run}");
}

/// An output file is never more open than the umask allows, or than the file that it replaces; files about a run are
/// private to the user.
#[test]
fn modes_of_what_is_written() {
    let cluster = Cluster::start(uniform(1));
    let [out, saved, log] = ["out.json", "saved.json", "log"].map(|name| cluster.path(name));
    for planted in [0o777, 0o666, 0o200] {
        for file in [&out, &saved] {
            fs::write(file, "planted").expect("cannot write the file");
            chmod(file, planted);
        }
        let words =
            format!("status -o json --out {} --save {} --log-file {}", out.display(), saved.display(), log.display());
        let command = cluster.command(&words);
        let mut shell = Command::new("sh");
        shell.args(["-c", "umask 022; exec \"$@\"", "sh"]).arg(command.get_program()).args(command.get_args());
        shell.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Running::start(shell).finish().expect(0);
        for file in [&out, &saved] {
            assert_eq!(mode(file), planted & 0o644, "{}", file.display());
            assert!(fs::read_to_string(file).is_ok_and(|text| text.starts_with('{')) || planted == 0o200);
        }
    }
    assert_eq!(mode(&log), 0o600);
    cluster.ctl(&format!("service {COLLECTOR} restart -y")).expect(0);
    let journal = cluster.path(".local/state/ctl");
    assert_eq!((mode(&journal), mode(&journal.join("journal.db"))), (0o700, 0o600));
    for (folder, file) in [(0o777, 0o600), (0o770, 0o600), (0o700, 0o666)] {
        chmod(&journal, folder);
        chmod(&journal.join("journal.db"), file);
        let before = cluster.collector("n01").starts;
        let run = cluster.ctl(&format!("service {COLLECTOR} restart -y")).expect(2);
        assert!(run.stderr.contains("others can write to"), "{run}");
        assert_eq!(cluster.collector("n01").starts, before, "{run}");
    }
}

/// The XDG specification requires that relative paths are ignored.
#[test]
fn a_relative_xdg_path_is_ignored() {
    let cluster = Cluster::start(uniform(1));
    let mut command = cluster.command(&format!("service {COLLECTOR} restart -y"));
    command.env("XDG_STATE_HOME", "state").env("XDG_CONFIG_HOME", "config");
    Running::start(command).finish().expect(0);
    assert!(!cluster.path("state").exists());
    assert!(cluster.path(".local/state/ctl/journal.db").exists());
    for (folder, code) in [("config", 2), (".config", 0)] {
        fs::create_dir_all(cluster.path(folder).join("ctl")).expect("cannot create the directory");
        fs::write(cluster.path(folder).join("ctl/inventory.yaml"), cluster.inventory()).expect("cannot write the file");
        let mut command = cluster.bare("inventory list");
        command.env("XDG_CONFIG_HOME", "config");
        Running::start(command).finish().expect(code);
    }
}
