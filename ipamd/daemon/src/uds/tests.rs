use std::os::unix::fs::FileTypeExt;

use tokio_stream::StreamExt;

use super::*;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[tokio::test]
async fn socket_is_private_and_gone_after_drop() {
    let folder = folder();
    let path = folder.path().join("made/below/daemon.sock");
    let socket = bind(&path).unwrap();
    let metadata = fs::symlink_metadata(&path).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.mode() & 0o777, 0o600);
    drop(socket);
    assert!(!path.exists());
}

#[tokio::test]
async fn second_process_is_refused_and_told_the_first_ones_pid() {
    let folder = folder();
    let path = folder.path().join("daemon.sock");
    let _first = bind(&path).unwrap();
    let error = bind(&path).unwrap_err();
    let pid = format!("pid {}", std::process::id());
    assert!(
        matches!(&error, BindSocketError::Served { holder, .. } if *holder == pid),
        "{error:?}"
    );
}

#[tokio::test]
async fn stale_socket_is_replaced_and_a_live_foreign_one_is_not() {
    let folder = folder();
    let path = folder.path().join("daemon.sock");
    let foreign = std::os::unix::net::UnixListener::bind(&path).unwrap();
    assert!(matches!(bind(&path), Err(BindSocketError::Served { .. })));
    // Closing does not unlink: this is what a killed daemon leaves.
    drop(foreign);
    assert!(path.exists());
    bind(&path).unwrap();
}

#[tokio::test]
async fn a_file_under_the_sockets_name_is_left_alone() {
    let folder = folder();
    let path = folder.path().join("daemon.sock");
    fs::write(&path, "precious").unwrap();
    assert!(matches!(
        bind(&path),
        Err(BindSocketError::NotSocket { .. })
    ));
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[tokio::test]
async fn successors_socket_is_not_removed_by_its_predecessor() {
    let folder = folder();
    let path = folder.path().join("daemon.sock");
    let first = bind(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let _other = std::os::unix::net::UnixListener::bind(&path).unwrap();
    drop(first);
    assert!(path.exists());
}

#[tokio::test]
async fn own_user_is_accepted_and_others_are_closed() {
    let folder = folder();
    let path = folder.path().join("daemon.sock");
    let mut incoming = bind(&path).unwrap().into_incoming();
    let _client = UnixStream::connect(&path).await.unwrap();
    assert!(incoming.next().await.unwrap().is_ok());

    // Nobody is trusted any more: the peer must see its connection closed, and none is handed out.
    incoming.trusted = [u32::MAX; 2];
    let refused = UnixStream::connect(&path).await.unwrap();
    tokio::select! {
        accepted = incoming.next() => panic!("handed out: {accepted:?}"),
        closed = closed(&refused) => closed.unwrap(),
    }
}

async fn closed(stream: &UnixStream) -> io::Result<()> {
    loop {
        stream.readable().await?;
        match stream.try_read(&mut [0; 1]) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}
