use std::cell::RefCell;
use std::io::{self, IoSliceMut};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant, SystemTime};

use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use nix::sys::time::TimeSpec;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// A TCP connection that knows when what was read had come to the system, which stamps each packet. So a moment is that of the answer's,
/// however late the thread is that reads it, and whoever else it reads for.
pub(super) struct Stamped {
    tcp: TcpStream,
    /// Whether the system stamps.
    stamps: bool,
    last: Arc<LastPacket>,
}

/// When the last packet had come of what was read last from a connection; where the system does not tell, when it was read.
pub(super) struct LastPacket {
    began: Instant,
    after_ns: AtomicU64,
}

impl LastPacket {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            after_ns: AtomicU64::new(0),
        }
    }

    fn lay(&self, lay: Duration) {
        let now = Instant::now();
        let came = now.checked_sub(lay).unwrap_or(now);
        let after = came.saturating_duration_since(self.began).as_nanos();
        let after = u64::try_from(after).unwrap_or(u64::MAX);
        self.after_ns.store(after, Ordering::Relaxed);
    }

    pub(super) fn at(&self) -> Instant {
        self.began + Duration::from_nanos(self.after_ns.load(Ordering::Relaxed))
    }
}

impl Stamped {
    pub(super) fn over(tcp: TcpStream) -> Self {
        let stamps = setsockopt(&tcp, sockopt::ReceiveTimestampns, &true).is_ok();
        Self {
            tcp,
            stamps,
            last: Arc::new(LastPacket::new()),
        }
    }

    pub(super) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    pub(super) fn last(&self) -> &Arc<LastPacket> {
        &self.last
    }

    /// One read, and when the last packet of what it brought had come.
    fn receive(&self, into: &mut [u8]) -> io::Result<(usize, Option<TimeSpec>)> {
        CONTROL.with_borrow_mut(|control| {
            let mut into = [IoSliceMut::new(into)];
            let fd = self.tcp.as_raw_fd();
            let flags = MsgFlags::empty();
            let read = recvmsg::<SockaddrStorage>(fd, &mut into, Some(control), flags)?;
            // What was read is taken, whether or not its stamp can be.
            let mut messages = read.cmsgs().into_iter().flatten();
            let stamp = messages.find_map(|message| match message {
                ControlMessageOwned::ScmTimestampns(stamp) => Some(stamp),
                _ => None,
            });
            Ok((read.bytes, stamp))
        })
    }
}

impl AsyncRead for Stamped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.stamps {
            ready!(Pin::new(&mut self.tcp).poll_read(cx, buf))?;
            self.last.lay(Duration::ZERO);
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(self.tcp.poll_read_ready(cx))?;
            let into = buf.initialize_unfilled();
            let room = into.len();
            let mut read = None;
            let tried = self.tcp.try_io(Interest::READABLE, || {
                let (bytes, stamp) = self.receive(into)?;
                read = Some((bytes, stamp));
                match bytes {
                    // There is no more, and nobody needs to ask: the runtime is told so.
                    1.. if bytes < room => Err(io::ErrorKind::WouldBlock.into()),
                    _ => Ok(()),
                }
            });
            match (read, tried) {
                (Some((bytes, stamp)), _) => {
                    self.last.lay(stamp.map_or(Duration::ZERO, since));
                    buf.advance(bytes);
                    return Poll::Ready(Ok(()));
                }
                (None, Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                (None, tried) => return Poll::Ready(tried),
            }
        }
    }
}

impl AsyncWrite for Stamped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

/// Stamps are of the wall clock; one that was set meanwhile is seen by what cannot be.
fn since(stamp: TimeSpec) -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let lay = now.ok().and_then(|now| now.checked_sub(stamp.into()));
    lay.filter(|lay| *lay < LONGEST).unwrap_or_default()
}

/// Nothing lies longer beside a thread that is alive.
const LONGEST: Duration = Duration::from_secs(10);

thread_local! {
    /// Room for the stamp.
    static CONTROL: RefCell<Vec<u8>> = RefCell::new(nix::cmsg_space!(TimeSpec));
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::mpsc;

    use tokio::io::AsyncReadExt;
    use tokio::time::timeout;

    use super::*;

    /// A connection, and its other end.
    async fn pair() -> (Stamped, std::net::TcpStream) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).await;
        (Stamped::over(tcp.unwrap()), listener.accept().unwrap().0)
    }

    #[tokio::test(flavor = "current_thread")]
    async fn it_tells_how_long_what_is_read_late_lay_there() {
        const LATE: Duration = Duration::from_millis(20);
        const TWO_CLOCKS: Duration = Duration::from_millis(1);
        let (mut near, mut far) = pair().await;
        // A system that nobody has asked for stamps begins a moment after it is asked.
        for _ in 0..100 {
            let before = Instant::now();
            far.write_all(b"late").unwrap();
            let after = Instant::now();
            near.tcp().readable().await.unwrap();
            while after.elapsed() < LATE {
                std::hint::spin_loop();
            }
            let read = Instant::now();
            assert_eq!(near.read(&mut [0; 16]).await.unwrap(), 4);
            let came = near.last().at();
            // Without a stamp it is when it was read. Two clocks are compared: they may differ by what lies between looking at them.
            if came < read {
                assert!(came + TWO_CLOCKS >= before && came <= after + TWO_CLOCKS);
                return;
            }
        }
        panic!("the system stamps nothing");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_comes_is_read_to_the_end() {
        const LONG: Duration = Duration::from_secs(60);
        let (mut near, mut far) = pair().await;
        let sent: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        let whole = sent.clone();
        let (said, heard) = mpsc::channel();
        let writer = std::thread::spawn(move || {
            let mut written = 0;
            for portion in whole.chunks(777) {
                far.write_all(portion).unwrap();
                written += portion.len();
                // Now and then all is read, and the reader waits, before more comes.
                while written % 10 == 0 && heard.recv().is_ok_and(|read| read < written) {}
            }
        });
        let mut read = Vec::new();
        // Reads that are filled, and such as are not.
        loop {
            let mut into = [0; 1000];
            let coming = near.read(&mut into);
            match timeout(LONG, coming).await.unwrap().unwrap() {
                0 => break,
                bytes => read.extend_from_slice(&into[..bytes]),
            }
            let _ = said.send(read.len());
        }
        assert_eq!(read, sent);
        drop(said);
        writer.join().unwrap();
    }

    #[test]
    fn a_stamp_of_a_clock_that_was_set_says_nothing() {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap();
        let lay = |at: Duration| since(TimeSpec::from_duration(at));
        assert!(lay(now - Duration::from_millis(5)) >= Duration::from_millis(5));
        assert_eq!(lay(now + Duration::from_secs(60)), Duration::ZERO);
        assert_eq!(lay(now - Duration::from_secs(60)), Duration::ZERO);
    }
}
