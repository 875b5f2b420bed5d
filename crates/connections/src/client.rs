//! The holder as a command sees it.
//!
//! Here lives [`HolderLink`], one for a command. Invariants: a holder is started when the first connection is
//! wanted, and again if it is gone; only one process starts it at a time; nothing is said to one of another user; the
//! secrets of the command go to it only when it asks for them, to log in. Start at [`HolderLink::attach`].

use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use ctl_transport::{Endpoint, LoginSecrets, ProxyEnvironment, ProxyRoute, SshTransport, TransportError};
use secrecy::ExposeSecret;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::sync::{Mutex, oneshot, watch};
use tokio::time::timeout;
use tracing::debug;

use crate::frames::{receive, send};
use crate::place::{HolderPlace, PlaceError, check_peer};
use crate::protocol::{ClientNotice, HolderReply, HolderRequest, KeptConnection, LoginAnswer};

/// How long a holder may take to start, or to answer what needs no node.
const HOLDER_TIME: Duration = Duration::from_secs(10);

/// Why a holder is of no use.
const NO_ANSWER: &str = "it did not answer within 10 s";

/// How often a holder that ends at the wrong moment is looked for again.
const ATTEMPTS: usize = 3;

/// Endpoints in one question.
const ENDPOINTS_AT_ONCE: usize = 256;

/// Why connections cannot be kept.
#[derive(Debug, Clone, thiserror::Error)]
pub enum HolderError {
    /// There is no place for the socket.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The holder does not start, or does not answer.
    #[error("the process that keeps connections failed: {0}")]
    Process(String),
}

impl HolderError {
    fn process(error: impl ToString) -> Self {
        Self::Process(error.to_string())
    }
}

/// The program that is the holder, with its arguments.
#[derive(Debug, Clone)]
pub struct HolderProgram {
    /// The file.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// A command's end.
pub(crate) struct HolderLink {
    program: HolderProgram,
    direct: SshTransport,
    current: Mutex<Option<Arc<LinkedClient>>>,
}

/// The command as the holder knows it.
pub(crate) struct LinkedClient {
    pub(crate) place: HolderPlace,
    number: u64,
    /// Its sender is gone once the holder is.
    ended: watch::Receiver<()>,
    /// The stream ends when this is dropped.
    _alive: oneshot::Sender<()>,
}

/// A connection that the holder has given out.
pub(crate) struct Attachment {
    client: Arc<LinkedClient>,
    session: u64,
    /// Its sender is gone once the connection has ended, or the holder.
    ended: watch::Receiver<()>,
    lost: Arc<std::sync::Mutex<Option<TransportError>>>,
    _alive: oneshot::Sender<()>,
}

impl HolderLink {
    pub(crate) fn new(program: HolderProgram, direct: SshTransport) -> Self {
        Self { program, direct, current: Mutex::default() }
    }

    /// This command at the holder, which is started if there is none.
    ///
    /// # Errors
    /// If there cannot be one.
    async fn client(&self) -> Result<Arc<LinkedClient>, HolderError> {
        // Held while the holder starts, so that the connections of a command wait for one start.
        let mut current = self.current.lock().await;
        if let Some(client) = current.as_ref().filter(|client| client.ended.has_changed().is_ok()) {
            return Ok(Arc::clone(client));
        }
        let place = HolderPlace::of_user()?;
        let mut last = String::new();
        for _ in 0..ATTEMPTS {
            let mut stream = self.stream(&place).await?;
            // One that is ending has accepted nothing, so another is started.
            match timeout(HOLDER_TIME, register(&mut stream)).await {
                Ok(Ok(number)) => {
                    let client = Arc::new(self.serve(place, stream, number));
                    *current = Some(Arc::clone(&client));
                    return Ok(client);
                }
                Ok(Err(error)) => last = error.to_string(),
                Err(_) => return Err(HolderError::process(NO_ANSWER)),
            }
        }
        Err(HolderError::Process(last))
    }

    /// A stream to the holder, which is started if nobody listens.
    async fn stream(&self, place: &HolderPlace) -> Result<UnixStream, HolderError> {
        if let Ok(stream) = UnixStream::connect(place.socket()).await {
            check_peer(&stream).map_err(HolderError::process)?;
            return Ok(stream);
        }
        let locked = place.clone();
        let lock = tokio::task::spawn_blocking(move || locked.lock()).await.map_err(HolderError::process)?;
        let lock = lock.map_err(HolderError::process)?;
        // Another command may have started it while this one waited.
        let stream = match UnixStream::connect(place.socket()).await {
            Ok(stream) => stream,
            Err(_) => {
                drop(lock);
                timeout(HOLDER_TIME, self.start())
                    .await
                    .map_err(|_| HolderError::process("it did not start within 10 s"))??;
                UnixStream::connect(place.socket()).await.map_err(HolderError::process)?
            }
        };
        check_peer(&stream).map_err(HolderError::process)?;
        Ok(stream)
    }

