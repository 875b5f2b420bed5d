//! A client for the tests: russh over a plain connection, hand-written HTTP and XML-RPC, and OpenSSH's `ssh`.

use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use contrail_lab::{ClusterSpec, Lab, Node, NodeSpec, Release, Role};
use dxr::{FaultResponse, MethodCall, MethodResponse, Value};
use russh::client::{self, AuthResult, Msg};
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{Channel, ChannelMsg, ChannelStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub(crate) const ANALYTICS: &str = "supervisor-analytics";
pub(crate) const COLLECTOR: &str = "contrail-collector";
pub(crate) const SOCKET: &str = "/var/run/supervisord_analytics.sock";

/// A lab of one analytics node, `n`, of release 3.2.
pub(crate) async fn one(change: impl FnOnce(NodeSpec) -> NodeSpec) -> Lab {
    let node = NodeSpec::new("n", Release::R3_2).roles([Role::Analytics]);
    Lab::start(ClusterSpec::new(vec![change(node)])).await.unwrap()
}

/// Waits for a condition, and fails if it does not hold within ten seconds.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(10), wait).await.is_ok(), "timed out waiting for {what}");
}

/// Fails unless the future is still pending after that time.
pub(crate) async fn hangs<T>(millis: u64, future: impl Future<Output = T>) {
    let limit = Duration::from_millis(millis);
    assert!(tokio::time::timeout(limit, future).await.is_err(), "expected the future to stay pending");
}

struct Trusting;

impl client::Handler for Trusting {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _key: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

/// One SSH connection.
pub(crate) struct Client(client::Handle<Trusting>);

/// The output and exit code of a command.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) code: Option<u32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Client {
    /// Connects, without logging in.
    pub(crate) async fn open(lab: &Lab, node: &Node) -> Result<Self, russh::Error> {
        let config =
            Arc::new(client::Config { inactivity_timeout: Some(Duration::from_secs(20)), ..client::Config::default() });
        let address = (node.address(), lab.port());
        client::connect(config, address, Trusting).await.map(Self)
    }

    pub(crate) async fn login(&mut self, lab: &Lab, user: &str) -> bool {
        let key = russh::keys::load_secret_key(lab.identity_path(), None).unwrap();
        let key = PrivateKeyWithHashAlg::new(Arc::new(key), None);
        matches!(self.0.authenticate_publickey(user, key).await, Ok(AuthResult::Success))
    }

    pub(crate) async fn password(&mut self, user: &str, password: &str) -> bool {
        matches!(self.0.authenticate_password(user, password).await, Ok(AuthResult::Success))
    }

    /// Connects and logs in as that user.
    pub(crate) async fn user(lab: &Lab, node: &str, user: &str) -> Self {
        let mut client = Self::open(lab, lab.node(node).unwrap()).await.unwrap();
        assert!(client.login(lab, user).await, "login");
        client
    }

