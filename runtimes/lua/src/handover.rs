//! Sockets that listen before the script does, and go on when its code is replaced.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
};

use lunette_hostcalls::{Errno, Interest, Ready, Source, TcpListener, TcpStream, task::replace_waker};

/// A listener as one state has it. Given up, it says what one says whose host is being stopped ([`Errno::Canceled`]),
/// while the socket goes on for the next state.
pub(crate) struct Lent {
    socket: Arc<dyn TcpListener>,
    given_up: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Lent {
    pub(crate) fn new(socket: Arc<dyn TcpListener>) -> Arc<Self> {
        Arc::new(Self { socket, given_up: AtomicBool::new(false), waker: Mutex::new(None) })
    }

    pub(crate) fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
        let waker = self.waker.lock().map(|mut waker| waker.take());
        waker.into_iter().flatten().for_each(Waker::wake);
    }

    fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }
}

impl Source for Lent {
    fn ready(&self, interest: Interest) -> Ready {
        if self.is_given_up() {
            return Ready { bytes: 0, hangup: true };
        }
        self.socket.ready(interest)
    }

    fn register(&self, interest: Interest, waker: &Waker) {
        if self.is_given_up() {
            return waker.wake_by_ref();
        }
        let old = self.waker.lock().ok().and_then(|mut place| replace_waker(&mut place, waker));
        old.into_iter().for_each(Waker::wake);
        self.socket.register(interest, waker);
    }
}

impl TcpListener for Lent {
    fn accept(&self) -> Result<(Arc<dyn TcpStream>, SocketAddr), Errno> {
        if self.is_given_up() {
            return Err(Errno::Canceled);
        }
        self.socket.accept()
    }

    fn local(&self) -> SocketAddr {
        self.socket.local()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::AtomicUsize,
        task::{Context, Wake},
    };

    use lunette_hostcalls::{Net, fake::FakeWorld, task::poll_until};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn given_up_it_says_so_and_the_socket_goes_on() {
        let world = FakeWorld::new(1);
        let socket = world.net.listen(SocketAddr::from(([127, 0, 0, 1], 80)), 8).expect("a free port");
        let (old, new) = (Lent::new(socket.clone()), Lent::new(socket));
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let cx = Context::from_waker(&waker);
        assert!(poll_until(&*old, Interest::Read, &cx, || old.accept()).is_pending());
        old.give_up();
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert!(old.ready(Interest::Read).hangup);
        assert_eq!(old.accept().map(|_| ()), Err(Errno::Canceled));
        old.register(Interest::Read, &waker);
        assert_eq!(count.0.load(Ordering::Relaxed), 2, "who asks again is told at once");
        let client = world.net.connect(new.local()).expect("it still listens");
        let accepted = (0..10).any(|_| {
            world.clock.advance(1_000_000_000);
            world.net.poll();
            new.accept().is_ok()
        });
        assert!(accepted);
        drop(client);
    }
}
