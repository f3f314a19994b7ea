use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::record::front::socket::{RawSocket, Socket};

/// Tells a client that there are too many, in words it understands whatever it asks for. Over TLS that would take a handshake,
/// which is what there are too many of: such a client's connection is just closed.
pub(in crate::record) async fn turn_away(socket: RawSocket, tls: bool) {
    if tls {
        return;
    }
    if let Ok(socket) = Socket::from_raw(socket) {
        let _ = tokio::time::timeout(PATIENCE, say(socket)).await;
    }
}

async fn say(mut socket: Socket) -> std::io::Result<()> {
    socket.write_all(TOO_MANY).await?;
    socket.shutdown().await?;
    // Closed with the request unread, the connection would be reset, and the answer lost with it.
    let mut unread = [0; 4096];
    for _ in 0..MOST_READS {
        if socket.read(&mut unread).await? == 0 {
            break;
        }
    }
    Ok(())
}

const PATIENCE: Duration = Duration::from_secs(1);
const MOST_READS: usize = 16;

const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    content-type: text/plain; charset=utf-8\r\n\
    x-reenact-error: too_many_connections\r\n\
    retry-after: 1\r\n\
    connection: close\r\n\
    content-length: 39\r\n\r\n\
    reenact: too many clients are connected";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_as_long_as_it_says() {
        let text = std::str::from_utf8(TOO_MANY).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())));
    }
}
