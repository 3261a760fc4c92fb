//! Proxies of a few lines, which lead everything to one address and keep what they were asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

type Requests = Arc<Mutex<Vec<String>>>;

/// Knows CONNECT only.
pub(super) struct HttpProxy {
    address: SocketAddr,
    requests: Requests,
}

/// RFC 1928 with a password (RFC 1929).
pub(super) struct SocksProxy {
    address: SocketAddr,
    requests: Requests,
}

impl HttpProxy {
    /// Answers `status` to all; with 200 it leads to `target`, without one it hangs up.
    pub(super) async fn start(target: SocketAddr, status: &'static str) -> HttpProxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Requests::default();
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                let connects = head.starts_with("CONNECT ");
                seen.lock().unwrap().push(head);
                if status.is_empty() || !connects {
                    continue;
                }
                let answer = format!("HTTP/1.1 {status}\r\n\r\n");
                client.write_all(answer.as_bytes()).await.unwrap();
                if status.starts_with("200") {
                    lead(client, target).await;
                }
            }
        });
        HttpProxy { address, requests }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

impl SocksProxy {
    pub(super) async fn start(target: SocketAddr) -> SocksProxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Requests::default();
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            let (mut client, _) = listener.accept().await.unwrap();
            assert_eq!(client.read_u8().await.unwrap(), 5, "the version");
            let _methods = text(&mut client).await;
            client.write_all(&[5, 2]).await.unwrap();
            assert_eq!(
                client.read_u8().await.unwrap(),
                1,
                "the version of the password's"
            );
            let (user, password) = (text(&mut client).await, text(&mut client).await);
            client.write_all(&[1, 0]).await.unwrap();
            let mut head = [0; 4];
            client.read_exact(&mut head).await.unwrap();
            assert_eq!(head, [5, 1, 0, 3], "connect to a name");
            let host = text(&mut client).await;
            let port = client.read_u16().await.unwrap();
            let request = format!("{user}:{password} {host}:{port}");
            seen.lock().unwrap().push(request);
            client
                .write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])
                .await
                .unwrap();
            lead(client, target).await;
        });
        SocksProxy { address, requests }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// A length of one byte, and so many bytes.
async fn text(client: &mut TcpStream) -> String {
    let length = client.read_u8().await.unwrap();
    let mut bytes = vec![0; usize::from(length)];
    client.read_exact(&mut bytes).await.unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn lead(mut client: TcpStream, target: SocketAddr) {
    let mut target = TcpStream::connect(target).await.unwrap();
    // either side may hang up as it likes
    let _ = copy_bidirectional(&mut client, &mut target).await;
}
