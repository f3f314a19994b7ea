//! A server that does what a test tells it to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// One step of an answer.
#[derive(Clone)]
pub(super) enum Step {
    /// Writes these bytes.
    Say(String),
    /// Waits.
    Wait(Duration),
    /// Breaks the connection with a reset.
    Reset,
    /// Ends the connection in order.
    Close,
    /// Says nothing more until the client goes.
    Hang,
    /// Says the same again and again until the client goes.
    Babble(String),
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) head: String,
    pub(super) body: String,
}

pub(super) struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    accepted: Arc<AtomicUsize>,
    gone: crossbeam_channel::Receiver<()>,
}

impl Server {
    /// A server that answers each request with what `script` makes of it.
    pub(super) fn start(script: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), script)
    }

    /// The same on a listener of one's own.
    pub(super) fn on(
        listener: TcpListener,
        script: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (leaving, gone) = crossbeam_channel::unbounded();
        let script = Arc::new(script);
        let log = Arc::clone(&seen);
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::Relaxed);
                let (script, log, leaving) = (script.clone(), log.clone(), leaving.clone());
                std::thread::spawn(move || serve(&connection, &*script, &log, &leaving));
            }
        });
        Self {
            address,
            seen,
            accepted,
            gone,
        }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// How many connections it has accepted.
    pub(super) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Waits until a client has gone away in the middle of an answer.
    pub(super) fn client_gone(&self) -> bool {
        self.gone.recv_timeout(Duration::from_secs(5)).is_ok()
    }
}

/// A port that nobody listens on, and that nobody else gets as long as the socket lives; and its URL.
pub(super) fn refusing() -> (Socket, String) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, format!("http://{address}"))
}

fn serve(
    connection: &TcpStream,
    script: &dyn Fn(&Seen) -> Vec<Step>,
    log: &Mutex<Vec<Seen>>,
    leaving: &crossbeam_channel::Sender<()>,
) {
    // What a test says in several pieces would else wait for the client's delayed acknowledgement, some 40 ms.
    connection.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(connection);
    let mut writer = connection;
    while let Some(request) = read_request(&mut reader) {
        let steps = script(&request);
        log.lock().unwrap().push(request);
        for step in steps {
            let done = match step {
                Step::Say(text) => writer.write_all(text.as_bytes()),
                Step::Wait(time) => {
                    std::thread::sleep(time);
                    Ok(())
                }
                Step::Reset => {
                    let linger = Some(Duration::ZERO);
                    socket2::SockRef::from(connection)
                        .set_linger(linger)
                        .unwrap();
                    return;
                }
                Step::Close => return,
                Step::Hang => {
                    let _ = reader.read(&mut [0]);
                    let _ = leaving.send(());
                    return;
                }
                Step::Babble(text) => {
                    while writer.write_all(text.as_bytes()).is_ok() {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    let _ = leaving.send(());
                    return;
                }
            };
            if done.is_err() {
                let _ = leaving.send(());
                return;
            }
        }
    }
}

pub(super) fn read_request(reader: &mut impl BufRead) -> Option<Seen> {
    let mut head = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Seen {
        head,
        body: String::from_utf8(body).ok()?,
    })
}

/// A whole answer.
pub(super) fn answer(status: u16, headers: &str, body: &str) -> Step {
    Step::Say(format!(
        "HTTP/1.1 {status} Whatever\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    ))
}

/// The head of a stream.
pub(super) fn stream_head() -> Step {
    Step::Say(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
            .to_owned(),
    )
}

/// One HTTP chunk.
pub(super) fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// One token event of a chat stream.
pub(super) fn token() -> String {
    chunk("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"word\"}}]}\n\n")
}

/// The end of a chat stream: usage, end mark, last chunk.
pub(super) fn end(prompt: u32, completion: u32, cached: u32) -> String {
    let usage = format!(
        "data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":{prompt},\"completion_tokens\":{completion},\"prompt_tokens_details\":{{\"cached_tokens\":{cached}}}}}}}\n\n"
    );
    chunk(&usage) + &chunk("data: [DONE]\n\n") + "0\r\n\r\n"
}
