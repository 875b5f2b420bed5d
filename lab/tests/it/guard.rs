//! The guard as a client uses it: the lock of the node, armed codes, and the rescue when the client falls silent.

use std::time::{Duration, Instant};

use contrail_lab::{ClusterSpec, Fault, GuardSnapshot, Lab, NodeSpec, Release, Role, State, UserPolicy};
use russh::Channel;
use russh::ChannelMsg;
use russh::client::Msg;

use crate::client::{ANALYTICS, COLLECTOR, Client, SOCKET, eventually, hangs};

const WORDS: &str = "run=r1 user=ann host=desk since=2026-11-22T10:00:00Z reason=new%20release";

/// A lab whose guards wait this long for a line.
async fn lab(silence: Duration, change: impl FnOnce(NodeSpec) -> NodeSpec) -> Lab {
    let node = NodeSpec::new("n", Release::R3_2).roles([Role::Analytics, Role::Database]);
    Lab::start(ClusterSpec::new(vec![change(node)]).guard_silence(silence)).await.unwrap()
}

async fn patient() -> Lab {
    lab(Duration::from_secs(30), |n| n).await
}

fn seen(lab: &Lab) -> GuardSnapshot {
    lab.node("n").unwrap().guard()
}

/// A guard's channel, read line by line.
struct Guard {
    channel: Channel<Msg>,
    text: String,
    code: Option<u32>,
    signal: bool,
}

impl Guard {
    /// Sends the command and its two scripts; reads nothing yet.
    async fn start(client: &Client, words: &str) -> Self {
        let script = r#"trap "" HUP; IFS= read -r a; echo '\''it'\''; IFS= read -r b; while :; do eval "$(x)"; done"#;
        let channel = client.start(&format!("exec /bin/sh -c '{script}' ctl-guard @7f {words}")).await;
        let mut guard = Self { channel, text: String::new(), code: None, signal: false };
        let long = "x() { echo a; }\u{1f}".repeat(1000);
        guard.send(&format!("one\u{1f}two\n{long}\n")).await;
        guard
    }

    /// A guard that has the lock.
    async fn ready(client: &Client) -> Self {
        let mut guard = Self::start(client, WORDS).await;
        assert_eq!(guard.line().await.as_deref(), Some("@7f ready"));
        guard
    }

    async fn send(&mut self, text: &str) {
        self.channel.data_bytes(text.as_bytes().to_vec()).await.unwrap();
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some((line, rest)) = self.text.split_once('\n') {
                let line = line.to_owned();
                self.text = rest.to_owned();
                return Some(line);
            }
            match self.channel.wait().await? {
                ChannelMsg::Data { data } => self.text.push_str(&String::from_utf8_lossy(&data)),
                ChannelMsg::ExitStatus { exit_status } => self.code = Some(exit_status),
                ChannelMsg::ExitSignal { .. } => self.signal = true,
                _ => {}
            }
        }
    }

    /// Sends a line and expects this reply.
    async fn says(&mut self, line: &str, answer: &str) {
        self.send(&format!("{line}\n")).await;
        assert_eq!(self.line().await.as_deref(), Some(format!("@7f {answer}").as_str()), "{line}");
    }

    /// The lines up to the end of the channel, and the exit code.
    async fn end(&mut self) -> (Vec<String>, Option<u32>) {
        let mut all = Vec::new();
        while let Some(line) = self.line().await {
            all.push(line);
        }
        (all, self.code)
    }
}

fn up(name: &str) -> String {
    format!("up 20 - '{name}' supervisorctl -s unix://{SOCKET}")
}

fn state(lab: &Lab) -> State {
    lab.node("n").unwrap().process(ANALYTICS, COLLECTOR).unwrap().state
}

