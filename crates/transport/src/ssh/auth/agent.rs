//! The SSH agent: its keys, and signatures by it.
//!
//! Here live [`AgentHandle`] and [`AgentPool`]. Invariants: an agent is asked for its keys once a run; it has a
//! bounded number of connections at a time, one for each signature, so that many logins at once do not overrun it; to
//! list its keys takes a bounded time, whatever it does. A signature may wait for a person who must confirm it, so its
//! time is bounded by the login's own.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::keys::agent::client::AgentClient;
use russh::keys::agent::{AgentIdentity, AgentSessionBinding};
use russh::keys::key::parse_public_key;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Certificate, HashAlg};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{OnceCell, Semaphore};
use tracing::debug;

/// Connections to one agent at a time. OpenSSH's keeps 128 waiting (`SSH_LISTEN_BACKLOG` in ssh.h).
const AT_ONCE: usize = 8;

/// Longest answer that is taken; OpenSSH's own bound (`MAX_AGENT_REPLY_LEN` in authfd.c).
const LONGEST_ANSWER: usize = 256 * 1024;

const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;

/// The agents of a run, one for each socket.
#[derive(Default)]
pub(super) struct AgentPool(Mutex<HashMap<PathBuf, Arc<AgentHandle>>>);

impl AgentPool {
    pub(super) fn at(&self, socket: &Path) -> Arc<AgentHandle> {
        let mut agents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(agents.entry(socket.to_owned()).or_insert_with(|| Arc::new(AgentHandle::new(socket))))
    }
}

/// A key or certificate that an agent holds.
#[derive(Clone)]
pub(super) struct AgentKey {
    pub(super) key: KeyData,
    pub(super) certificate: Option<Arc<Certificate>>,
    pub(super) comment: String,
}

impl AgentKey {
    /// As the library names it.
    pub(super) fn identity(&self) -> AgentIdentity {
        match &self.certificate {
            Some(certificate) => AgentIdentity::from(certificate.as_ref().clone()),
            None => AgentIdentity::from(russh::keys::PublicKey::from(self.key.clone())),
        }
    }
}

/// One agent.
pub(super) struct AgentHandle {
    socket: PathBuf,
    places: Semaphore,
    keys: OnceCell<Result<Arc<[AgentKey]>, String>>,
}

impl AgentHandle {
    fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned(), places: Semaphore::new(AT_ONCE), keys: OnceCell::new() }
    }

    /// Its keys, in its order. The first caller sets how long the answer may take.
    pub(super) async fn keys(&self, patience: Duration) -> Result<Arc<[AgentKey]>, String> {
        let list = async {
            match tokio::time::timeout(patience, self.list()).await {
                Ok(Ok(keys)) => {
                    debug!(agent = %self.socket.display(), keys = keys.len(), "the agent listed its keys");
                    Ok(keys.into())
                }
                Ok(Err(error)) => Err(self.failure(&error)),
                Err(_) => Err(format!("no answer from {} in {patience:.1?}", self.socket.display())),
            }
        };
        // The first caller's list holds for the run, also if it is an error: a second login would only wait in vain
        // again.
        self.keys.get_or_init(|| list).await.clone()
    }

    /// Signs: the data with the signature added to it.
    pub(super) async fn sign(
        &self,
        binding: Option<&AgentSessionBinding>,
        identity: &AgentIdentity,
        hash: Option<HashAlg>,
        data: Vec<u8>,
    ) -> Result<Vec<u8>, String> {
        // Taken before the connection, which is what the agent has few of.
        let _place = self.places.acquire().await.map_err(|error| error.to_string())?;
        // A connection for each signature: an agent answers in order, so one that waits for a person would hold up the
        // others.
        let mut client = AgentClient::connect(self.connect().await.map_err(|error| self.failure(&error))?);
        if let Some(binding) = binding {
            // Only keys that are bound to hosts need it, and an agent other than OpenSSH's may not know it.
            if let Err(error) = client.bind_session(binding, false).await {
                debug!(%error, "cannot tell the agent which host this is");
            }
        }
        client.sign_request(identity, hash, data).await.map_err(|error| {
            // The protocol has no reason in its failure (draft-miller-ssh-agent), so a refusal is all that is known.
            if matches!(error, russh::keys::Error::AgentFailure) {
                "the agent refused to sign".to_owned()
            } else {
                format!("the agent did not sign: {error}")
            }
        })
    }

    async fn connect(&self) -> io::Result<UnixStream> {
        // No limit here: the callers have one.
        loop {
            match UnixStream::connect(&self.socket).await {
                // Its queue is full, with connections of others than us.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                connected => return connected,
            }
        }
    }

    async fn list(&self) -> io::Result<Vec<AgentKey>> {
        let _place = self.places.acquire().await.map_err(io::Error::other)?;
        let mut stream = self.connect().await?;
        stream.write_all(&[0, 0, 0, 1, REQUEST_IDENTITIES]).await?;
        let length = stream.read_u32().await? as usize;
        // Checked before memory is set aside for it.
        if length > LONGEST_ANSWER {
            return Err(io::Error::other("its answer is too long"));
        }
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer).await?;
        parse(&answer).ok_or_else(|| io::Error::other("its answer is not a list of keys"))
    }

    fn failure(&self, error: &io::Error) -> String {
        let socket = self.socket.display();
        let is = |kind| error.kind() == kind;
        if is(io::ErrorKind::NotFound) {
            format!("its socket {socket} does not exist")
        } else if is(io::ErrorKind::ConnectionRefused) {
            format!("nothing is listening on its socket {socket}: the agent has exited")
        } else if is(io::ErrorKind::UnexpectedEof) {
            format!("{socket} closed the connection")
        } else {
            format!("{socket}: {error}")
        }
    }
}