    /// Starts a holder, and waits until it listens or has found another that does.
    async fn start(&self) -> Result<(), HolderError> {
        let mut command = Command::new(&self.program.program);
        // Of the environment only what finds the user's files: a holder outlives the shell that has set the rest.
        let kept = ["HOME", "PATH", "USER", "LOGNAME", "XDG_RUNTIME_DIR", "TZ"];
        let kept = kept.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
        command.args(&self.program.arguments).env_clear().envs(kept).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        // What a script has opened for this command, such as the file of a lock, must not stay open with the holder.
        close_fds::set_fds_cloexec(3, &[]);
        let mut child = command.spawn().map_err(HolderError::process)?;
        let mut output = child.stdout.take().ok_or_else(|| HolderError::process("it has no output"))?;
        // It writes a byte when it listens. If it ends instead, another holder was faster, or the next connect fails.
        let mut byte = [0];
        output.read(&mut byte).await.map_err(HolderError::process)?;
        debug!("a process that holds connections was started");
        Ok(())
    }

    /// Answers the holder as long as the command lasts.
    fn serve(&self, place: HolderPlace, mut stream: UnixStream, number: u64) -> LinkedClient {
        let ((alive, mut over), (lives, ended)) = (oneshot::channel(), watch::channel(()));
        let direct = self.direct.clone();
        tokio::spawn(async move {
            let _lives = lives;
            loop {
                let asked = tokio::select! {
                    asked = receive(&mut stream) => asked,
                    _ = &mut over => return,
                };
                match asked {
                    Ok(Some(ClientNotice::Text(notice))) => direct.notify(notice),
                    Ok(Some(ClientNotice::Login)) => {
                        if let Err(error) = answer_login(&mut stream, &direct.secrets()).await {
                            debug!(%error, "cannot answer the process that holds connections");
                            return;
                        }
                    }
                    Ok(None) => return,
                    Err(error) => {
                        debug!(%error, "the process that holds connections");
                        return;
                    }
                }
            }
        });
        LinkedClient { place, number, ended, _alive: alive }
    }

    /// The connection to an endpoint, in use until the result is dropped; whether it was there already.
    ///
    /// # Errors
    /// [`HolderError`] if there is no holder; else as [`ctl_transport::Transport::connect`].
    pub(crate) async fn attach(
        &self,
        endpoint: &Endpoint,
    ) -> Result<Result<(Attachment, bool), TransportError>, HolderError> {
        let mut last = String::new();
        for _ in 0..ATTEMPTS {
            let client = self.client().await?;
            match attach(&client, endpoint).await {
                Ok(attached) => return Ok(attached),
                // The holder has ended or was killed; nothing was done over the connection.
                Err(error) => last = error.to_string(),
            }
        }
        Err(HolderError::Process(last))
    }

    /// Which endpoints have a connection that would be used. Those that do not answer are closed if `checked`.
    ///
    /// # Errors
    /// If there is no holder.
    pub(crate) async fn kept(&self, endpoints: &[&Endpoint], checked: bool) -> Result<Vec<bool>, HolderError> {
        let client = self.client().await?;
        let mut all = Vec::with_capacity(endpoints.len());
        for endpoints in endpoints.chunks(ENDPOINTS_AT_ONCE) {
            let endpoints = endpoints.iter().map(|endpoint| absolute(endpoint)).collect();
            let request = HolderRequest::Kept { client: client.number, endpoints, checked };
            match timeout(HOLDER_TIME, ask(&client.place, &request)).await {
                Ok(Ok((_, HolderReply::Kept(kept)))) => all.extend(kept),
                Ok(Ok(_)) => return Err(unexpected()),
                Ok(Err(error)) => return Err(HolderError::process(error)),
                Err(_) => return Err(HolderError::process(NO_ANSWER)),
            }
        }
        Ok(all)
    }
}

impl Attachment {
    /// A stream after its first request, and the answer to that.
    pub(crate) async fn ask(&self, request: &HolderRequest) -> io::Result<(UnixStream, HolderReply)> {
        ask(&self.client.place, request).await
    }

    /// The number of the connection.
    pub(crate) fn session(&self) -> u64 {
        self.session
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.ended.has_changed().is_err()
    }

