//! Streams of bytes, and how they come out: one producer, one consumer and one future for all that reads and writes.
//!
//! The engine's own types are generic, and large for each type they are used with; so what differs (a file, a socket, standard
//! input) is behind [`ByteSource`] and [`ByteSink`].

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use lunette_hostcalls::Errno;
use tokio::sync::oneshot;
use wasmtime::{
    Result, StoreContextMut,
    component::{
        Destination, FutureReader, Lift, Lower, Source, StreamConsumer, StreamProducer, StreamReader,
        StreamResult,
    },
};

use crate::State;

/// How many bytes one turn of a stream moves, but for files.
pub(super) const MAX_STREAM: usize = 1 << 20;
/// The same for a file: one that is all hole has no end, for no memory at all.
pub(super) const MAX_FILE_IO: usize = 64 << 20;

/// The buffer between two ends that are both the host's: a guest handed standard input on to standard output.
const BETWEEN: usize = 16 << 10;

/// Where bytes come from.
pub(super) trait ByteSource: Send {
    /// Fills some of `buf`: 0 is the end. With an empty `buf`: is there anything to read? Never an error then.
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, Errno>>;
}

/// Where bytes go. Dropped at the end of what was written.
pub(super) trait ByteSink: Send {
    /// Takes some of `bytes`, never nothing of something. With empty `bytes`: is there room? Never an error then.
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, Errno>>;
}

/// What a future says of its stream.
pub(super) type Outcome<E> = FutureReader<Result<(), E>>;

/// A stream that the host writes, and its outcome.
pub(super) type Produced<T, E> = (StreamReader<T>, Outcome<E>);

/// A stream of what is in `source`, and its outcome. An error at once is a stream that has ended.
pub(super) fn read<E>(
    mut store: StoreContextMut<'_, State>,
    source: Result<Box<dyn ByteSource>, Errno>,
) -> Result<Produced<u8, E>>
where
    E: From<Errno> + Lift + Lower + Send + Sync + 'static,
{
    let (mut verdict, outcome) = verdict();
    let source = source.map_err(|errno| verdict.tell(errno)).ok();
    let stream = StreamReader::new(&mut store, Producer { source, verdict })?;
    Ok((stream, outcome.future(store)?))
}

/// Writes `data` to `sink`, to its end. An error at once closes the stream.
pub(super) fn write<E>(
    mut store: StoreContextMut<'_, State>,
    data: StreamReader<u8>,
    sink: Result<Box<dyn ByteSink>, Errno>,
) -> Result<Outcome<E>>
where
    E: From<Errno> + Lift + Lower + Send + Sync + 'static,
{
    let (mut verdict, outcome) = verdict();
    match sink {
        Ok(sink) => data.pipe(&mut store, Consumer { sink: Some(sink), verdict })?,
        Err(errno) => {
            verdict.tell(errno);
            let mut data = data;
            data.close(&mut store)?;
        }
    }
    outcome.future(store)
}

/// The end of a stream that can tell its error. Dropped without a word, all was well.
pub(super) struct Verdict(Option<oneshot::Sender<Errno>>);

/// The other side of it.
pub(super) struct Pending(oneshot::Receiver<Errno>);

pub(super) fn verdict() -> (Verdict, Pending) {
    let (sender, receiver) = oneshot::channel();
    (Verdict(Some(sender)), Pending(receiver))
}

impl Verdict {
    pub(super) fn tell(&mut self, errno: Errno) {
        if let Some(sender) = self.0.take() {
            // Who does not listen need not know.
            _ = sender.send(errno);
        }
    }

    /// Nothing more will come.
    pub(super) fn close(&mut self) {
        self.0 = None;
    }
}

impl Pending {
    pub(super) fn future<E>(self, store: StoreContextMut<'_, State>) -> Result<Outcome<E>>
    where
        E: From<Errno> + Lift + Lower + Send + Sync + 'static,
    {
        let verdict = async { self.0.await.map_or(Ok(()), |errno| Err(errno.into())) };
        FutureReader::new(store, async { Result::<_>::Ok(verdict.await) })
    }
}

struct Producer {
    /// `None`: it has ended.
    source: Option<Box<dyn ByteSource>>,
    verdict: Verdict,
}

impl Producer {
    fn end(&mut self) -> Poll<Result<StreamResult>> {
        self.source = None;
        self.verdict.close();
        Poll::Ready(Ok(StreamResult::Dropped))
    }
}

impl StreamProducer<State> for Producer {
    type Item = u8;
    type Buffer = Option<u8>;

    fn poll_produce<'a>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        store: StoreContextMut<'a, State>,
        destination: Destination<'a, u8, Self::Buffer>,
        finish: bool,
    ) -> Poll<Result<StreamResult>> {
        let this = self.get_mut();
        let Some(source) = &mut this.source else { return this.end() };
        let mut destination = destination.as_direct(store, BETWEEN);
        let buf = destination.remaining();
        let most = buf.len().min(MAX_FILE_IO);
        match source.poll_read(cx, &mut buf[..most]) {
            Poll::Ready(Ok(0)) if most > 0 => this.end(),
            Poll::Ready(Ok(n)) => {
                destination.mark_written(n.min(most));
                Poll::Ready(Ok(StreamResult::Completed))
            }
            Poll::Ready(Err(errno)) => {
                this.verdict.tell(errno);
                this.end()
            }
            Poll::Pending if finish => Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => Poll::Pending,
        }
    }
}

struct Consumer {
    /// `None`: it has failed.
    sink: Option<Box<dyn ByteSink>>,
    verdict: Verdict,
}

impl StreamConsumer<State> for Consumer {
    type Item = u8;

    fn poll_consume(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        store: StoreContextMut<'_, State>,
        source: Source<'_, u8>,
        finish: bool,
    ) -> Poll<Result<StreamResult>> {
        let this = self.get_mut();
        let Some(sink) = &mut this.sink else { return Poll::Ready(Ok(StreamResult::Dropped)) };
        let mut source = source.as_direct(store);
        let bytes = source.remaining();
        let most = bytes.len().min(MAX_FILE_IO);
        let written = match sink.poll_write(cx, &bytes[..most]) {
            // The engine would take it for a fault of the guest's.
            Poll::Ready(Ok(0)) if most > 0 => Poll::Ready(Err(Errno::Io)),
            written => written,
        };
        match written {
            Poll::Ready(Ok(n)) => {
                source.mark_read(n.min(most));
                Poll::Ready(Ok(StreamResult::Completed))
            }
            Poll::Ready(Err(errno)) => {
                this.verdict.tell(errno);
                this.sink = None;
                Poll::Ready(Ok(StreamResult::Dropped))
            }
            Poll::Pending if finish => Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => Poll::Pending,
        }
    }
}
