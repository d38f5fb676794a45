//! Wipes TLS read buffers when there is nothing to read, so that idle connections keep no plaintext.
//!
//! rustls decrypts in the buffer that it reads into, keeps that buffer while the connection is idle, and offers its
//! free part with every read: when there is nothing to read, that part is overwritten.
//! The buffers of the h2 library cannot be wiped in this way; SECURITY.md says what they retain.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Overwrites the free part of the reader's buffer when there is nothing to read.
///
/// rustls decrypts records in the buffer that it reads into, and keeps that buffer as long as the connection,
/// so the last request would remain there in plaintext while the connection is idle. rustls passes the free
/// part of the buffer to each read.
#[derive(Debug)]
pub(crate) struct WipeReads<S> {
    stream: S,
    /// Whether bytes were read since the last wipe.
    is_dirty: bool,
}

impl<S: From<TcpStream>> From<TcpStream> for WipeReads<S> {
    fn from(stream: TcpStream) -> Self {
        Self { stream: stream.into(), is_dirty: false }
    }
}

impl<S: AsFd> AsFd for WipeReads<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WipeReads<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() {
            self.is_dirty |= buf.filled().len() > filled;
        } else if std::mem::take(&mut self.is_dirty) {
            buf.initialize_unfilled().fill(0);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WipeReads<S> {
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

#[cfg(test)]
mod tests {
    use futures_util::poll;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn the_free_part_of_a_buffer_is_wiped_when_there_is_nothing_to_read() {
        let (mut peer, stream) = tokio::io::duplex(64);
        let mut stream = WipeReads { stream, is_dirty: false };
        peer.write_all(b"secret").await.unwrap();
        let mut buffer = [b'-'; 8];
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 6);
        assert_eq!(&buffer, b"secret--");

        // The reader has consumed all but the first two bytes.
        assert!(poll!(Box::pin(stream.read(&mut buffer[2..]))).is_pending());
        assert_eq!(&buffer, b"se\0\0\0\0\0\0");
    }
}
