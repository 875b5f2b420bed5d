//! Faults after a successful login: each has the documented effect.

use std::time::{Duration, Instant};

use contrail_lab::{ClusterSpec, Fault, Lab, Moment, NodeSpec, Release, Role, SpawnKind, State, SupervisorVersion};
use dxr::Value;
use tokio::io::AsyncReadExt;

use crate::client::{ANALYTICS, COLLECTOR, Client, Rpc, SOCKET, eventually, hangs, one, request, text};

const YES: Value = Value::Boolean(true);

async fn with(fault: Fault) -> (Lab, Client, Rpc) {
    let lab = one(|n| n.fault(fault)).await;
    let client = Client::root(&lab, "n").await;
    let rpc = client.socket(SOCKET).await;
    (lab, client, rpc)
}

fn state(lab: &Lab) -> State {
    lab.node("n").unwrap().process(ANALYTICS, COLLECTOR).unwrap().state
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_can_hang() {
    let (lab, client, mut rpc) = with(Fault::HangAction).await;
    hangs(400, rpc.call("stopProcess", &[text(COLLECTOR)])).await;
    assert_eq!(state(&lab), State::Stopping);
    let mut rpc = client.socket(SOCKET).await;
    assert_eq!(rpc.info(COLLECTOR).await.0, "STOPPING");
    hangs(400, client.run("service contrail-topology restart")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_cut_between_stop_and_start() {
    let fault = Fault::DropMidAction { after: Moment::Stop, come_back: true };
    let (lab, client, mut rpc) = with(fault).await;
    assert!(rpc.call("stopProcess", &[text(COLLECTOR)]).await.is_err());
    eventually("the connections to be cut", || client.is_closed()).await;
    assert_eq!(state(&lab), State::Stopped);
    // The fault applies once: the next connection can repair the state.
    let client = Client::root(&lab, "n").await;
    let mut rpc = client.socket(SOCKET).await;
    assert_eq!(rpc.call("startProcess", &[text(COLLECTOR)]).await, Ok(YES));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_cut_in_a_start_and_the_node_stays_away() {
    let fault = Fault::DropMidAction { after: Moment::Start, come_back: false };
    let (lab, client, mut rpc) = with(fault).await;
    assert_eq!(rpc.call("stopProcess", &[text(COLLECTOR)]).await, Ok(YES));
    assert!(rpc.call("startProcess", &[text(COLLECTOR)]).await.is_err());
    eventually("the connections to be cut", || client.is_closed()).await;
    eventually("the process to start", || state(&lab) == State::Running).await;
    assert!(Client::open(&lab, lab.node("n").unwrap()).await.is_err());
    lab.node("n").unwrap().clear_fault();
    lab.node("n").unwrap().settled().await;
    Client::root(&lab, "n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_cut_in_the_restart_of_an_instance_which_goes_on() {
    let fault = Fault::DropMidAction { after: Moment::Stop, come_back: true };
    let (lab, client, _rpc) = with(fault).await;
    let node = lab.node("n").unwrap();
    let before = node.supervisor_pid(ANALYTICS);
    client.run("service supervisor-analytics restart").await;
    eventually("the connections to be cut", || client.is_closed()).await;
    eventually("the restart", || state(&lab) == State::Running && node.supervisor_pid(ANALYTICS) != before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_start_stays_starting() {
    let (lab, _client, mut rpc) = with(Fault::SlowStart(Duration::from_millis(700))).await;
    assert_eq!(rpc.call("stopProcess", &[text(COLLECTOR)]).await, Ok(YES));
    let begun = Instant::now();
    assert_eq!(rpc.call("startProcess", &[text(COLLECTOR)]).await, Ok(YES));
    assert!(begun.elapsed() >= Duration::from_millis(1150), "{:?}", begun.elapsed());
    assert_eq!(state(&lab), State::Running);
}

#[tokio::test(flavor = "multi_thread")]
async fn backoff_and_fatal_show_at_once_and_after_a_start() {
    let (lab, client, mut rpc) = with(Fault::Backoff(COLLECTOR.into())).await;
    let (state_name, pid, description) = rpc.info(COLLECTOR).await;
    assert_eq!((state_name.as_str(), pid), ("BACKOFF", 0));
    assert_eq!(description, "Exited too quickly (process log may have details)");
    let name = [text(COLLECTOR)];
    assert_eq!(rpc.call("startProcess", &name).await.unwrap_err().0, 60);
    assert_eq!(rpc.call("stopProcess", &name).await, Ok(YES));
    assert_eq!(rpc.call("startProcess", &name).await, Err((50, "SPAWN_ERROR: contrail-collector".into())));
    lab.node("n").unwrap().clear_fault();

    lab.node("n").unwrap().set_fault(Fault::Fatal("contrail-topology".into()));
    let name = "contrail-topology";
    assert_eq!(rpc.info(name).await.0, "FATAL");
    assert_eq!(rpc.call("startProcess", &[text(name)]).await.unwrap_err().0, 50);
    let topology = || lab.node("n").unwrap().process(ANALYTICS, name).unwrap().state;
    assert_eq!(topology(), State::Backoff);
    eventually("the retries to be used up", || topology() == State::Fatal).await;
    let ran = client.run(&format!("supervisorctl -s unix://{SOCKET} status {name}")).await;
    assert!(ran.out.contains("FATAL     Exited too quickly"), "{}", ran.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn version_3_0_calls_an_early_end_abnormal() {
    let fault = Fault::Fatal(COLLECTOR.into());
    let lab = one(|n| n.supervisor(SupervisorVersion::V3_0).fault(fault)).await;
    let client = Client::root(&lab, "n").await;
    let mut rpc = client.socket(SOCKET).await;
    assert_eq!(
        rpc.call("startProcess", &[text(COLLECTOR)]).await,
        Err((40, "ABNORMAL_TERMINATION: contrail-collector".into()))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_that_cannot_be_spawned() {
    for (kind, fault, after) in [
        (SpawnKind::Spawn, (50, "SPAWN_ERROR: contrail-collector"), State::Backoff),
        (SpawnKind::NoFile, (20, "NO_FILE: can't find command '/usr/bin/contrail-collector'"), State::Stopped),
        (
            SpawnKind::NotExecutable,
            (21, "NOT_EXECUTABLE: command at '/usr/bin/contrail-collector' is not executable"),
            State::Stopped,
        ),
    ] {
        let program = COLLECTOR.to_owned();
        let (lab, _client, mut rpc) = with(Fault::SpawnError { program, kind }).await;
        assert_eq!(rpc.call("stopProcess", &[text(COLLECTOR)]).await, Ok(YES));
        let answer = rpc.call("startProcess", &[text(COLLECTOR)]).await;
        assert_eq!(answer, Err((fault.0, fault.1.to_owned())));
        assert_eq!(state(&lab), after);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unstable_program_runs_and_dies() {
    let after = Duration::from_millis(200);
    let (lab, _client, mut rpc) = with(Fault::Unstable { program: COLLECTOR.into(), after }).await;
    assert_eq!(rpc.call("stopProcess", &[text(COLLECTOR)]).await, Ok(YES));
    assert_eq!(rpc.call("startProcess", &[text(COLLECTOR)]).await, Ok(YES));
    let pid = rpc.info(COLLECTOR).await.1;
    eventually("the process to die", || state(&lab) != State::Running).await;
    eventually("the process to start again", || state(&lab) == State::Running).await;
    assert_ne!(rpc.info(COLLECTOR).await.1, pid);
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_in_place_of_http_and_of_xml() {
    let (lab, client, mut rpc) = with(Fault::GarbageRpc).await;
    rpc.send(&request("supervisor.getState", &[])).await;
    let all = rpc.rest().await;
    assert!(!all.is_empty() && !all.starts_with("HTTP/"), "{all:?}");
    lab.node("n").unwrap().clear_fault();
    lab.node("n").unwrap().set_fault(Fault::GarbageXml);
    let mut rpc = client.socket(SOCKET).await;
    rpc.send(&request("supervisor.getState", &[])).await;
    let (head, body) = rpc.reply().await.unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK"));
    assert!(dxr::MethodResponse::from_xml(&body).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_replies_and_outputs() {
    let (lab, client, mut rpc) = with(Fault::EndlessRpc).await;
    rpc.send(&request("supervisor.getState", &[])).await;
    let mut many = vec![0; 1 << 20];
    rpc.0.read_exact(&mut many).await.unwrap();
    drop(rpc);
    lab.node("n").unwrap().clear_fault();
    lab.node("n").unwrap().set_fault(Fault::EndlessExec);
    let channel = client.start("true").await;
    let mut stream = channel.into_stream();
    stream.read_exact(&mut many).await.unwrap();
    drop(stream);
    lab.node("n").unwrap().clear_fault();
    // The session still works.
    assert_eq!(client.run("echo well").await.out, "well\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn control_characters_come_as_they_are() {
    let (lab, client, mut rpc) = with(Fault::ControlCharacters).await;
    rpc.send(&request("supervisor.getProcessInfo", &[text(COLLECTOR)])).await;
    let (_, body) = rpc.reply().await.unwrap();
    assert!(body.contains("\x1b]0;owned\x07"), "{body:?}");
    lab.node("n").unwrap().set_fault(Fault::Fatal("contrail-topology".into()));
    let ran = client.run(&format!("supervisorctl -s unix://{SOCKET} status")).await;
    assert!(ran.out.contains("\x1b[2J"), "{:?}", ran.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn supervisords_that_are_down_or_were_never_there() {
    let lab = one(|n| n.fault(Fault::SupervisorDown)).await;
    let client = Client::root(&lab, "n").await;
    assert!(client.try_socket(SOCKET).await.is_err());
    let status = format!("supervisorctl -s unix://{SOCKET} status; test -S {SOCKET}; echo $?");
    assert_eq!(client.run(&status).await.out, format!("unix://{SOCKET} refused connection\n0\n"));
    // The init service can bring supervisord back, and so can the removal of the fault.
    client.run("service supervisor-analytics start").await;
    assert!(client.try_socket(SOCKET).await.is_ok());

    lab.node("n").unwrap().clear_fault();
    lab.node("n").unwrap().set_fault(Fault::SupervisorMissing);
    assert!(client.try_socket(SOCKET).await.is_err());
    assert_eq!(client.run(&status).await.out, format!("unix://{SOCKET} no such file\n1\n"));
    let ran = client.run("service supervisor-analytics status").await;
    assert_eq!(ran.code, Some(4), "{ran:?}");
    lab.node("n").unwrap().clear_fault();
    eventually("supervisord to come back", || lab.node("n").unwrap().supervisor_pid(ANALYTICS).is_some()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_instance_of_several_is_down() {
    let node = NodeSpec::new("n", Release::R3_2)
        .roles([Role::Analytics, Role::Database])
        .fault(Fault::InstanceDown("supervisor-database".into()));
    let lab = Lab::start(ClusterSpec::new(vec![node])).await.unwrap();
    let client = Client::root(&lab, "n").await;
    assert!(client.try_socket(SOCKET).await.is_ok());
    assert!(client.try_socket("/var/run/supervisord_database.sock").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisord_that_is_shutting_down_answers_6() {
    let (_lab, client, mut rpc) = with(Fault::ShutdownState).await;
    let fault = Err((6, "SHUTDOWN_STATE".to_owned()));
    assert_eq!(rpc.call("getState", &[]).await, fault);
    assert_eq!(rpc.call("startProcess", &[text(COLLECTOR)]).await, fault);
    let ran = client.run(&format!("supervisorctl -s unix://{SOCKET} status")).await;
    assert!(ran.out.starts_with("error: <class 'xmlrpclib.Fault'>, <Fault 6: 'SHUTDOWN_STATE'>"), "{ran:?}");
    assert_eq!(ran.code, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_that_may_not_be_opened() {
    for fault in [Fault::ForwardingForbidden, Fault::PermissionDenied] {
        let lab = one(|n| n.fault(fault.clone())).await;
        let client = Client::root(&lab, "n").await;
        let Err(russh::Error::ChannelOpenFailure(reason)) = client.try_socket(SOCKET).await else {
            panic!("{fault:?} lets it through");
        };
        assert!(matches!(reason, russh::ChannelOpenFailure::ConnectFailed));
        let ran = client.run(&format!("supervisorctl -s unix://{SOCKET} pid")).await;
        let fine = ran.out.trim().parse::<u32>().is_ok();
        assert_eq!(fine, fault == Fault::ForwardingForbidden, "{ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_tmp_socket_is_there_and_refuses() {
    let (_lab, client, _rpc) = with(Fault::StaleTmpSocket).await;
    let old = "/tmp/supervisord_analytics.sock";
    assert!(client.try_socket(old).await.is_err());
    let ran = client.run(&format!("test -S {old} && supervisorctl -s unix://{old} status")).await;
    assert_eq!(ran.out, format!("unix://{old} refused connection\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_is_lost_though_the_action_is_done() {
    let (lab, client, mut rpc) = with(Fault::ReplyLost).await;
    assert_eq!(rpc.call("stopProcess", &[text(COLLECTOR)]).await, Err((-1, "closed".into())));
    assert_eq!(state(&lab), State::Stopped);
    let ran = client.run("service contrail-collector start").await;
    assert_eq!((ran.code, ran.out.as_str()), (None, ""));
    assert_eq!(state(&lab), State::Running);
    let mut rpc = client.socket(SOCKET).await;
    assert_eq!(rpc.info(COLLECTOR).await.0, "RUNNING");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_configuration_cannot_be_reread() {
    let (_lab, _client, mut rpc) = with(Fault::BadConfig).await;
    let (code, words) = rpc.call("reloadConfig", &[]).await.unwrap_err();
    assert_eq!(code, 92);
    assert!(words.starts_with("CANT_REREAD: "), "{words}");
}
