//! The SSH server of a node: it authenticates users and connects channels.
//!
//! Invariants: no handler waits for anything slow (except under the fault that makes a login hang), so that a session
//! with one hanging command still serves its other channels; a command keeps running when its client disconnects.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use russh::keys::{PrivateKey, PublicKey};
use russh::server::{self, Auth, ChannelOpenHandle, Msg, PublicKeyOffer, Response, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelMsg, ChannelOpenFailure, MethodKind, MethodSet, Pty, Sig};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::commands::{self, Context, KILLED};
use crate::conn::CutStream;
use crate::fault::{Fault, Request};
use crate::http;
use crate::introspect;
use crate::node::NodeInner;
use crate::shared::note;
use crate::shell;
use crate::streams::{Chunk, Io};
use crate::supervisord::Access;

/// The state of a node's sshd: its key, and the credentials that it accepts.
pub(crate) struct Login {
    config: Arc<server::Config>,
    /// The same for a node that accepts no input.
    narrow: Arc<server::Config>,
    client: PublicKey,
}

/// Receive window of a channel in bytes.
const WINDOW: u32 = 256 * 1024;

impl Login {
    pub(crate) fn new(host: PrivateKey, client: PublicKey, password: bool) -> Self {
        let mut methods = MethodSet::empty();
        methods.push(MethodKind::PublicKey);
        if password {
            methods.push(MethodKind::KeyboardInteractive);
            methods.push(MethodKind::Password);
        }
        let config = |window_size| server::Config {
            server_id: russh::SshId::Standard("SSH-2.0-ContrailLab_1".into()),
            methods: methods.clone(),
            auth_rejection_time: Duration::from_millis(10),
            auth_rejection_time_initial: Some(Duration::ZERO),
            keys: vec![host.clone()],
            window_size,
            inactivity_timeout: None,
            nodelay: true,
            max_auth_attempts: 6,
            ..server::Config::default()
        };
        Self { config: Arc::new(config(WINDOW)), narrow: Arc::new(config(0)), client }
    }
}

/// Serves one connection until it ends.
pub(crate) async fn serve(node: Arc<NodeInner>, login: Arc<Login>, stream: CutStream) {
    let config = if node.shared.has(&Fault::NoWindow) { &login.narrow } else { &login.config };
    let config = Arc::clone(config);
    let handler =
        Peer { node, login: Arc::clone(&login), user: String::new(), channels: HashMap::new(), ptys: Vec::new() };
    match server::run_stream(config, stream, handler).await {
        Ok(session) => {
            if let Err(error) = session.await {
                tracing::debug!(%error, "session ended");
            }
        }
        Err(error) => tracing::debug!(%error, "no session"),
    }
}

/// One connection.
struct Peer {
    node: Arc<NodeInner>,
    login: Arc<Login>,
    user: String,
    /// Session channels without a command yet.
    channels: HashMap<ChannelId, Channel<Msg>>,
    ptys: Vec<ChannelId>,
}

impl Peer {
    fn knows(&self, user: &str) -> bool {
        user == self.node.shared.spec.login() && !self.node.shared.has(&Fault::AuthRefused)
    }

    async fn decide(&mut self, user: &str, well: bool) -> Auth {
        if self.node.shared.has(&Fault::HangOnLogin) {
            self.node.shared.until_closing().await;
            return Auth::reject();
        }
        if well && self.knows(user) {
            user.clone_into(&mut self.user);
            Auth::Accept
        } else {
            Auth::reject()
        }
    }

    fn leaves_unanswered(&self, request: Request) -> bool {
        self.node.shared.has(&Fault::Unanswered(request))
    }

    /// Keeps a value whose drop would send a reply.
    fn hold(&self, what: impl Send + 'static) {
        let shared = Arc::clone(&self.node.shared);
        tokio::spawn(async move {
            shared.until_closing().await;
            drop(what);
        });
    }

    fn forbidden(&self) -> bool {
        self.node.shared.has(&Fault::ForwardingForbidden)
    }
}

impl server::Handler for Peer {
    type Error = russh::Error;

