//! A stream that gives up a peer which does not receive what is sent to it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// The bytes that a peer must receive within the timeout: one that takes a few bytes now and then is
/// given up as well.
const MIN_PROGRESS: usize = 64 * 1024;

/// Fails a write when the peer has not received [`MIN_PROGRESS`], or all there was, within a time.
#[derive(Debug)]
pub(crate) struct WriteTimeout<S> {
    stream: S,
    timeout: Duration,
    /// Runs from the first write or flush that the operating system had no buffer for.
    deadline: Option<Pin<Box<Sleep>>>,
    /// Written since then, in bytes.
    written: usize,
}

impl<S> WriteTimeout<S> {
    pub(crate) fn new(stream: S, timeout: Duration) -> Self {
        Self { stream, timeout, deadline: None, written: 0 }
    }

    fn observe(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match polled {
            Poll::Ready(Ok(count)) => {
                self.written += count;
                if self.written >= MIN_PROGRESS {
                    self.deadline = None;
                }
                Poll::Ready(Ok(count))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.wait(cx).map(Err),
        }
    }

    /// The same of a flush, or of the end: all there was is received when it is over. TLS takes what is
    /// written into buffers of its own, and may wait for the peer here alone.
    fn observe_flush(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>> {
        if polled.is_pending() {
            return self.wait(cx).map(Err);
        }
        self.deadline = None;
        polled
    }

    /// Waits for the peer, until the deadline.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let Self { timeout, written, .. } = self;
        let deadline = self.deadline.get_or_insert_with(|| {
            *written = 0;
            Box::pin(sleep(*timeout))
        });
        ready!(deadline.as_mut().poll(cx));
        let error = "the client does not receive the response";
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, error))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteTimeout<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteTimeout<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.observe(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.observe(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes when it has nothing left to write: the operating system has all there was.
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.observe_flush(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.observe_flush(cx, polled)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, BufWriter, duplex},
        time::timeout,
    };

    use super::*;

    #[tokio::test]
    async fn a_peer_that_does_not_receive_is_given_up() {
        let (stream, _peer) = duplex(16);
        let mut stream = WriteTimeout::new(stream, Duration::from_millis(1));
        let error = stream.write_all(&[0; 17]).await.expect_err("nobody receives it");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_peer_that_does_not_receive_what_was_buffered_is_given_up() {
        // As TLS does, the buffer takes all that is written, whatever the peer does.
        let (stream, _peer) = duplex(16);
        let mut stream = WriteTimeout::new(BufWriter::new(stream), Duration::from_millis(1));
        stream.write_all(&[0; 17]).await.expect("it is buffered");
        let flushed = timeout(Duration::from_secs(10), stream.flush()).await;
        let error = flushed.expect("it ends").expect_err("nobody receives it");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);

        let (stream, _peer) = duplex(16);
        let mut stream = WriteTimeout::new(BufWriter::new(stream), Duration::from_millis(1));
        stream.write_all(&[0; 17]).await.expect("it is buffered");
        let ended = timeout(Duration::from_secs(10), stream.shutdown()).await;
        let error = ended.expect("it ends").expect_err("nobody receives it");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_peer_that_receives_a_few_bytes_now_and_then_is_given_up() {
        let (stream, mut peer) = duplex(16);
        let mut stream = WriteTimeout::new(stream, Duration::from_millis(50));
        let trickle = async {
            loop {
                peer.read_u8().await.expect("more comes");
                sleep(Duration::from_millis(1)).await;
            }
        };
        let bytes = vec![0; MIN_PROGRESS];
        let written = tokio::select! {
            written = stream.write_all(&bytes) => written,
            () = trickle => Ok(()),
        };
        assert_eq!(written.expect_err("is too slow").kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn what_is_received_in_time_is_written() {
        let (stream, mut peer) = duplex(16);
        let mut stream = WriteTimeout::new(stream, Duration::from_mins(1));
        let sent = async {
            stream.write_all(&vec![7; 100_000]).await?;
            stream.shutdown().await
        };
        let mut received = Vec::new();
        let (sent, read) = tokio::join!(sent, peer.read_to_end(&mut received));
        sent.expect("is sent");
        assert_eq!(read.expect("is received"), 100_000);
    }
}
