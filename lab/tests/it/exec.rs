//! Commands sent with exec: supervisorctl by version, services by init system, sudo by policy, a small shell.

use contrail_lab::{
    ClusterSpec, Fault, InitFlavour, Lab, NodeSpec, Release, Role, State, SupervisorVersion, UserPolicy,
};

use crate::client::{ANALYTICS, COLLECTOR, Client, Ran, SOCKET, eventually, one};

fn ran(code: u32, out: &str, err: &str) -> Ran {
    Ran { code: Some(code), out: out.to_owned(), err: err.to_owned() }
}

async fn config(release: Release, version: SupervisorVersion) -> (Lab, Client, String) {
    let node = NodeSpec::new("n", release).roles([Role::Config]).supervisor(version);
    let lab = Lab::start(ClusterSpec::new(vec![node])).await.unwrap();
    let client = Client::root(&lab, "n").await;
    let url = lab.node("n").unwrap().url("supervisor-config").unwrap();
    (lab, client, format!("supervisorctl -s {url}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn supervisorctl_3_0_always_ends_0_and_prints_the_old_layout() {
    let (_lab, client, ctl) = config(Release::R2_20, SupervisorVersion::V3_0).await;
    let all = client.run(&format!("{ctl} status")).await;
    let line = all.out.lines().find(|l| l.starts_with("contrail-api:0")).unwrap();
    assert!(line.starts_with("contrail-api:0                   RUNNING    pid "), "{line:?}");
    assert_eq!(
        client.run(&format!("{ctl} status contrail-api nope")).await,
        ran(0, "No such process contrail-api\nNo such process nope\n", "")
    );
    assert_eq!(
        client.run(&format!("{ctl} start contrail-schema nope")).await,
        ran(0, "contrail-schema: ERROR (already started)\nnope: ERROR (no such process)\n", "")
    );
    assert_eq!(
        client.run(&format!("{ctl} restart contrail-discovery:*")).await,
        ran(0, "0: stopped\n0: started\n", "")
    );
    let raised = client.run(&format!("{ctl} stop nope:*")).await;
    assert!(raised.out.starts_with("error: <class 'xmlrpclib.Fault'>, <Fault 10: 'BAD_NAME: nope'>"), "{raised:?}");
    assert_eq!(raised.code, Some(2));
    assert_eq!(
        client.run("supervisorctl -s unix:///tmp/nope.sock restart x").await,
        ran(0, "unix:///tmp/nope.sock no such file\n", "")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn supervisorctl_4_2_5_ends_with_lsb_codes() {
    let (lab, client, ctl) = config(Release::R3_2, SupervisorVersion::V4_2_5).await;
    let run = |args: &str| {
        let line = format!("{ctl} {args}");
        let client = &client;
        async move { client.run(&line).await }
    };
    lab.node("n").unwrap().set_fault(Fault::Fatal("contrail-schema".into()));
    let all = run("status").await;
    assert_eq!(all.code, Some(3));
    let line = all.out.lines().find(|l| l.starts_with("contrail-schema")).unwrap();
    assert_eq!(line, "contrail-schema                  FATAL     Exited too quickly (process log may have details)");
    assert_eq!(run("status nope").await, ran(4, "nope: ERROR (no such process)\n", ""));
    assert_eq!(run("status nope:*").await, ran(4, "nope: ERROR (no such group)\n", ""));
    assert_eq!(run("start contrail-schema").await, ran(7, "contrail-schema: ERROR (spawn error)\n", ""));
    assert_eq!(run("start ifmap").await, ran(0, "ifmap: ERROR (already started)\n", ""));
    assert_eq!(run("start nope").await, ran(1, "nope: ERROR (no such process)\n", ""));
    assert_eq!(run("start nope:*").await, ran(2, "nope: ERROR (no such group)\n", ""));
    assert_eq!(run("restart contrail-api:*").await, ran(0, "contrail-api:0: stopped\ncontrail-api:0: started\n", ""));
    assert_eq!(run("start").await.code, Some(2));
    assert_eq!(run("frob x").await, ran(1, "*** Unknown syntax: frob x\n", ""));
    assert_eq!(run("reread").await, ran(0, "No config updates to processes\n", ""));
    let nowhere = "supervisorctl -s unix:///nope.sock";
    assert_eq!(client.run(&format!("{nowhere} status")).await.code, Some(4));
    assert_eq!(client.run(&format!("{nowhere} start x")).await.code, Some(7));
    let update = client.run(&format!("{nowhere} update")).await;
    assert!(
        update.out.starts_with("error: <class 'FileNotFoundError'>, [Errno 2] No such file or directory: file: "),
        "{update:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_and_pid() {
    let (lab, client, ctl) = config(Release::R3_2, SupervisorVersion::V3_3).await;
    let pid = lab.node("n").unwrap().process("supervisor-config", "contrail-api:0").unwrap().pid;
    assert_eq!(client.run(&format!("{ctl} pid contrail-api:0")).await.out, format!("{pid}\n"));
    assert!(client.run(&format!("{ctl} tail contrail-schema")).await.out.ends_with("contrail-schema: started\n\n"));
    assert_eq!(client.run(&format!("{ctl} tail nope")).await.out, "nope: ERROR (no such process name)\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrappers_print_what_supervisorctl_prints() {
    let lab = one(|n| n).await;
    let client = Client::root(&lab, "n").await;
    let both = "contrail-collector: stopped\ncontrail-collector: started\n";
    assert_eq!(client.run("service contrail-collector restart").await, ran(0, both, ""));
    assert_eq!(client.run("sudo -n /usr/sbin/service contrail-collector restart").await, ran(0, both, ""));
    assert_eq!(lab.node("n").unwrap().process(ANALYTICS, COLLECTOR).unwrap().starts, 3);
    lab.node("n").unwrap().set_fault(Fault::LyingExitCode);
    assert_eq!(client.run("service contrail-collector restart").await, ran(1, both, ""));
    lab.node("n").unwrap().clear_fault();
    lab.node("n").unwrap().set_fault(Fault::NoSupervisorctl);
    let gone = client.run("supervisorctl -s unix:///x status").await;
    assert_eq!(gone, ran(127, "", "sh: 1: supervisorctl: not found\n"));
    assert_eq!(client.run("service contrail-collector status").await.code, Some(127));
    assert_eq!(client.run("command -v supervisorctl || echo none").await.out, "none\n");
}

async fn analytics(init: InitFlavour) -> (Lab, Client) {
    let lab = one(|n| n.init(init)).await;
    let client = Client::root(&lab, "n").await;
    (lab, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_under_sysv() {
    let (lab, client) = analytics(InitFlavour::SysV).await;
    let node = lab.node("n").unwrap();
    let pid = || node.supervisor_pid(ANALYTICS).unwrap();
    let before = pid();
    let status = "service supervisor-analytics status";
    assert_eq!(client.run(status).await, ran(0, &format!("supervisord (pid  {before}) is running...\n"), ""));
    assert_eq!(client.run("service supervisor-analytics restart").await.code, Some(0));
    assert_ne!(pid(), before);
    assert_eq!(client.run("service supervisor-analytics stop").await.code, Some(0));
    assert_eq!(client.run(status).await, ran(3, "supervisord is stopped\n", ""));
    client.run("service supervisor-analytics start").await;
    node.set_fault(Fault::SupervisorDown);
    assert_eq!(client.run(status).await, ran(1, "supervisord dead but pid file exists\n", ""));
    assert_eq!(client.run("service nope status").await, ran(1, "", "nope: unrecognized service\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_under_upstart() {
    let (lab, client) = analytics(InitFlavour::Upstart).await;
    let pid = || lab.node("n").unwrap().supervisor_pid(ANALYTICS).unwrap();
    let name = ANALYTICS;
    assert_eq!(
        client.run(&format!("service {name} status")).await,
        ran(0, &format!("{name} start/running, process {}\n", pid()), "")
    );
    let restarted = client.run(&format!("service {name} restart")).await;
    assert_eq!(restarted, ran(0, &format!("{name} stop/waiting\n{name} start/running, process {}\n", pid()), ""));
    assert_eq!(
        client.run(&format!("service {name} start")).await,
        ran(1, "", &format!("start: Job is already running: {name}\n"))
    );
    assert_eq!(client.run(&format!("service {name} stop")).await, ran(0, &format!("{name} stop/waiting\n"), ""));
    assert_eq!(client.run(&format!("service {name} status")).await, ran(0, &format!("{name} stop/waiting\n"), ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_under_systemd() {
    let (lab, client) = analytics(InitFlavour::Systemd).await;
    let pid = lab.node("n").unwrap().supervisor_pid(ANALYTICS).unwrap();
    let status = client.run("service supervisor-analytics status").await;
    assert_eq!(status.code, Some(0));
    assert!(status.out.contains("   Active: active (running) since "), "{}", status.out);
    assert!(status.out.contains(&format!(" Main PID: {pid} (supervisord)\n")), "{}", status.out);
    let restart = client.run("service supervisor-analytics restart").await;
    assert!(restart.out.starts_with("Restarting supervisor-analytics (via systemctl):"), "{restart:?}");
    assert_eq!(client.run("systemctl stop supervisor-analytics").await, ran(0, "", ""));
    let status = client.run("systemctl status supervisor-analytics.service").await;
    assert_eq!(status.code, Some(3));
    assert!(status.out.contains("Active: inactive (dead)"), "{}", status.out);
    let nope = client.run("service nope restart").await;
    assert_eq!(nope.code, Some(5));
    assert!(nope.err.contains("Failed to restart nope.service: Unit not found."), "{nope:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cassandra_is_an_init_service_from_3_0() {
    let mut node = NodeSpec::new("n", Release::R3_2).roles([Role::Database]);
    node.database_exited = true;
    let lab = Lab::start(ClusterSpec::new(vec![node])).await.unwrap();
    let client = Client::root(&lab, "n").await;
    let status = client.run("service contrail-database status").await;
    assert!(status.out.contains("Active: active (exited) since "), "{status:?}");
    assert_eq!(status.code, Some(3));
    assert_eq!(client.run("service contrail-database restart").await.code, Some(0));
    let seen = lab.node("n").unwrap().service("contrail-database").unwrap();
    assert_eq!((seen.starts, seen.stops), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn sudo_does_as_the_policy_says() {
    let pid = format!("sudo -n supervisorctl -s unix://{SOCKET} pid");
    let bare = format!("supervisorctl -s unix://{SOCKET} pid");
    for (policy, code, err) in [
        (UserPolicy::SudoNoPassword, 0, ""),
        (UserPolicy::SudoPassword("pw".into()), 1, "sudo: a password is required\n"),
        (UserPolicy::RequireTty, 1, "sudo: sorry, you must have a tty to run sudo\n"),
        (UserPolicy::NoSudo, 1, "sudo: a password is required\n"),
    ] {
        let lab = one(|n| n.policy(policy.clone())).await;
        let client = Client::user(&lab, "n", "admin").await;
        assert!(client.try_socket(SOCKET).await.is_err(), "{policy:?}");
        let got = client.run(&pid).await;
        assert_eq!((got.code, got.err.as_str()), (Some(code), err), "{policy:?}");
        let denied = client.run(&bare).await;
        assert!(denied.out.starts_with("error: <class 'socket.error'>, [Errno 13] Permission denied"), "{denied:?}");
        assert_eq!(denied.code, Some(2));
    }
    let lab = one(|n| n.policy(UserPolicy::SocketGroup)).await;
    let client = Client::user(&lab, "n", "admin").await;
    assert!(client.try_socket(SOCKET).await.is_ok());
    assert_eq!(client.run(&bare).await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn sudo_takes_a_password_from_stdin_and_leaves_the_rest() {
    let lab = one(|n| n.policy(UserPolicy::SudoPassword("pw".into()))).await;
    let client = Client::user(&lab, "n", "admin").await;
    let got = client.run_with("sudo -S -p ask: cat", "pw\nmore\n").await;
    assert_eq!(got, ran(0, "more\n", "ask:"));
    let got = client.run_with("sudo -S -p ask: id -u", "no\npw\n").await;
    assert_eq!(got, ran(0, "0\n", "ask:Sorry, try again.\nask:"));
    assert_eq!(client.run_with("sudo -S -p '' id -u", "a\nb\nc\n").await.code, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_and_small_scripts() {
    let lab = one(|n| n).await;
    lab.node("n").unwrap().put_file("/etc/issue", "Lab\n");
    let client = Client::root(&lab, "n").await;
    for (script, out, code) in [
        ("test -S /var/run/supervisord_analytics.sock && echo yes || echo no", "yes\n", 0),
        ("[ -S /tmp/nope ] || { echo no; exit 3; }; echo never", "no\n", 3),
        ("sh -c 'true; false'", "", 1),
        (
            "for s in /tmp/a /var/run/supervisord_analytics.sock; do test -S \"$s\" && echo \"$s\"; done",
            "/var/run/supervisord_analytics.sock\n",
            0,
        ),
        ("if [ -e /nope ]; then echo a; elif test -f /etc/issue; then cat /etc/issue; else echo c; fi", "Lab\n", 0),
        ("command -v supervisorctl sudo", "/usr/bin/supervisorctl\n/usr/bin/sudo\n", 0),
        ("x=5; test $x -gt 4 && printf '%s=%s\\n' x $x", "x=5\n", 0),
        ("cat /nope 2>/dev/null; echo $?", "1\n", 0),
        ("echo err 1>&2 2>/dev/null; frob >/dev/null 2>&1 || echo gone", "gone\n", 0),
    ] {
        let got = client.run(script).await;
        assert_eq!((got.out.as_str(), got.code), (out, Some(code)), "{script}: {got:?}");
    }
    assert_eq!(client.run("frob -x").await, ran(127, "", "sh: 1: frob: not found\n"));
    let pid = lab.node("n").unwrap().supervisor_pid(ANALYTICS).unwrap();
    assert_eq!(client.run("cat /var/run/supervisord-analytics.pid").await.out, format!("{pid}\n"));
    assert_eq!(client.run_with("sh -s", "echo from stdin\n").await.out, "from stdin\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vrouter_restart_can_cut_the_connection_and_goes_on() {
    let mut node = NodeSpec::new("n", Release::R3_2).roles([Role::Compute]);
    node.vrouter_cuts_ssh = true;
    let lab = Lab::start(ClusterSpec::new(vec![node])).await.unwrap();
    let before = lab.node("n").unwrap().supervisor_pid("supervisor-vrouter");
    let client = Client::root(&lab, "n").await;
    let command = "setsid service supervisor-vrouter restart </dev/null >/dev/null 2>&1 &";
    client.run(command).await;
    eventually("the connections to be cut", || client.is_closed()).await;
    let agent = || lab.node("n").unwrap().process("supervisor-vrouter", "contrail-vrouter-agent").unwrap();
    eventually("the process to restart", || agent().starts == 2 && agent().state == State::Running).await;
    assert_ne!(lab.node("n").unwrap().supervisor_pid("supervisor-vrouter"), before);
    Client::root(&lab, "n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_goes_on_when_its_client_is_gone() {
    let lab = one(|n| n).await;
    let client = Client::root(&lab, "n").await;
    let channel = client.start("service contrail-collector restart").await;
    let collector = || lab.node("n").unwrap().process(ANALYTICS, COLLECTOR).unwrap();
    eventually("the process to stop", || collector().stops == 1).await;
    drop(channel);
    drop(client);
    eventually("the process to start", || collector().state == State::Running && collector().starts == 2).await;
}
