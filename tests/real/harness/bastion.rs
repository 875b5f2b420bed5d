//! A bastion: an sshd on the machine's loopback, through which a cluster's nodes can be reached.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use super::eventually;
use super::sshd::sshd_alone;

/// A running sshd. It is killed when dropped, with its connections.
pub(crate) struct Bastion {
    pub(crate) endpoint: SocketAddrV4,
    config: PathBuf,
    log: PathBuf,
    sshd: Option<Child>,
}

impl Bastion {
    /// Starts an sshd on `endpoint` with its files below `dir`. `settings` are lines of sshd_config.
    pub(super) fn start(endpoint: SocketAddrV4, dir: &Path, client_key: &str, settings: &str) -> Self {
        fs::create_dir_all(dir).unwrap();
        let authorized = dir.join("authorized_keys");
        fs::write(&authorized, client_key).unwrap();
        let config = dir.join("sshd_config");
        let text = format!(
            "{settings}\nPort {}\nListenAddress {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\n\
             LogLevel VERBOSE\nUsePAM no\nUseDNS no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\n",
            endpoint.port(),
            endpoint.ip(),
            authorized.display()
        );
        fs::write(&config, text).unwrap();
        let mut bastion = Self { endpoint, config, log: dir.join("log"), sshd: None };
        bastion.listen();
        bastion
    }

    /// Starts it; can be called again after a kill.
    pub(crate) fn listen(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        let sshd = sshd_alone(&self.config).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        self.sshd = Some(sshd);
        eventually("the bastion's port", || TcpStream::connect(self.endpoint).ok());
    }

    /// Kills it and every connection through it.
    pub(crate) fn kill(&mut self) {
        if let Some(mut sshd) = self.sshd.take() {
            drop(sshd.kill());
            drop(sshd.wait());
        }
    }

    pub(crate) fn address(&self) -> Ipv4Addr {
        *self.endpoint.ip()
    }

    /// Its log.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The number of logins it has accepted.
    pub(crate) fn logins(&self) -> usize {
        self.log().lines().filter(|line| line.starts_with("Accepted publickey for")).count()
    }
}

impl Drop for Bastion {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("bastion {}:\n{}", self.endpoint, self.log());
        }
    }
}