    /// Connects and logs in as root.
    pub(crate) async fn root(lab: &Lab, node: &str) -> Self {
        Self::user(lab, node, "root").await
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    pub(crate) async fn start(&self, command: &str) -> Channel<Msg> {
        let channel = self.0.channel_open_session().await.unwrap();
        channel.exec(true, command).await.unwrap();
        channel
    }

    pub(crate) async fn run(&self, command: &str) -> Ran {
        self.run_with(command, "").await
    }

    pub(crate) async fn run_with(&self, command: &str, stdin: &str) -> Ran {
        let mut channel = self.start(command).await;
        // A command may cut its own connection before it has read anything.
        drop(channel.data_bytes(stdin.as_bytes().to_vec()).await);
        drop(channel.eof().await);
        let mut ran = Ran::default();
        while let Some(message) = channel.wait().await {
            match message {
                ChannelMsg::Data { data } => ran.out.push_str(&String::from_utf8_lossy(&data)),
                ChannelMsg::ExtendedData { data, .. } => {
                    ran.err.push_str(&String::from_utf8_lossy(&data));
                }
                ChannelMsg::ExitStatus { exit_status } => ran.code = Some(exit_status),
                _ => {}
            }
        }
        ran
    }

    pub(crate) async fn try_socket(&self, path: &str) -> Result<Rpc, russh::Error> {
        let channel = self.0.channel_open_direct_streamlocal(path).await?;
        Ok(Rpc(channel.into_stream()))
    }

    pub(crate) async fn socket(&self, path: &str) -> Rpc {
        self.try_socket(path).await.unwrap()
    }

    pub(crate) async fn tcp(&self, port: u16) -> Result<Rpc, russh::Error> {
        let channel = self.0.channel_open_direct_tcpip("localhost", u32::from(port), "127.0.0.1", 0).await?;
        Ok(Rpc(channel.into_stream()))
    }
}

/// A forwarded connection to a supervisord.
pub(crate) struct Rpc(pub(crate) ChannelStream<Msg>);

/// A request in the form that a client writes.
pub(crate) fn request(method: &str, params: &[Value]) -> String {
    let call = MethodCall { name: method.into(), params: params.to_vec() };
    let body = call.to_xml().unwrap();
    format!(
        "POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/xml\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub(crate) fn text(value: &str) -> Value {
    Value::String(value.to_owned())
}

impl Rpc {
    pub(crate) async fn send(&mut self, bytes: &str) {
        self.0.write_all(bytes.as_bytes()).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// Reads one reply by its Content-Length: the head and the body. `None` when the connection ends first.
    pub(crate) async fn reply(&mut self) -> Option<(String, String)> {
        let mut bytes = Vec::new();
        loop {
            let all = String::from_utf8_lossy(&bytes).into_owned();
            if let Some((head, body)) = all.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .find_map(|l| l.strip_prefix("Content-Length: "))
                    .and_then(|l| l.parse::<usize>().ok())
                    .unwrap_or(0);
                if body.len() >= length {
                    return Some((head.to_owned(), body.to_owned()));
                }
            }
            if self.0.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// Everything up to the end of the connection.
    pub(crate) async fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        while matches!(self.0.read_buf(&mut bytes).await, Ok(n) if n > 0) {}
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Calls a method; a fault is an error with its number and text.
    pub(crate) async fn call(&mut self, method: &str, params: &[Value]) -> Result<Value, (i32, String)> {
        let method = format!("supervisor.{method}");
        self.send(&request(&method, params)).await;
        let (head, body) = self.reply().await.ok_or((-1, "closed".to_owned()))?;
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
        match MethodResponse::from_xml(&body) {
            Ok(response) => Ok(response.value),
            Err(_) => {
                let fault = FaultResponse::from_xml(&body).unwrap().fault;
                Err((fault.code(), fault.string().to_owned()))
            }
        }
    }

    /// The state, pid and description of a process.
    pub(crate) async fn info(&mut self, name: &str) -> (String, i32, String) {
        let Ok(Value::Struct(info)) = self.call("getProcessInfo", &[text(name)]).await else {
            panic!("no process {name}");
        };
        let word = |key: &str| match &info[key] {
            Value::String(s) => s.clone(),
            other => panic!("{key} is {other:?}"),
        };
        let Value::Integer(pid) = info["pid"] else {
            panic!("pid is {:?}", info["pid"]);
        };
        (word("statename"), pid, word("description"))
    }
}

/// Runs OpenSSH's client on a node.
pub(crate) async fn ssh(lab: &Lab, args: &[&str]) -> Output {
    tokio::process::Command::new("ssh")
        .arg("-F")
        .arg(lab.ssh_config_path())
        .args(["-o", "BatchMode=yes", "-o", "ConnectTimeout=3"])
        .args(args)
        .stdin(std::process::Stdio::null())
        .output()
        .await
        .unwrap()
}
