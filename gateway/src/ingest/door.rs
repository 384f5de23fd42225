//! The sockets that connections are accepted from: how they are bound, and what is left of them.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixSocket};

use super::socket::{Peer, Socket};
use crate::config::{Listen, ListenerConfig, SocketAccess};
use crate::service_manager::{Handed, HandedSocket};

/// Connections that the kernel holds for us, of a burst and while all permits are out. Beyond it
/// handshakes are dropped, whosever they are, and tried again after a second. More than this the
/// kernel cuts down by itself (`net.core.somaxconn`).
const BACKLOG: u32 = 4096;

/// One listening socket.
#[derive(Debug)]
pub(super) enum Door {
    Tcp(TcpListener),
    /// Without a file of its own where it was handed over.
    Unix(UnixListener, Option<SocketFile>),
}

impl Door {
    /// Binds, or takes what was `handed` over: one socket at least. Must be called within a runtime.
    pub(super) fn open(config: &ListenerConfig, handed: &Handed) -> io::Result<Vec<Self>> {
        if let Listen::Systemd(name) = &config.listen {
            return handed.named(name)?.iter().map(Self::over).collect();
        }
        Self::bind(config).map(|door| vec![door])
    }

    /// A socket that was handed over. It stays open when this one is dropped.
    fn over(socket: &HandedSocket) -> io::Result<Self> {
        match socket {
            HandedSocket::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                TcpListener::from_std(listener.try_clone()?).map(Self::Tcp)
            }
            HandedSocket::Unix(listener) => {
                listener.set_nonblocking(true)?;
                let listener = UnixListener::from_std(listener.try_clone()?)?;
                Ok(Self::Unix(listener, None))
            }
        }
    }

    fn bind(config: &ListenerConfig) -> io::Result<Self> {
        match &config.listen {
            Listen::Tcp(address) => {
                let socket =
                    if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
                // A restart must not wait for the connections of the process before it to time out.
                socket.set_reuseaddr(true)?;
                socket.bind(*address)?;
                socket.listen(BACKLOG).map(Self::Tcp)
            }
            Listen::Unix(path) => {
                let (listener, file) = bind_unix(path, config.access)?;
                Ok(Self::Unix(listener, Some(file)))
            }
            Listen::Systemd(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Where it listens, as it is written in a configuration; tells the port where 0 was asked for.
    pub(super) fn address(&self) -> io::Result<Listen> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Listen::Tcp),
            Self::Unix(_, Some(file)) => Ok(Listen::Unix(file.path.clone())),
            Self::Unix(listener, None) => {
                let address = listener.local_addr()?;
                // One without a name is found by nobody, and so is no path.
                Ok(Listen::Unix(address.as_pathname().map(Path::to_owned).unwrap_or_default()))
            }
        }
    }

    /// Cancel safe.
    pub(super) async fn accept(&self) -> io::Result<(Socket, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                Ok((Socket::Tcp(stream), Peer::Tcp(address)))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok((Socket::Unix(stream), Peer::Local))
            }
        }
    }
}

/// The file of a Unix socket. Dropping it removes it, unless another has taken its place.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            // Whoever comes next finds out that nobody listens there.
            fs::remove_file(&self.path).ok();
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Binds beside `path` and moves the socket there, so that nobody finds it before it is open to
/// those that it is meant for, and to no others. It takes the place of a socket that is left of a
/// process that has ended, and of nothing else.
fn bind_unix(path: &Path, access: SocketAccess) -> io::Result<(UnixListener, SocketFile)> {
    check_free(path)?;
    let mut beside = path.to_owned().into_os_string();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    if fs::symlink_metadata(&beside).is_ok_and(|metadata| metadata.file_type().is_socket()) {
        // Of a process that ended while it was about to do the same.
        fs::remove_file(&beside)?;
    }
    let socket = UnixSocket::new_stream()?;
    socket.bind(&beside)?;
    let placed = set_access(&beside, access)
        .and_then(|()| socket.listen(BACKLOG))
        .and_then(|listener| Ok((identity(&beside)?, listener)))
        .and_then(|made| fs::rename(&beside, path).map(|()| made));
    let (identity, listener) = placed.inspect_err(|_| {
        fs::remove_file(&beside).ok();
    })?;
    Ok((listener, SocketFile { path: path.to_owned(), identity }))
}

/// An error where there is something at `path` that is in use, or no socket.
fn check_free(path: &Path) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !metadata.file_type().is_socket() {
        let message = "there is a file of that name that is no socket";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(error),
    }
}

/// Opens a socket's file to those that it is meant for.
pub(crate) fn set_access(path: &Path, access: SocketAccess) -> io::Result<()> {
    let SocketAccess { mode, owner, group } = access;
    if owner.is_some() || group.is_some() {
        chown(path, owner, group)?;
    }
    fs::set_permissions(path, Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(path: &Path, mode: u32) -> ListenerConfig {
        let access = SocketAccess { mode, ..SocketAccess::default() };
        ListenerConfig { access, ..ListenerConfig::plain(Listen::Unix(path.to_owned())) }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[tokio::test]
    async fn a_socket_is_open_as_told_and_gone_with_its_listener() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ingest.sock");
        let door = Door::bind(&config(&path, 0o600)).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(door.address().unwrap(), Listen::Unix(path.clone()));
        let _client = UnixStream::connect(&path).unwrap();
        assert_eq!(door.accept().await.unwrap().1, Peer::Local);
        set_access(&path, SocketAccess { mode: 0o666, ..SocketAccess::default() }).unwrap();
        assert_eq!(mode(&path), 0o666);
        drop(door);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn only_a_socket_where_nobody_listens_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ingest.sock");
        let kind = |path: &Path| Door::bind(&config(path, 0o660)).unwrap_err().kind();

        // In use: it stays as it is, and the other goes on listening.
        let other = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert_eq!(kind(&path), io::ErrorKind::AddrInUse);
        UnixStream::connect(&path).unwrap();

        // Left over. It is not removed by the door that is refused, and taken over by the next.
        drop(other);
        assert_eq!(
            UnixStream::connect(&path).unwrap_err().kind(),
            io::ErrorKind::ConnectionRefused
        );
        let door = Door::bind(&config(&path, 0o660)).unwrap();
        UnixStream::connect(&path).unwrap();

        // Replaced behind its back: what is there now is somebody else's.
        fs::remove_file(&path).unwrap();
        let next = std::os::unix::net::UnixListener::bind(&path).unwrap();
        drop(door);
        UnixStream::connect(&path).unwrap();
        drop(next);

        // No socket: a file, a link to nothing.
        fs::remove_file(&path).unwrap();
        fs::write(&path, "kept").unwrap();
        assert_eq!(kind(&path), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "kept");
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("nothing", &path).unwrap();
        assert_eq!(kind(&path), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn what_cannot_be_opened_to_whom_it_is_meant_for_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none/ingest.sock");
        assert_eq!(Door::bind(&config(&path, 0o660)).unwrap_err().kind(), io::ErrorKind::NotFound);
        let path = folder.path().join("ingest.sock");
        fs::create_dir(folder.path().join("ingest.sock.new")).unwrap();
        assert_eq!(Door::bind(&config(&path, 0o660)).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert!(!path.exists());
    }
}
