//! Raw sockets on both sides of a proxy: a client that sends the bytes it is told to, and an upstream whose answers a test
//! writes by hand.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;

use super::PATIENCE;

/// One end of a TCP connection.
pub struct Wire {
    stream: TcpStream,
    /// Read and not yet asked for.
    ahead: Vec<u8>,
}

/// How a peer ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// In order.
    Closed,
    /// With a reset.
    Reset,
}

impl Wire {
    /// Connects to `http://HOST:PORT`.
    pub fn connect(url: &str) -> Self {
        let address = url.strip_prefix("http://").unwrap();
        Self::over(TcpStream::connect(address).unwrap())
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self {
            stream,
            ahead: Vec::new(),
        }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Reads up to and including `mark`.
    pub fn read_until(&mut self, mark: &str) -> String {
        loop {
            let found = memchr::memmem::find(&self.ahead, mark.as_bytes());
            if let Some(at) = found {
                return self.take(at + mark.len());
            }
            assert!(
                self.read_more().is_ok_and(|read| read > 0),
                "ended before {mark:?}, after {:?}",
                String::from_utf8_lossy(&self.ahead)
            );
        }
    }

    /// Reads a message's head.
    pub fn read_head(&mut self) -> String {
        self.read_until("\r\n\r\n")
    }

    /// Reads exactly so many bytes.
    pub fn read_exact(&mut self, bytes: usize) -> String {
        while self.ahead.len() < bytes {
            assert!(self.read_more().is_ok_and(|read| read > 0), "ended early");
        }
        self.take(bytes)
    }

    /// Reads exactly so many bytes that are no text.
    pub fn read_bytes(&mut self, bytes: usize) -> Vec<u8> {
        while self.ahead.len() < bytes {
            assert!(self.read_more().is_ok_and(|read| read > 0), "ended early");
        }
        self.ahead.drain(..bytes).collect()
    }

    /// Reads what is left, and how it ended.
    pub fn read_to_end(&mut self) -> (String, Ending) {
        loop {
            match self.read_more() {
                Ok(0) => return (self.take(self.ahead.len()), Ending::Closed),
                Ok(_) => {}
                Err(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                    return (self.take(self.ahead.len()), Ending::Reset);
                }
                Err(error) => panic!("no end in time: {error:?}"),
            }
        }
    }

    /// Reads and forgets exactly so many bytes, however many they are.
    pub fn skip(&mut self, mut bytes: u64) {
        while bytes > 0 {
            if self.ahead.is_empty() {
                assert!(self.read_more().is_ok_and(|read| read > 0), "ended early");
            }
            let now = self.ahead.len().min(usize::try_from(bytes).unwrap());
            self.ahead.drain(..now);
            bytes -= now as u64;
        }
    }

    /// Ends the connection with a reset.
    pub fn reset(self) {
        socket2::SockRef::from(&self.stream)
            .set_linger(Some(std::time::Duration::ZERO))
            .unwrap();
    }

    /// Closes this side: nothing more will be sent, an answer is still read.
    pub fn finish(&self) {
        self.stream.shutdown(std::net::Shutdown::Write).unwrap();
    }

    /// A second handle, to write from another thread.
    pub fn writer(&self) -> TcpStream {
        self.stream.try_clone().unwrap()
    }

    fn read_more(&mut self) -> Result<usize, ErrorKind> {
        let mut piece = vec![0; 64 << 10];
        let read = self.stream.read(&mut piece).map_err(|error| error.kind())?;
        self.ahead.extend_from_slice(&piece[..read]);
        Ok(read)
    }

    fn take(&mut self, bytes: usize) -> String {
        String::from_utf8_lossy(&self.ahead.drain(..bytes).collect::<Vec<_>>()).into_owned()
    }
}

/// A server whose connections are handled by the test.
pub struct Upstream {
    address: SocketAddr,
    connections: mpsc::Receiver<TcpStream>,
}

impl Upstream {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, connections) = mpsc::channel();
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if sender.send(stream).is_err() {
                    break;
                }
            }
        });
        Self {
            address,
            connections,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next connection.
    pub fn accept(&self) -> Wire {
        Wire::over(self.connections.recv_timeout(PATIENCE).unwrap())
    }

    /// Whether nobody has connected since the last `accept`.
    pub fn is_alone(&self) -> bool {
        self.connections.try_recv().is_err()
    }
}

/// `GET path` from `url` over a connection of its own: the whole answer.
pub fn get(url: &str, path: &str) -> String {
    let mut wire = Wire::connect(url);
    wire.send(format!(
        "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
    ));
    wire.read_to_end().0
}

/// The value of one line of `/metrics`, by its name with labels; 0 where it is not there.
#[allow(clippy::cast_possible_truncation, reason = "counts are small")]
pub fn metric(admin: &str, name: &str) -> u64 {
    let page = get(admin, "/metrics");
    let value = page
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(0, |value| value.trim().parse::<f64>().unwrap() as u64)
}

/// Waits until that value is at least `least`. Nothing tells of a counter but asking, which is not done so often that the
/// asking is what keeps the recorder busy.
pub fn metric_reaches(admin: &str, name: &str, least: u64) {
    super::answered(|| match metric(admin, name) >= least {
        true => Ok(()),
        false => Err(format!(
            "{name} stays below {least}:\n{}",
            get(admin, "/metrics")
        )),
    });
}