/// The keys of an answer. One of an unknown kind does not hide the others.
fn parse(answer: &[u8]) -> Option<Vec<AgentKey>> {
    let (&kind, mut rest) = answer.split_first()?;
    if kind != IDENTITIES_ANSWER {
        // Anything else is a failure or another protocol on that socket.
        return None;
    }
    let count = number(&mut rest)?;
    let mut keys = Vec::new();
    for _ in 0..count {
        let blob = string(&mut rest)?;
        let comment = String::from_utf8_lossy(string(&mut rest)?).into_owned();
        // The type stands at the front of each key; reading it must not move on in the answer.
        let kind = string(&mut &*blob).map(String::from_utf8_lossy).unwrap_or_default();
        let certificate = if kind.ends_with("-cert-v01@openssh.com") {
            let Ok(certificate) = Certificate::from_bytes(blob) else {
                debug!(%kind, comment, "cannot read a certificate of the agent");
                continue;
            };
            Some(Arc::new(certificate))
        } else {
            None
        };
        let key = match &certificate {
            // A certificate is offered with its key, which is what known keys are compared by.
            Some(certificate) => certificate.public_key().clone(),
            None => match parse_public_key(blob) {
                Ok(key) => key.key_data().clone(),
                Err(error) => {
                    debug!(%kind, comment, %error, "cannot read a key of the agent");
                    continue;
                }
            },
        };
        keys.push(AgentKey { key, certificate, comment });
    }
    Some(keys)
}

fn number(rest: &mut &[u8]) -> Option<u32> {
    let (number, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    Some(u32::from_be_bytes(*number))
}

fn string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = number(rest)? as usize;
    let (string, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(string)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]
mod tests {
    use super::*;

    fn put(list: &mut Vec<u8>, string: &[u8]) {
        list.extend(u32::try_from(string.len()).unwrap().to_be_bytes());
        list.extend(string);
    }

    #[test]
    fn a_key_of_an_unknown_kind_does_not_hide_the_others() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
        let key = russh::keys::PublicKey::from_openssh(key).unwrap();
        let mut unknown = Vec::new();
        put(&mut unknown, b"ssh-of-tomorrow");
        let mut answer = vec![IDENTITIES_ANSWER, 0, 0, 0, 2];
        put(&mut answer, &unknown);
        put(&mut answer, b"strange");
        put(&mut answer, &key.to_bytes().unwrap());
        put(&mut answer, b"mine");
        let keys = parse(&answer).unwrap();
        assert_eq!(keys.len(), 1);
        assert_eq!((keys[0].comment.as_str(), &keys[0].key), ("mine", key.key_data()));
        for end in 0..answer.len() {
            assert!(parse(&answer[..end]).is_none_or(|keys| keys.is_empty()), "cut at {end}");
        }
        assert!(parse(&[5]).is_none());
    }

    #[tokio::test]
    async fn an_agent_that_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("agent");
        let _listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let agents = AgentPool::default();
        let error = agents.at(&socket).keys(Duration::from_millis(30)).await.err().unwrap();
        assert!(error.starts_with("no answer from") && error.ends_with("in 30.0ms"), "{error}");
        // It is not asked again.
        assert_eq!(agents.at(&socket).keys(Duration::from_secs(600)).await.err(), Some(error));
    }

    #[tokio::test]
    async fn no_agent() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("agent");
        let error = AgentHandle::new(&socket).keys(Duration::from_secs(60)).await.err().unwrap();
        assert!(error.ends_with("does not exist"), "{error}");
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        let error = AgentHandle::new(&socket).keys(Duration::from_secs(60)).await.err().unwrap();
        assert!(error.ends_with("the agent has exited"), "{error}");
    }
}