/// Stops the collector and waits until it is stopped.
async fn stop(client: &Client, lab: &Lab) {
    client.run(&format!("supervisorctl -s unix://{SOCKET} stop {COLLECTOR}")).await;
    assert_eq!(state(lab), State::Stopped);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_arms_disarms_and_quits() {
    let lab = patient().await;
    let client = Client::root(&lab, "n").await;
    assert_eq!(seen(&lab), GuardSnapshot::default());
    let mut guard = Guard::ready(&client).await;
    assert_eq!((seen(&lab).holder.as_deref(), seen(&lab).guards), (Some(WORDS), 1));
    guard.says(&format!("+1 {}", up(COLLECTOR)), "+1").await;
    guard.says("+20 init 5 - contrail-database", "+20").await;
    guard.says(".", ".").await;
    // Lines outside the protocol get no reply.
    guard.send("nonsense\n+x y\n-z\n\n").await;
    guard.says("-20", "-20").await;
    guard.says("-20", "-20").await;
    assert_eq!(seen(&lab).armed, [(1, up(COLLECTOR))]);
    stop(&client, &lab).await;
    guard.send("q\n").await;
    assert_eq!(guard.end().await, (vec![], Some(0)));
    assert_eq!(seen(&lab), GuardSnapshot::default());
    assert_eq!(state(&lab), State::Stopped);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rescue_is_tried_before_it_is_armed() {
    let lab =
        lab(Duration::from_secs(30), |node| NodeSpec { rpc_auth: Some(("op".into(), "a%b".into())), ..node }).await;
    let client = Client::root(&lab, "n").await;
    let mut guard = Guard::ready(&client).await;
    let lines = async |guard: &mut Guard, code: &str| {
        guard.send(&format!("?7 {code}\n")).await;
        let mut said = Vec::new();
        while let Some(line) = guard.line().await {
            match line.strip_prefix("@7f >7 ") {
                Some(line) => said.push(line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")),
                None => {
                    assert_eq!(line, "@7f ?7");
                    break;
                }
            }
        }
        said
    };
    let refused = lines(&mut guard, &format!("ask 8 - supervisorctl -s unix://{SOCKET} status {COLLECTOR}")).await;
    assert_eq!(refused[0], "Server requires");
    guard
        .send(&format!("=1 [supervisorctl]\u{1f}serverurl=unix://{SOCKET}\u{1f}username=op\u{1f}password=a%%b\n"))
        .await;
    let known = lines(&mut guard, &format!("ask 8 1 supervisorctl -c /dev/stdin status {COLLECTOR} nope")).await;
    assert!(known.contains(&format!("{COLLECTOR} RUNNING")) && known.contains(&"nope: ERROR".to_owned()), "{known:?}");
    assert!(known.last().unwrap().starts_with("exit "), "{known:?}");
    assert_eq!(lines(&mut guard, "ask 8 - service contrail-database status").await.last().unwrap(), "exit 0");
    assert_eq!(lines(&mut guard, "ask 8 - nonesuch").await.last().unwrap(), "exit 127");
    // The rescue uses the settings that the client handed over.
    guard.says(&format!("+1 up 20 1 '{COLLECTOR}' supervisorctl -c /dev/stdin"), "+1").await;
    lab.node("n").unwrap().cut_connections();
    eventually("the rescue to end", || seen(&lab).rescues == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lock_is_one_for_all_connections_and_shared_by_a_run() {
    let lab = patient().await;
    let (one, two) = (Client::root(&lab, "n").await, Client::root(&lab, "n").await);
    let mut first = Guard::ready(&one).await;
    let mut other = Guard::start(&two, "run=r2 user=bob host=desk since=S reason=R").await;
    assert_eq!(other.end().await, (vec!["@7f held".to_owned(), format!("@7f by {WORDS}")], Some(0)));
    let mut same = Guard::start(&two, "run=r1 user=ann host=desk since=later reason=R").await;
    assert_eq!(same.line().await.as_deref(), Some("@7f ready"));
    assert_eq!((seen(&lab).holder.as_deref(), seen(&lab).guards), (Some(WORDS), 2));
    // The second guard does not hold the lock, so its end changes nothing, and it does not inherit the lock.
    same.send("q\n").await;
    same.end().await;
    assert_eq!(seen(&lab).holder.as_deref(), Some(WORDS));
    first.send("q\n").await;
    first.end().await;
    assert_eq!(seen(&lab).holder, None);
    Guard::ready(&two).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_taken_from_outside_is_held_until_it_is_given_back() {
    let lab = patient().await;
    let node = lab.node("n").unwrap();
    let client = Client::root(&lab, "n").await;
    assert!(!node.release_lock());
    assert!(node.take_lock("run=x user=eve host=h since=S reason=R"));
    assert!(!node.take_lock("run=y"));
    let mut guard = Guard::start(&client, WORDS).await;
    assert_eq!(guard.end().await.0, ["@7f held", "@7f by run=x user=eve host=h since=S reason=R"]);
    assert!(node.release_lock());
    let mut guard = Guard::ready(&client).await;
    assert!(!node.release_lock() && !node.take_lock("run=y"));
    guard.says(".", ".").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_stdin_of_the_channel_and_of_the_connection_each_rescue() {
    let lab = patient().await;
    let client = Client::root(&lab, "n").await;
    for how in 1..=3 {
        let own = Client::root(&lab, "n").await;
        let mut guard = Guard::ready(&own).await;
        guard.says(&format!("+1 {}", up(COLLECTOR)), "+1").await;
        stop(&client, &lab).await;
        match how {
            1 => {
                guard.channel.eof().await.unwrap();
                assert_eq!(guard.end().await, (vec![], Some(0)));
            }
            2 => guard.channel.close().await.unwrap(),
            _ => lab.node("n").unwrap().cut_connections(),
        }
        eventually("the rescue to end", || seen(&lab).rescues == how && seen(&lab).holder.is_none()).await;
        assert_eq!(state(&lab), State::Running);
        assert_eq!(seen(&lab).armed, []);
        if how == 3 {
            eventually("the connections to be cut", || client.is_closed()).await;
        }
    }
    assert_eq!(seen(&lab).rescued, vec![up(COLLECTOR); 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_channel_is_rescued_and_ended_a_heartbeat_keeps_it() {
    let lab = lab(Duration::from_millis(600), |n| n).await;
    let client = Client::root(&lab, "n").await;
    let mut guard = Guard::ready(&client).await;
    guard.says(&format!("+1 {}", up(COLLECTOR)), "+1").await;
    stop(&client, &lab).await;
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        guard.says(".", ".").await;
    }
    assert_eq!((state(&lab), seen(&lab).rescues), (State::Stopped, 0));
    let begun = Instant::now();
    assert_eq!(guard.end().await, (vec![], Some(0)));
    assert!(begun.elapsed() >= Duration::from_millis(550), "{:?}", begun.elapsed());
    assert_eq!((state(&lab), seen(&lab).rescues), (State::Running, 1));
    // A guard with nothing armed ends the same way, and rescues nothing.
    let mut guard = Guard::ready(&client).await;
    guard.end().await;
    assert_eq!(seen(&lab).rescues, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_is_a_silence() {
    let lab = lab(Duration::from_millis(400), |n| n).await;
    let client = Client::root(&lab, "n").await;
    let mut guard = Guard::ready(&client).await;
    guard.says(&format!("+1 {}", up(COLLECTOR)), "+1").await;
    stop(&client, &lab).await;
    lab.node("n").unwrap().partition(Some(Duration::from_millis(1800)));
    guard.send(".\n").await;
    hangs(200, guard.line()).await;
    eventually("the rescue to end", || seen(&lab).rescues == 1).await;
    assert_eq!(state(&lab), State::Running);
    assert!(!client.is_closed());
    // The channel reports the end after the network is back, and the late line gets no reply.
    assert_eq!(guard.end().await, (vec![], Some(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lock_is_held_until_the_rescue_is_over() {
    let lab = lab(Duration::from_secs(30), |n| n.fault(Fault::SlowStart(Duration::from_millis(800)))).await;
    let client = Client::root(&lab, "n").await;
    let own = Client::root(&lab, "n").await;
    let mut guard = Guard::ready(&own).await;
    guard.says(&format!("+1 {}", up(COLLECTOR)), "+1").await;
    stop(&client, &lab).await;
    drop((guard, own));
    eventually("the rescue to begin", || seen(&lab).rescuing).await;
    assert_eq!(seen(&lab).holder.as_deref(), Some(WORDS));
    let mut other = Guard::start(&client, "run=r2").await;
    assert_eq!(other.end().await.0[0], "@7f held");
    eventually("the rescue to end", || seen(&lab).holder.is_none()).await;
    assert_eq!((state(&lab), seen(&lab).rescues, seen(&lab).rescuing), (State::Running, 1, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_guard_rescues_nothing_and_leaves_the_lock_free() {
    let lab = patient().await;
    let client = Client::root(&lab, "n").await;
    let mut guard = Guard::ready(&client).await;
    guard.says(&format!("+1 {}", up(COLLECTOR)), "+1").await;
    stop(&client, &lab).await;
    assert_eq!(lab.node("n").unwrap().kill_guards(), 1);
    assert_eq!(guard.end().await, (vec![], None));
    assert!(guard.signal);
    assert_eq!(seen(&lab), GuardSnapshot::default());
    assert_eq!(state(&lab), State::Stopped);
    assert_eq!(lab.node("n").unwrap().kill_guards(), 0);
}

/// Arms the code, lets the channel end, and waits for the end of the rescue.
async fn rescue(lab: &Lab, user: &str, code: &str) {
    let client = Client::user(lab, "n", user).await;
    let before = seen(lab).rescues;
    let mut guard = Guard::ready(&client).await;
    guard.says(&format!("+1 {code}"), "+1").await;
    guard.channel.eof().await.unwrap();
    guard.end().await;
    assert_eq!(seen(lab).rescues, before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_still_stopping_is_tried_again() {
    let lab = patient().await;
    let node = lab.node("n").unwrap();
    let client = Client::root(&lab, "n").await;
    node.set_fault(Fault::HangAction);
    hangs(100, client.run(&format!("supervisorctl -s unix://{SOCKET} stop {COLLECTOR}"))).await;
    assert_eq!(state(&lab), State::Stopping);
    node.clear_fault();
    // The process stops when it is killed, half a second into the rescue.
    let kill = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(node.kill(ANALYTICS, COLLECTOR));
    };
    let code = up(COLLECTOR);
    tokio::join!(rescue(&lab, "root", &code), kill);
    assert_eq!(state(&lab), State::Running);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rescue_ends_at_its_limit_and_at_a_fatal_process() {
    let lab = patient().await;
    let node = lab.node("n").unwrap();
    node.set_fault(Fault::Fatal(COLLECTOR.into()));
    assert_eq!(state(&lab), State::Fatal);
    rescue(&lab, "root", &up(COLLECTOR)).await;
    assert_eq!(state(&lab), State::Fatal);
    node.clear_fault();
    // A process that is FATAL is started once.
    rescue(&lab, "root", &up(COLLECTOR)).await;
    assert_eq!(state(&lab), State::Running);
    node.set_fault(Fault::SupervisorDown);
    let begun = Instant::now();
    rescue(&lab, "root", &format!("up 1 {COLLECTOR} supervisorctl -s unix://{SOCKET}")).await;
    assert!(begun.elapsed() >= Duration::from_secs(1) && begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_group_is_added_and_started_with_the_rights_of_sudo() {
    let lab = lab(Duration::from_secs(30), |n| n.policy(UserPolicy::SudoNoPassword)).await;
    let client = Client::user(&lab, "n", "admin").await;
    let ctl = format!("sudo -n supervisorctl -s unix://{SOCKET}");
    client.run(&format!("{ctl} stop {COLLECTOR}")).await;
    client.run(&format!("{ctl} remove {COLLECTOR}")).await;
    assert_eq!(lab.node("n").unwrap().process(ANALYTICS, COLLECTOR), None);
    // Without sudo it has no permission, and prints nothing.
    rescue(&lab, "admin", &format!("grp 1 - {COLLECTOR} supervisorctl -s unix://{SOCKET}")).await;
    assert_eq!(lab.node("n").unwrap().process(ANALYTICS, COLLECTOR), None);
    rescue(&lab, "admin", &format!("grp 20 - {COLLECTOR} {ctl}")).await;
    assert_eq!(state(&lab), State::Running);
    client.run(&format!("{ctl} stop {COLLECTOR}")).await;
    rescue(&lab, "admin", &format!("grp 20 - '{COLLECTOR}' {ctl}")).await;
    assert_eq!(state(&lab), State::Running);
}

#[tokio::test(flavor = "multi_thread")]
async fn services_of_init_are_started() {
    let lab = lab(Duration::from_secs(30), |n| n.policy(UserPolicy::SudoNoPassword)).await;
    let node = lab.node("n").unwrap();
    let client = Client::user(&lab, "n", "admin").await;
    let database = || node.service("contrail-database").unwrap();
    client.run("sudo -n service contrail-database stop").await;
    assert_eq!(database().pid, 0);
    rescue(&lab, "admin", "init 5 - contrail-database sudo -n").await;
    assert_eq!((database().pid != 0, database().starts), (true, 2));
    rescue(&lab, "admin", "init 5 - contrail-database sudo -n").await;
    assert_eq!(database().starts, 2);
    client.run("sudo -n service supervisor-analytics stop").await;
    assert_eq!(node.supervisor_pid(ANALYTICS), None);
    rescue(&lab, "admin", "init 5 - supervisor-analytics sudo -n").await;
    assert!(node.supervisor_pid(ANALYTICS).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_without_flock_without_a_shell_and_with_a_talkative_one() {
    let lab = patient().await;
    let node = lab.node("n").unwrap();
    let client = Client::root(&lab, "n").await;
    node.set_fault(Fault::NoFlock);
    let mut guard = Guard::start(&client, WORDS).await;
    assert_eq!(guard.end().await, (vec!["@7f noflock".to_owned()], Some(0)));
    node.clear_fault();
    node.set_fault(Fault::NoLogin);
    let mut guard = Guard::start(&client, WORDS).await;
    assert_eq!(guard.end().await, (vec!["This account is currently not available.".to_owned()], Some(1)));
    assert_eq!(client.run("true").await.code, Some(1));
    node.clear_fault();
    node.set_fault(Fault::ChattyLogin);
    let mut guard = Guard::start(&client, WORDS).await;
    for words in ["*** Authorised users only ***", "You have new mail.", "@7f ready"] {
        assert_eq!(guard.line().await.as_deref(), Some(words));
    }
    assert_eq!(client.run("echo a; exit 3").await.out.lines().count(), 3);
    assert_eq!(Fault::parse("no-flock").unwrap(), Fault::NoFlock);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_ends_before_the_scripts_are_there_leaves_nothing() {
    let lab = patient().await;
    let client = Client::root(&lab, "n").await;
    let channel = client.start(&format!("exec /bin/sh -c 'x' ctl-guard @7f {WORDS}")).await;
    channel.data_bytes(b"one\ntwo without an end".to_vec()).await.unwrap();
    eventually("the guard to start", || seen(&lab).guards == 1).await;
    drop(client);
    drop(channel);
    lab.node("n").unwrap().cut_connections();
    eventually("the guard to end", || seen(&lab) == GuardSnapshot::default()).await;
}
