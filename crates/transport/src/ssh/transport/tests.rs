//! Servers that do not speak SSH: the errors they cause, and that no connect outlives its budget.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::time::{Duration, Instant as Clock};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::ProxyRoute;
use crate::endpoint::fixtures::loopback;
use ctl_event::FailureKind;

const PATIENCE: Duration = Duration::from_millis(1500);

fn endpoint(port: u16) -> Endpoint {
    Endpoint { connect_timeout: PATIENCE, ..loopback(port) }
}

/// The error for a server that sends `bytes` and then keeps the connection, or closes it.
async fn error_for(bytes: Vec<u8>, closes: bool) -> TransportError {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let bytes = bytes.clone();
            tokio::spawn(async move {
                // The client may have left already.
                drop(stream.write_all(&bytes).await);
                if !closes {
                    drop(stream.read_to_end(&mut Vec::new()).await);
                }
            });
        }
    });
    let (transport, _notices) = SshTransport::new(RunSshSettings::default());
    let began = Clock::now();
    let error = tokio::time::timeout(PATIENCE * 20, transport.connect(&endpoint(port))).await;
    let error = error.unwrap_or_else(|_| panic!("it hangs, {:?} after its start", began.elapsed())).unwrap_err();
    assert!(error.to_string().len() < 1000, "{error}");
    assert!(!error.to_string().contains(|c: char| c.is_control()), "{error}");
    error
}

#[tokio::test]
async fn servers_that_do_not_greet() {
    for (what, bytes, closes) in [
        ("silence", Vec::new(), false),
        ("closed", Vec::new(), true),
        ("a web server", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), true),
        ("a megabyte without a line", vec![b'x'; 1 << 20], false),
        ("a megabyte of lines", b"hello \x1b[2J\n".repeat(100_000), false),
        ("noise", (0..=255).cycle().take(5000).collect(), true),
        ("an old protocol", b"SSH-1.5-old\r\n".to_vec(), false),
    ] {
        let error = error_for(bytes, closes).await;
        let kind = error.failure().kind;
        assert_eq!(kind, FailureKind::Banner, "{what}: {error}");
    }
}

#[tokio::test]
async fn a_greeting_and_nothing_more() {
    let error = error_for(b"SSH-2.0-quiet\r\n".to_vec(), false).await;
    assert!(matches!(&error, TransportError::Timeout { doing, .. } if doing == "exchanging keys"), "{error}");
    let error = error_for(b"SSH-2.0-noise\r\n".iter().copied().chain(vec![0xff; 1 << 20]).collect(), false).await;
    assert_eq!(error.failure().kind, FailureKind::Negotiation, "{error}");
}

#[tokio::test]
async fn a_client_that_is_turned_away_tries_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let came = tokio::spawn(async move {
        let mut came = 0;
        while came < 3 {
            let Ok((mut stream, _)) = listener.accept().await else { break };
            came += 1;
            drop(stream.write_all(b"Exceeded MaxStartups\r\n").await);
        }
        came
    });
    let (transport, _notices) = SshTransport::new(RunSshSettings::default());
    let error = transport.connect(&endpoint(port)).await.unwrap_err();
    // More often than `retries` says; then nothing listens any more.
    assert!(matches!(error, TransportError::Refused { .. }), "{error}");
    assert_eq!(came.await.unwrap(), 3);
}

#[tokio::test]
async fn proxy_commands_that_fail() {
    for (command, words) in [
        ("no-such-program-here", "exit code 127"),
        ("sh -c 'echo closed by the firewall >&2; exit 7'", "closed by the firewall"),
        ("sh -c 'kill -9 $$'", "was ended"),
        ("printf '\\033[2J' >&2", "\\u{1b}"),
    ] {
        let (transport, _notices) = SshTransport::new(RunSshSettings::default());
        let endpoint = Endpoint { proxy: ProxyRoute::Command(command.to_owned()), ..endpoint(22) };
        let error = transport.connect(&endpoint).await.unwrap_err();
        assert!(error.to_string().contains(words), "{command}: {error}");
        assert_eq!(error.failure().kind, FailureKind::Proxy, "{command}: {error}");
    }
    // One that prints nothing and keeps running is given up.
    let (transport, _notices) = SshTransport::new(RunSshSettings::default());
    let endpoint = Endpoint { proxy: ProxyRoute::Command("sleep 60".to_owned()), ..endpoint(22) };
    let error = transport.connect(&endpoint).await.unwrap_err();
    assert_eq!(error.failure().kind, FailureKind::Banner, "{error}");
}
