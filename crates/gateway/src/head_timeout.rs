//! How long a client may take from the first byte of a request's head to its last.
//!
//! hyper counts from the response before, so that its timeout must be as long as an idle connection
//! is kept. Here the stream says when the first bytes come after a response, and the service when
//! the head is complete. A part of a head that came together with the request before it is seen
//! only when more of it comes; until then hyper's timeout holds.

use std::{
    future::pending,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::watch,
    time::sleep,
};

/// What a connection is in the middle of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The head of a request.
    Head,
    /// A request, until its response is complete.
    Request,
    /// Nothing.
    Idle,
}

/// The phase of a connection, shared by its stream, its service and its timeout.
#[derive(Debug, Clone)]
pub(crate) struct HeadTimeout(Arc<watch::Sender<Phase>>);

impl HeadTimeout {
    /// For a connection that was just opened: its first head is due.
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Phase::Head)))
    }

    /// A head is complete; its request lasts until what is returned is dropped.
    pub(crate) fn begin_request(&self) -> InRequest {
        self.0.send_replace(Phase::Request);
        InRequest(self.clone())
    }

    /// Bytes came.
    fn note_bytes(&self) {
        self.0.send_if_modified(|phase| {
            let begins = *phase == Phase::Idle;
            if begins {
                *phase = Phase::Head;
            }
            begins
        });
    }

    /// Waits until a head has taken longer than the timeout.
    pub(crate) async fn until_over(self, timeout: Duration) {
        let mut phase = self.0.subscribe();
        loop {
            let is_head = *phase.borrow_and_update() == Phase::Head;
            let over = async { if is_head { sleep(timeout).await } else { pending().await } };
            tokio::select! {
                () = over => return,
                // The sender lives as long as `self`.
                _ = phase.changed() => {}
            }
        }
    }
}

/// A request that is being handled.
#[derive(Debug)]
pub(crate) struct InRequest(HeadTimeout);

impl Drop for InRequest {
    fn drop(&mut self) {
        self.0.0.send_replace(Phase::Idle);
    }
}

/// A body with whose end the request ends.
#[derive(Debug)]
pub(crate) struct LastOfRequest {
    body: Body,
    _request: InRequest,
}

impl LastOfRequest {
    pub(crate) fn new(body: Body, request: InRequest) -> Self {
        Self { body, _request: request }
    }
}

impl HttpBody for LastOfRequest {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream that says when bytes come.
#[derive(Debug)]
pub(crate) struct Observed<S> {
    stream: S,
    head: HeadTimeout,
}

impl<S> Observed<S> {
    pub(crate) fn new(stream: S, head: HeadTimeout) -> Self {
        Self { stream, head }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Observed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.head.note_bytes();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Observed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
