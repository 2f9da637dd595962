//! Listeners and connections: taken, served, and brought to an end.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    task::{Poll, Waker},
    time::Duration,
};

use http::{Request, Response, StatusCode};
use lunette_hostcalls::{
    Errno, Interest, Log, TcpListener, TcpStream,
    task::{Spawner, Time, poll_until},
};
use lunette_http::{Body, Incoming, Plain, Stream, server};

use super::{Front, answer, handler::Origin, route::Routes};

/// What all tasks of a server share.
pub(super) struct Connections {
    routes: Routes,
    time: Time,
    log: Arc<dyn Log>,
    front: Front,
    spawner: Spawner,
    count: Cell<usize>,
    closing: Cell<bool>,
    ended: Cell<bool>,
    /// Who waits for any of these to change.
    waiting: RefCell<Vec<Waker>>,
}

/// One of the connections that there may be.
struct Place(Rc<Connections>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.count.set(self.0.count.get() - 1);
        self.0.wake();
    }
}

/// How long to wait after a listener failed, at first and at most.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl Connections {
    pub(super) fn new(
        routes: Routes,
        time: Time,
        log: Arc<dyn Log>,
        front: Front,
        spawner: Spawner,
    ) -> Rc<Self> {
        Rc::new(Self {
            routes,
            time,
            log,
            front,
            spawner,
            count: Cell::default(),
            closing: Cell::default(),
            ended: Cell::default(),
            waiting: RefCell::default(),
        })
    }

    pub(super) fn have_ended(&self) -> bool {
        self.ended.get()
    }

    /// Has `waker` woken when that changes.
    pub(super) fn tell_end(&self, waker: &Waker) {
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|old| old.will_wake(waker)) {
            waiting.push(waker.clone());
        }
    }

    fn wake(&self) {
        self.waiting.take().into_iter().for_each(Waker::wake);
    }

    async fn until(&self, done: impl Fn(&Self) -> bool) {
        poll_fn(|cx| {
            if done(self) {
                return Poll::Ready(());
            }
            self.tell_end(cx.waker());
            Poll::Pending
        })
        .await;
    }

    /// Takes connections until the host stops, or another listener was stopped.
    pub(super) async fn accept(self: Rc<Self>, listener: Arc<dyn TcpListener>) {
        let mut pause = PAUSE;
        loop {
            let room = |this: &Self| this.closing.get() || this.count.get() < this.front.connections;
            if !room(&self) {
                self.until(room).await;
            }
            match self.next(&*listener).await {
                None => return,
                Some(Ok((socket, _))) => {
                    pause = PAUSE;
                    self.count.set(self.count.get() + 1);
                    let place = Place(self.clone());
                    self.spawner.spawn(connected(place, socket));
                }
                // The host is being stopped.
                Some(Err(Errno::Canceled)) => return self.stop(),
                // The client thought better of it.
                Some(Err(Errno::Connaborted)) => {}
                Some(Err(errno)) => {
                    let at = listener.local();
                    self.log.warn(format_args!(
                        "can't take connections on {at}: {errno}; the next attempt is in {pause:?}"
                    ));
                    let _ = self.time.timeout(pause, self.until(|this| this.closing.get())).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// The next connection; `None`: it is closing.
    async fn next(
        &self,
        listener: &dyn TcpListener,
    ) -> Option<Result<(Arc<dyn TcpStream>, SocketAddr), Errno>> {
        poll_fn(|cx| {
            if self.closing.get() {
                return Poll::Ready(None);
            }
            self.tell_end(cx.waker());
            poll_until(listener, Interest::Read, cx, || listener.accept()).map(Some)
        })
        .await
    }

    /// From now on nothing new; what is under way has its grace.
    fn stop(self: &Rc<Self>) {
        if self.closing.replace(true) {
            return;
        }
        self.front.http.shutdown.begin();
        self.wake();
        let this = self.clone();
        self.spawner.spawn(async move {
            let over = async {
                this.until(|this| this.count.get() == 0).await;
                for handler in this.routes.handlers() {
                    handler.until_idle().await;
                }
            };
            let _ = this.time.timeout(this.front.grace, over).await;
            this.ended.set(true);
            this.wake();
        });
    }

    async fn answer(self: Rc<Self>, request: Request<Incoming>, origin: Origin) -> Response<Body> {
        let begun = match self.routes.find(&request) {
            Some(handler) => handler.begin(request, origin),
            None => Err(StatusCode::NOT_FOUND),
        };
        match begun {
            Ok(begun) => begun.answer(&self.spawner).await,
            Err(status) => answer::bare(status, None),
        }
    }
}

/// Serves a connection to its end.
async fn connected(place: Place, socket: Arc<dyn TcpStream>) {
    let this = &place.0;
    let origin = Origin { tls: this.front.tls.is_some(), local: socket.local() };
    let stream = match &this.front.tls {
        None => Stream::plain(socket),
        Some(tls) => match tls.accept(Plain(socket)).await {
            Ok(stream) => stream,
            // Whoever scans ports fills no log.
            Err(_) => return,
        },
    };
    let answering = this.clone();
    let service = move |request| answering.clone().answer(request, origin);
    // How a connection ended concerns its peer alone.
    let _ = server::serve(stream, &this.front.http, &this.time, &this.spawner, service).await;
}
