//! Defines the socket type of a connection, whose calls are counted with the feature `count`.

use crate::connection::wipe::WipeReads;

#[cfg(not(feature = "count"))]
pub(crate) type Wire = WipeReads<tokio::net::TcpStream>;

#[cfg(feature = "count")]
pub(crate) type Wire = WipeReads<counted::Socket>;

#[cfg(feature = "count")]
pub mod counted {
    //! Counts the socket reads and writes of this process, for benchmarks.

    use std::io;
    use std::os::fd::{AsFd, BorrowedFd};
    use std::pin::Pin;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::{Context, Poll};

    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
    use tokio::net::TcpStream;

    static READS: AtomicU64 = AtomicU64::new(0);
    static WRITES: AtomicU64 = AtomicU64::new(0);

    /// Returns the number of reads so far that returned bytes or the end.
    pub fn reads() -> u64 {
        READS.load(Ordering::Relaxed)
    }

    /// Returns the number of writes so far that wrote bytes.
    pub fn writes() -> u64 {
        WRITES.load(Ordering::Relaxed)
    }

    fn counted<T>(calls: &AtomicU64, result: Poll<T>) -> Poll<T> {
        if result.is_ready() {
            calls.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    #[derive(Debug)]
    pub(crate) struct Socket(TcpStream);

    impl AsFd for Socket {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }

    impl From<TcpStream> for Socket {
        fn from(stream: TcpStream) -> Self {
            Self(stream)
        }
    }

    impl AsyncRead for Socket {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            counted(&READS, Pin::new(&mut self.0).poll_read(cx, buf))
        }
    }

    impl AsyncWrite for Socket {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            counted(&WRITES, Pin::new(&mut self.0).poll_write(cx, buf))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bufs: &[io::IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            counted(&WRITES, Pin::new(&mut self.0).poll_write_vectored(cx, bufs))
        }

        fn is_write_vectored(&self) -> bool {
            self.0.is_write_vectored()
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(cx)
        }
    }
}