    async fn auth_publickey_offered(&mut self, user: &str, offer: PublicKeyOffer<'_>) -> Result<Auth, Self::Error> {
        let well = offer.public_key.key_data() == self.login.client.key_data();
        Ok(if well && self.knows(user) { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        let well = key.public_key.key_data() == self.login.client.key_data();
        Ok(self.decide(user, well).await)
    }

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, Self::Error> {
        let well = self.node.shared.spec.password.as_deref() == Some(password);
        Ok(self.decide(user, well).await)
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _submethods: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, Self::Error> {
        let Some(password) = self.node.shared.spec.password.clone() else {
            return Ok(Auth::reject());
        };
        let Some(mut response) = response else {
            return Ok(Auth::Partial {
                name: "".into(),
                instructions: "".into(),
                prompts: vec![("Password: ".into(), false)].into(),
            });
        };
        let well = response.next().is_some_and(|answer| answer == password.as_bytes());
        Ok(self.decide(user, well).await)
    }

    async fn authentication_banner(&mut self) -> Result<Option<String>, Self::Error> {
        Ok(self.node.shared.says())
    }

    async fn auth_succeeded(&mut self, _session: &mut Session) -> Result<(), Self::Error> {
        self.node.shared.count(|c| c.logins += 1);
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        if self.leaves_unanswered(Request::Session) {
            self.hold((channel, reply));
            return Ok(());
        }
        self.channels.insert(channel.id(), channel);
        reply.accept().await;
        Ok(())
    }

    async fn channel_open_direct_streamlocal(
        &mut self,
        channel: Channel<Msg>,
        socket_path: &str,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        let node = &self.node;
        node.shared.count(|c| note(&mut c.streamlocal_opens, socket_path.to_owned()));
        if self.leaves_unanswered(Request::Forwarding) {
            self.hold((channel, reply));
            return Ok(());
        }
        let open = node
            .by_socket(socket_path)
            .filter(|_| !self.forbidden() && commands::may_connect(node, self.user == "root"))
            .filter(|sup| sup.access() == Access::Open);
        match open {
            Some(sup) => {
                let sup = Arc::clone(sup);
                reply.accept().await;
                tokio::spawn(http::serve(channel.into_stream(), sup));
            }
            None => reply.reject(ChannelOpenFailure::ConnectFailed).await,
        }
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _originator: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        let node = &self.node;
        node.shared.count(|c| note(&mut c.tcpip_opens, format!("{host}:{port}")));
        let port = u16::try_from(port).unwrap_or(0);
        if self.leaves_unanswered(Request::Forwarding) {
            self.hold((channel, reply));
            return Ok(());
        }
        if self.forbidden() {
            reply.reject(ChannelOpenFailure::ConnectFailed).await;
            return Ok(());
        }
        if let Ok(address) = host.parse::<Ipv4Addr>()
            && address.is_loopback()
            && port == node.port
        {
            tokio::spawn(jump(channel, reply, address, port));
            return Ok(());
        }
        let local = matches!(host, "localhost" | "127.0.0.1" | "::1" | "");
        let sup = node.by_port(port).filter(|sup| local && sup.access() == Access::Open);
        let page = introspect::listener(node, port).filter(|_| local);
        match (sup, page) {
            (Some(sup), _) => {
                let sup = Arc::clone(sup);
                reply.accept().await;
                tokio::spawn(http::serve(channel.into_stream(), sup));
            }
            (None, Some(page)) => {
                reply.accept().await;
                tokio::spawn(introspect::serve(channel.into_stream(), Arc::clone(node), page));
            }
            (None, None) => reply.reject(ChannelOpenFailure::ConnectFailed).await,
        }
        Ok(())
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _term: &str,
        _columns: u32,
        _rows: u32,
        _width: u32,
        _height: u32,
        _modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.ptys.push(channel);
        session.channel_success(channel)
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), Self::Error> {
        self.start(channel, "sh -s".to_owned(), session)
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let command = String::from_utf8_lossy(data).into_owned();
        self.node.shared.count(|c| note(&mut c.execs, command.clone()));
        if self.leaves_unanswered(Request::Command) {
            return Ok(());
        }
        if self.node.shared.has(&Fault::CommandRefused) {
            return session.channel_failure(channel);
        }
        self.start(channel, command, session)
    }

    async fn channel_close(&mut self, channel: ChannelId, _session: &mut Session) -> Result<(), Self::Error> {
        self.channels.remove(&channel);
        self.ptys.retain(|c| *c != channel);
        Ok(())
    }
}

impl Peer {
    fn start(&mut self, id: ChannelId, command: String, session: &mut Session) -> Result<(), russh::Error> {
        let Some(channel) = self.channels.remove(&id) else {
            return session.channel_failure(id);
        };
        let context = Context {
            node: Arc::clone(&self.node),
            user: self.user.clone(),
            root: self.user == "root",
            pty: self.ptys.contains(&id),
            acted: Arc::new(AtomicBool::new(false)),
            rescue: None,
            jobs: None,
            environment: Arc::default(),
        };
        session.channel_success(id)?;
        tokio::spawn(exec(channel, session.handle(), context, command));
        Ok(())
    }
}

/// A connection through this node to another node of the lab.
async fn jump(channel: Channel<Msg>, reply: ChannelOpenHandle, address: Ipv4Addr, port: u16) {
    match TcpStream::connect((address, port)).await {
        Ok(mut stream) => {
            reply.accept().await;
            let mut channel = channel.into_stream();
            // Either side may close it in any way.
            let _ended = tokio::io::copy_bidirectional(&mut channel, &mut stream).await.is_err();
        }
        Err(_) => reply.reject(ChannelOpenFailure::ConnectFailed).await,
    }
}

/// What the user's login shell does with a command; returns its exit code.
async fn login(context: Context, io: Io, command: String) -> i32 {
    let shared = Arc::clone(&context.node.shared);
    if shared.has(&Fault::EndlessExec) {
        while io.out("an endless line of output, and one more, and one more\n").await {}
        return 0;
    }
    if shared.has(&Fault::NoLogin) {
        io.out("This account is currently not available.\n").await;
        return 1;
    }
    if shared.has(&Fault::ChattyLogin) {
        io.out("*** Authorised users only ***\nYou have new mail.\n").await;
    }
    if let Some(text) = shared.says() {
        io.err(&format!("{text}\n")).await;
    }
    tokio::select! {
        code = shell::run(&context, &io, &command) => code,
        () = shared.until_closing() => 255,
    }
}

/// Runs a command and connects its streams. The command has its own task, which outlives the channel.
async fn exec(channel: Channel<Msg>, handle: server::Handle, context: Context, command: String) {
    let shared = Arc::clone(&context.node.shared);
    let id = channel.id();
    let (mut reader, writer) = channel.split();
    let (out, mut chunks) = mpsc::channel::<Chunk>(16);
    let (input, stdin) = mpsc::unbounded_channel();
    let acted = Arc::clone(&context.acted);
    let run = tokio::spawn(login(context, Io::new(out, stdin), command));
    let mut input = Some(input);
    let peer = async {
        loop {
            match reader.wait().await {
                Some(ChannelMsg::Data { data }) => {
                    if let Some(input) = &input
                        && input.send(data).is_err()
                    {
                        tracing::trace!("nobody reads stdin");
                    }
                }
                Some(ChannelMsg::Eof) => input = None,
                None | Some(ChannelMsg::Close) => return,
                Some(_) => {}
            }
        }
    };
    let pump = async {
        let mut lost = false;
        while let Some((err, bytes)) = chunks.recv().await {
            lost |= acted.load(Ordering::Relaxed) && shared.has(&Fault::ReplyLost);
            let sent = match (lost, err) {
                (true, _) => Ok(()),
                (false, false) => writer.data_bytes(bytes).await,
                (false, true) => writer.extended_data_bytes(1, bytes).await,
            };
            if sent.is_err() {
                return;
            }
        }
        let code = run.await.unwrap_or(255);
        lost |= acted.load(Ordering::Relaxed) && shared.has(&Fault::ReplyLost);
        if code == KILLED {
            let told = handle.exit_signal_request(id, Sig::KILL, false, String::new(), String::new()).await;
            tracing::trace!(told = told.is_ok(), "command was killed");
            return;
        }
        let code = match code {
            code if !shared.has(&Fault::LyingExitCode) => u32::try_from(code).unwrap_or(255),
            0 => 1,
            _ => 0,
        };
        let status = if lost { Ok(()) } else { writer.exit_status(code).await };
        let told = status.is_ok() && writer.eof().await.is_ok();
        tracing::trace!(told, "command ended");
    };
    tokio::select! {
        () = peer => {}
        () = pump => {}
    }
    // The client cannot be notified if its connection is gone.
    let _gone = writer.close().await.is_err();
}
