//! OpenSSH's sshd alone, as light as it comes: for what is decided before anybody is logged in.
//!
//! An [`Sshd`] runs in the foreground on a loopback address of its own, and is killed by its pid when it is dropped. A
//! login gives nothing but the exit code 0: every command is `true`, nothing is forwarded.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::cluster::{free_port, keygen, reserve_network};
use super::eventually;

/// Runs as `sh -c`, with the configuration's path as `$0`.
///
/// sshd wants a directory that the machine may not have. And root's shell reads what root's home on this machine tells
/// it to do at each login, which may take as long as it likes; so root has an empty home there, and a plain shell.
const BOOT: &str = r#"
set -eu
mount -t tmpfs none /run
mkdir -m 755 /run/sshd /run/home
sed -e 's|^\(root:[^:]*:0:0:[^:]*\):.*|\1:/run/home:/bin/sh|' /etc/passwd >/run/passwd
mount --bind /run/passwd /etc/passwd
exec /usr/sbin/sshd -D -e -f "$0"
"#;

/// sshd in the foreground, in a namespace of processes that ends with it, and so do its connections. It logs to its
/// stderr.
pub(super) fn sshd_alone(config: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", BOOT]);
    command.arg(config).stdin(Stdio::null());
    command
}

/// Where sshds run: a directory, a network, a client key. All of them listen on the same port.
pub(crate) struct Sshds {
    dir: tempfile::TempDir,
    network: (u8, u8),
    pub(crate) port: u16,
    _reservation: TcpListener,
}

/// An sshd that runs.
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

    /// The address of the sshd of that number, up to 63.
    pub(crate) fn address(&self, number: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, self.network.0, self.network.1, 11 + number)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The private key that every sshd lets in, as root.
    pub(crate) fn identity(&self) -> PathBuf {
        self.path("id")
    }

    /// Makes an ed25519 key pair without comment, and gives the public half.
    pub(crate) fn key(&self, name: &str) -> String {
        keygen(&self.path(name), "ed25519").trim().to_owned()
    }

    /// Starts an sshd with these lines in its configuration (`HostKey …`), and waits until it listens.
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
        // It can only have ended before, which is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