    /// A loss with the cause that the holder gave, else with this one.
    pub(crate) fn loss(&self, otherwise: &str) -> TransportError {
        let lost = self.lost.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        lost.unwrap_or_else(|| TransportError::Lost { reason: otherwise.to_owned() })
    }
}

async fn register(stream: &mut UnixStream) -> io::Result<u64> {
    send(stream, &HolderRequest::Client).await?;
    match receive(stream).await? {
        Some(HolderReply::Client(number)) => Ok(number),
        Some(_) => Err(io::ErrorKind::InvalidData.into()),
        None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it has ended")),
    }
}

async fn answer_login(stream: &mut UnixStream, secrets: &LoginSecrets) -> io::Result<()> {
    let answer = LoginAnswer {
        password: secrets.password.as_ref().map(ExposeSecret::expose_secret),
        keys: secrets.keys.iter().map(|(path, key)| (path, key.expose_secret())).collect(),
        environment: ProxyEnvironment::of_process(),
    };
    send(stream, &answer).await
}

async fn ask(place: &HolderPlace, request: &HolderRequest) -> io::Result<(UnixStream, HolderReply)> {
    place.check().map_err(io::Error::other)?;
    let mut stream = UnixStream::connect(place.socket()).await?;
    check_peer(&stream)?;
    send(&mut stream, request).await?;
    let reply = receive(&mut stream).await?;
    let reply = reply.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "it has ended"))?;
    Ok((stream, reply))
}

async fn attach(
    client: &Arc<LinkedClient>,
    endpoint: &Endpoint,
) -> io::Result<Result<(Attachment, bool), TransportError>> {
    let request = HolderRequest::Attach { client: client.number, endpoint: Box::new(absolute(endpoint)) };
    let (mut stream, reply) = ask(&client.place, &request).await?;
    let (session, is_reused) = match reply {
        HolderReply::Attached { session, is_reused } => (session, is_reused),
        HolderReply::Failed(error) => return Ok(Err(error)),
        HolderReply::Client(_)
        | HolderReply::Opened
        | HolderReply::Gone
        | HolderReply::Kept(_)
        | HolderReply::Connections(_)
        | HolderReply::Done => return Err(io::ErrorKind::InvalidData.into()),
    };
    let ((alive, over), (lives, ended)) = (oneshot::channel::<()>(), watch::channel(()));
    let lost: Arc<std::sync::Mutex<Option<TransportError>>> = Arc::default();
    let noted = Arc::clone(&lost);
    tokio::spawn(async move {
        let _lives = lives;
        tokio::select! {
            said = receive(&mut stream) => {
                if let Ok(Some(HolderReply::Failed(error))) = said {
                    *noted.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(error);
                }
            }
            _ = over => {}
        }
    });
    Ok(Ok((Attachment { client: Arc::clone(client), session, ended, lost, _alive: alive }, is_reused)))
}

fn unexpected() -> HolderError {
    HolderError::process("it sent an unexpected answer")
}

/// The endpoint with paths that mean the same in every directory.
fn absolute(endpoint: &Endpoint) -> Endpoint {
    let path = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
    let paths = |all: &[PathBuf]| all.iter().map(path).collect();
    let mut endpoint = endpoint.clone();
    if let ProxyRoute::Jump(bastion) = &endpoint.proxy {
        endpoint.proxy = ProxyRoute::Jump(Arc::new(absolute(bastion)));
    }
    let login = &mut endpoint.login;
    login.identities = paths(&login.identities);
    login.certificates = paths(&login.certificates);
    login.agent = login.agent.as_ref().map(path);
    let mut host_keys = endpoint.host_keys.as_ref().clone();
    host_keys.user_files = paths(&host_keys.user_files);
    host_keys.global_files = paths(&host_keys.global_files);
    host_keys.revoked = paths(&host_keys.revoked);
    endpoint.host_keys = Arc::new(host_keys);
    endpoint
}

/// The connections that are kept. No holder is started.
///
/// # Errors
/// If there is a holder that does not answer, or that may be somebody else's.
pub fn list() -> Result<Vec<KeptConnection>, HolderError> {
    match administer(&HolderRequest::List)? {
        None => Ok(Vec::new()),
        Some(HolderReply::Connections(connections)) => Ok(connections),
        Some(_) => Err(unexpected()),
    }
}

/// Closes the connections of these nodes, else all. One in use is closed once it is not used any longer.
///
/// # Errors
/// As [`list`].
pub fn close(nodes: Option<Vec<String>>) -> Result<(), HolderError> {
    administer(&HolderRequest::Close { nodes }).map(drop)
}

/// The runtime is one of its own: these commands do nothing else.
fn administer(request: &HolderRequest) -> Result<Option<HolderReply>, HolderError> {
    let place = match HolderPlace::existing() {
        Ok(place) => place,
        Err(PlaceError::None { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if !place.socket().exists() {
        return Ok(None);
    }
    place.check()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(HolderError::process)?;
    match runtime.block_on(async { timeout(HOLDER_TIME, ask(&place, request)).await }) {
        Ok(Ok((_, reply))) => Ok(Some(reply)),
        // The remains of one that was killed.
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(None),
        Ok(Err(error)) => Err(HolderError::process(error)),
        Err(_) => Err(HolderError::process(NO_ANSWER)),
    }
}
