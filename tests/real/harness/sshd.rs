//! A bare sshd without a node, for decisions that are made before a login.
//!
//! An [`Sshd`] runs in the foreground on its own loopback address, and is killed by its pid when it is dropped. After a
//! login every command is `true`, and nothing is forwarded.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::cluster::{free_port, keygen, reserve_network};
use super::eventually;

/// Runs as `sh -c`, with the configuration's path as `$0`.
///
/// sshd requires a directory that the machine may not have. At each login, root's shell reads the rc files of root's
/// home on this machine, which can take any time; therefore root has an empty home there, and a plain shell.
const BOOT: &str = r#"
set -eu
mount -t tmpfs none /run
mkdir -m 755 /run/sshd /run/home
sed -e 's|^\(root:[^:]*:0:0:[^:]*\):.*|\1:/run/home:/bin/sh|' /etc/passwd >/run/passwd
mount --bind /run/passwd /etc/passwd
exec /usr/sbin/sshd -D -e -f "$0"
"#;

/// sshd in the foreground, in its own pid namespace, so that its connections end with it. It logs to stderr.
pub(super) fn sshd_alone(config: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", BOOT]);
    command.arg(config).stdin(Stdio::null());
    command
}

/// The environment of sshds: a directory, a network, a client key. All of them listen on the same port.
pub(crate) struct Sshds {
    dir: tempfile::TempDir,
    network: (u8, u8),
    pub(crate) port: u16,
    _reservation: TcpListener,
}

/// A running sshd.
pub(crate) struct Sshd {
    child: Child,
    pub(crate) address: Ipv4Addr,
}

impl Sshds {
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("ctl-sshd-").tempdir().unwrap();
        let (reservation, network) = reserve_network();
        let sshds = Self { dir, network, port: 0, _reservation: reservation };
        let public = keygen(&sshds.identity(), "ed25519");
        fs::write(sshds.path("authorized_keys"), public).unwrap();
        let all: Vec<Ipv4Addr> = (0..64).map(|number| sshds.address(number)).collect();
        Self { port: free_port(&all), ..sshds }
    }

    /// The address of the sshd with that number, up to 63.
    pub(crate) fn address(&self, number: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, self.network.0, self.network.1, 11 + number)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The private key that every sshd accepts, for root.
    pub(crate) fn identity(&self) -> PathBuf {
        self.path("id")
    }

    /// Creates an ed25519 key pair without comment, and returns the public key.
    pub(crate) fn key(&self, name: &str) -> String {
        keygen(&self.path(name), "ed25519").trim().to_owned()
    }

    /// Starts an sshd with these additional lines in its configuration (`HostKey …`), and waits until it listens.
    pub(crate) fn start(&self, number: u8, lines: &[String]) -> Sshd {
        let address = self.address(number);
        let config = self.path(&format!("sshd{number}.conf"));
        let log = self.path(&format!("sshd{number}.log"));
        let keys = self.path("authorized_keys");
        let text = format!(
            "ListenAddress {address}\nPort {}\nAuthorizedKeysFile {}\nStrictModes no\nPidFile none\nUsePAM no\n\
             MaxStartups 100\nForceCommand /bin/true\nDisableForwarding yes\n{}\n",
            self.port,
            keys.display(),
            lines.join("\n"),
        );
        fs::write(&config, text).unwrap();
        let file = fs::File::create(&log).unwrap();
        let child = sshd_alone(&config).stdout(Stdio::null()).stderr(file).spawn().unwrap();
        let mut sshd = Sshd { child, address };
        eventually("an sshd to listen", || {
            let ended = sshd.child.try_wait().unwrap();
            assert!(ended.is_none(), "sshd ended: {}", read(&log));
            TcpStream::connect(SocketAddrV4::new(address, self.port)).ok()
        });
        sshd
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

impl Drop for Sshd {
    fn drop(&mut self) {
        // This fails only if the process has ended before, which is fine.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
