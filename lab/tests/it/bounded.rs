//! Limited commands of the user: their output, how they end, and that nothing is left running.

use std::time::{Duration, Instant};

use contrail_lab::{CommandsSnapshot, Lab, UserPolicy};
use russh::Channel;
use russh::ChannelMsg;
use russh::client::Msg;

use crate::client::{Client, Ran, eventually, one};

/// Sends a command with a limit, and leaves stdin open.
async fn begin(client: &Client, sudo: &str, limit: &str, command: &str) -> Channel<Msg> {
    let script = "IFS= read -r s; eval it";
    let channel = client.start(&format!("exec {sudo}/bin/sh -c '{script}' ctl-exec {limit} MARK 0 WATCHER")).await;
    let command = command.replace('\\', "\\\\").replace('\n', "\\n");
    channel.data_bytes(format!("a\u{1f}b\n{command}\n").into_bytes()).await.unwrap();
    channel
}

async fn end(channel: &mut Channel<Msg>) -> Ran {
    let mut ran = Ran::default();
    while let Some(message) = channel.wait().await {
        match message {
            ChannelMsg::Data { data } if *data == *b"MARK\n" => {}
            ChannelMsg::ExtendedData { data, .. } if *data == *b"MARK-2\n" => {}
            ChannelMsg::Data { data } => ran.out.push_str(&String::from_utf8_lossy(&data)),
            ChannelMsg::ExtendedData { data, .. } => ran.err.push_str(&String::from_utf8_lossy(&data)),
            ChannelMsg::ExitStatus { exit_status } => ran.code = Some(exit_status),
            _ => {}
        }
    }
    ran
}

async fn run(client: &Client, command: &str) -> Ran {
    end(&mut begin(client, "", "60", command).await).await
}

fn ran(code: u32, out: &str, err: &str) -> Ran {
    Ran { code: Some(code), out: out.to_owned(), err: err.to_owned() }
}

fn counts(lab: &Lab) -> CommandsSnapshot {
    lab.node("n").unwrap().commands()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_prints_and_ends_with_its_own_code() {
    let lab = one(|n| n).await;
    let client = Client::root(&lab, "n").await;
    assert_eq!(run(&client, "echo a; echo b >&2; exit 7").await, ran(7, "a\n", "b\n"));
    assert_eq!(run(&client, "echo 'x  y'\nuname -n && hostname").await, ran(0, "x  y\nn\nn\n", ""));
    assert_eq!(run(&client, "false || printf '%s\\n' c; cat; true").await, ran(0, "c\n", ""));
    assert_eq!(run(&client, "seq 3; seq 4 5; seq 9 -4 0").await, ran(0, "1\n2\n3\n4\n5\n9\n5\n1\n", ""));
    let long = run(&client, "seq 20000").await;
    assert_eq!((long.out.lines().count(), long.out.ends_with("\n20000\n")), (20_000, true));
    assert_eq!(run(&client, "frob").await.code, Some(127));
    assert_eq!(run(&client, "exit").await.code, Some(0));
    assert_eq!(counts(&lab), CommandsSnapshot { running: 0, finished: 7, ended: 0 });
    assert_eq!(end(&mut begin(&client, "", "soon", "true").await).await.code, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_ended_by_a_line_by_the_end_of_stdin_and_at_its_limit() {
    let lab = one(|n| n).await;
    let client = Client::root(&lab, "n").await;
    for how in 1..=3 {
        let begun = Instant::now();
        let limit = if how == 3 { "0.3" } else { "60" };
        let mut channel = begin(&client, "", limit, "echo a; sleep 40 & sleep 50; echo never").await;
        eventually("the command to start", || counts(&lab).running == 1).await;
        // Signs of life end nothing.
        channel.data_bytes(b".\n.\n".to_vec()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        match how {
            1 => channel.data_bytes(b"k\n".to_vec()).await.unwrap(),
            2 => channel.eof().await.unwrap(),
            _ => {}
        }
        assert_eq!(end(&mut channel).await, ran(143, "a\n", ""));
        assert_eq!(counts(&lab), CommandsSnapshot { running: 0, finished: 0, ended: how });
        // A background job would hold the channel open for its forty seconds.
        let least = Duration::from_millis(if how == 3 { 300 } else { 100 });
        assert!((least..Duration::from_secs(20)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_ends_with_its_channel_and_with_its_connection() {
    let lab = one(|n| n).await;
    let client = Client::root(&lab, "n").await;
    let channel = begin(&client, "", "60", "seq 1000000000").await;
    eventually("the command to start", || counts(&lab).running == 1).await;
    // Its output must be read, or this client's connection blocks, including the close.
    let (mut reader, writer) = channel.split();
    let read = tokio::spawn(async move { while reader.wait().await.is_some() {} });
    writer.close().await.unwrap();
    eventually("the command to end", || counts(&lab) == CommandsSnapshot { running: 0, finished: 0, ended: 1 }).await;
    read.abort();
    // One that sleeps, and one whose output nobody reads.
    let _sleeps = begin(&client, "", "60", "sleep 50").await;
    let _talks = begin(&client, "", "60", "seq 1000000000").await;
    eventually("the commands to start", || counts(&lab).running == 2).await;
    lab.node("n").unwrap().cut_connections();
    eventually("the commands to end", || counts(&lab) == CommandsSnapshot { running: 0, finished: 0, ended: 3 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_runs_under_sudo_where_the_policy_lets_it() {
    let lab = one(|n| n.policy(UserPolicy::SudoNoPassword)).await;
    let client = Client::user(&lab, "n", "admin").await;
    assert_eq!(run(&client, "id -un").await.out, "admin\n");
    assert_eq!(end(&mut begin(&client, "sudo -n ", "60", "id -un").await).await, ran(0, "root\n", ""));
    let lab = one(|n| n.policy(UserPolicy::NoSudo)).await;
    let client = Client::user(&lab, "n", "admin").await;
    let denied = end(&mut begin(&client, "sudo -n ", "60", "id -un").await).await;
    assert_eq!(denied, ran(1, "", "sudo: a password is required\n"));
    assert_eq!(counts(&lab), CommandsSnapshot::default());
}
