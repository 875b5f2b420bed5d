//! Connecting and failing to connect: real SSH, host keys, logins, broken networks.

use std::time::{Duration, Instant};

use contrail_lab::{ClusterSpec, Fault, Lab, UserPolicy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::client::{ANALYTICS, COLLECTOR, Client, SOCKET, eventually, hangs, one, request, ssh};

async fn tcp(lab: &Lab) -> std::io::Result<TcpStream> {
    TcpStream::connect((lab.node("n").unwrap().address(), lab.port())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn openssh_logs_in_and_runs_a_command() {
    let lab = one(|n| n).await;
    let ran = ssh(&lab, &["n", "echo hello; exit 7"]).await;
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "hello\n");
    assert_eq!(ran.status.code(), Some(7));
    let seen = lab.node("n").unwrap().counters();
    assert_eq!((seen.connections, seen.logins), (1, 1));
    assert_eq!(seen.execs, ["echo hello; exit 7"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn openssh_forwards_the_socket() {
    let lab = one(|n| n).await;
    let local = lab.dir().join("forward.sock");
    let forward = format!("{}:{SOCKET}", local.display());
    let mut child = tokio::process::Command::new("ssh")
        .arg("-F")
        .arg(lab.ssh_config_path())
        .args(["-N", "-L", &forward, "n"])
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    // The file is there as soon as `ssh` binds it, which is before it listens.
    let connect = || std::os::unix::net::UnixStream::connect(&local).ok();
    let mut open = None;
    eventually("the forward to open", || {
        open = connect();
        open.is_some()
    })
    .await;
    let stream = open.unwrap();
    stream.set_nonblocking(true).unwrap();
    let mut stream = UnixStream::from_std(stream).unwrap();
    let call = request("supervisor.getState", &[]).replace("Host:", "Connection: close\r\nHost:");
    stream.write_all(call.as_bytes()).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
    assert!(reply.contains("<string>RUNNING</string>"), "{reply}");
    child.kill().await.unwrap();
    let calls = lab.node("n").unwrap().counters().rpc_calls;
    assert_eq!(calls.len(), 1);
    assert_eq!((calls[0].instance.as_str(), calls[0].method.as_str()), (ANALYTICS, "supervisor.getState"));
}

#[tokio::test(flavor = "multi_thread")]
async fn openssh_jumps_through_a_node() {
    let lab = Lab::start(ClusterSpec::demo(12)).await.unwrap();
    let ran = ssh(&lab, &["-J", "a6s01", "c02", "hostname"]).await;
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "c02\n", "{ran:?}");
    assert_eq!(lab.node("a6s01").unwrap().counters().logins, 1);
    assert_eq!(lab.node("c02").unwrap().counters().logins, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn host_keys_are_what_known_hosts_says_unless_a_fault_wants_otherwise() {
    let lab = one(|n| n).await;
    let node = lab.node("n").unwrap();
    for (fault, words) in [
        (Fault::WrongHostKey, "REMOTE HOST IDENTIFICATION HAS CHANGED"),
        (Fault::RevokedHostKey, "REVOKED"),
        (Fault::UnknownHostKey, "No ED25519 host key is known"),
    ] {
        node.set_fault(fault);
        let ran = ssh(&lab, &["n", "true"]).await;
        let err = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(err.contains(words), "{words}: {err}");
        assert_eq!(ran.status.code(), Some(255));
        node.clear_fault();
    }
    assert_eq!(ssh(&lab, &["n", "true"]).await.status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_right_user_with_the_right_key_or_password_gets_in() {
    let lab = one(|n| n).await;
    let node = lab.node("n").unwrap();
    let mut client = Client::open(&lab, node).await.unwrap();
    assert!(!client.login(&lab, "admin").await);
    assert!(!client.password("root", "secret").await);
    assert!(client.login(&lab, "root").await);
    node.set_fault(Fault::AuthRefused);
    let mut client = Client::open(&lab, node).await.unwrap();
    assert!(!client.login(&lab, "root").await);
    assert_eq!(node.counters().logins, 1);

    let lab = one(|mut n| {
        n.password = Some("secret".into());
        n.policy(UserPolicy::SudoNoPassword)
    })
    .await;
    let mut client = Client::open(&lab, lab.node("n").unwrap()).await.unwrap();
    assert!(!client.password("admin", "wrong").await);
    assert!(client.password("admin", "secret").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_can_hang() {
    let lab = one(|n| n.fault(Fault::HangOnLogin)).await;
    let mut client = Client::open(&lab, lab.node("n").unwrap()).await.unwrap();
    hangs(300, client.login(&lab, "root")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_port_opens_when_the_fault_goes_and_closes_when_it_comes() {
    let lab = one(|n| n.fault(Fault::Refused)).await;
    let node = lab.node("n").unwrap();
    let error = tcp(&lab).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    node.clear_fault();
    node.settled().await;
    Client::root(&lab, "n").await;
    node.set_fault(Fault::Refused);
    node.settled().await;
    assert!(tcp(&lab).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn connects_to_a_black_hole_hang() {
    let lab = one(|n| n.fault(Fault::BlackHole)).await;
    hangs(1500, tcp(&lab)).await;
    hangs(300, tcp(&lab)).await;
    lab.node("n").unwrap().clear_fault();
    let begun = Instant::now();
    Client::root(&lab, "n").await;
    assert!(begun.elapsed() < Duration::from_secs(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_say_nothing_nonsense_or_goodbye() {
    let lab = one(|n| n.fault(Fault::SilentAfterAccept)).await;
    let node = lab.node("n").unwrap();
    let mut stream = tcp(&lab).await.unwrap();
    hangs(300, stream.read_u8()).await;
    node.clear_fault();

    node.set_fault(Fault::CloseBeforeBanner);
    let mut stream = tcp(&lab).await.unwrap();
    let mut all = Vec::new();
    assert_eq!(stream.read_to_end(&mut all).await.unwrap_or(0), 0);
    node.clear_fault();

    node.set_fault(Fault::GarbageBanner);
    let mut stream = tcp(&lab).await.unwrap();
    let mut some = [0; 64];
    let n = stream.read(&mut some).await.unwrap();
    assert!(n > 0 && !String::from_utf8_lossy(&some[..n]).contains("SSH-2.0"));
    assert!(Client::open(&lab, node).await.is_err() || node.counters().logins == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_network_moves_nothing_and_thaws() {
    let lab = one(|n| n).await;
    let node = lab.node("n").unwrap();
    let client = Client::root(&lab, "n").await;
    assert_eq!(client.run("echo a").await.out, "a\n");
    node.set_fault(Fault::Freeze);
    hangs(300, client.run("echo b")).await;
    assert!(!client.is_closed());
    node.settled().await;
    hangs(300, tcp(&lab)).await;
    node.clear_fault();
    assert_eq!(client.run("echo c").await.out, "c\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_can_be_cut() {
    let lab = one(|n| n).await;
    let client = Client::root(&lab, "n").await;
    assert_eq!(lab.node("n").unwrap().counters().open, 1);
    lab.node("n").unwrap().cut_connections();
    eventually("the connection to end", || client.is_closed()).await;
    eventually("the connection count", || lab.node("n").unwrap().counters().open == 0).await;
    Client::root(&lab, "n").await;
    assert_eq!(lab.node("n").unwrap().counters().max_open, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_lab_ends_all() {
    let lab = one(|n| n).await;
    let (address, port) = (lab.node("n").unwrap().address(), lab.port());
    let dir = lab.dir().to_owned();
    let client = Client::root(&lab, "n").await;
    drop(lab);
    eventually("the connection to end", || client.is_closed()).await;
    for _ in 0..100 {
        if TcpStream::connect((address, port)).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(TcpStream::connect((address, port)).await.is_err());
    assert!(!dir.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_nodes_start_and_answer() {
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let begun = Instant::now();
    let lab = Lab::start(ClusterSpec::demo(1000)).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let inventory = std::fs::read_to_string(lab.inventory_path()).unwrap();
    assert_eq!(inventory.lines().filter(|l| l.contains("address:")).count(), 1000);
    for name in ["a6s01", "c001", "c971"] {
        let client = Client::root(&lab, name).await;
        assert_eq!(client.run("hostname").await.out, format!("{name}\n"));
    }
    let collector = lab.node("a6s01").unwrap().process(ANALYTICS, COLLECTOR).unwrap();
    assert_eq!(collector.starts, 1);
}
