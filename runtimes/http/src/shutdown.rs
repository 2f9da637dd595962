//! The end of serving, in good order.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fmt,
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
};

/// Ends connections once their requests are answered. Clones are the same; each connection that was given it in its
/// [`crate::server::Settings`] hears it.
#[derive(Clone, Default)]
pub struct Shutdown(Rc<Inner>);

#[derive(Default)]
struct Inner {
    begun: Cell<bool>,
    count: Cell<u64>,
    /// The connections that there are, by a number that tells them apart.
    connections: RefCell<BTreeMap<u64, Option<Waker>>>,
    /// Who waits for all of them to end.
    waiting: RefCell<Vec<Waker>>,
}

impl Shutdown {
    /// From now on, connections take no more requests and end after those that they have: HTTP/1.1 says so in its last
    /// answer, HTTP/2 by a GOAWAY. Those without a request end at once.
    pub fn begin(&self) {
        self.0.begun.set(true);
        let wakers: Vec<Waker> =
            self.0.connections.borrow_mut().values_mut().filter_map(Option::take).collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    pub fn has_begun(&self) -> bool {
        self.0.begun.get()
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.0.connections.borrow().len()
    }

    /// Waits until there is no connection. Whoever does not want to wait for ever ([`Shutdown::begin`] breaks nothing
    /// off) drops it.
    pub async fn finished(&self) {
        poll_fn(|cx| {
            if self.connections() == 0 {
                return Poll::Ready(());
            }
            self.0.waiting.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    pub(crate) fn join(&self) -> Joined {
        let number = self.0.count.get();
        self.0.count.set(number + 1);
        self.0.connections.borrow_mut().insert(number, None);
        Joined { shutdown: self.clone(), number }
    }
}

impl fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shutdown")
            .field("begun", &self.has_begun())
            .field("connections", &self.connections())
            .finish()
    }
}

/// A connection that is to hear of it.
pub(crate) struct Joined {
    shutdown: Shutdown,
    number: u64,
}

impl Joined {
    /// Has `waker` woken when it begins.
    pub(crate) fn register(&self, waker: &Waker) {
        if let Some(place) = self.shutdown.0.connections.borrow_mut().get_mut(&self.number)
            && !place.as_ref().is_some_and(|old| old.will_wake(waker))
        {
            *place = Some(waker.clone());
        }
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.shutdown.has_begun()
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.shutdown.0.connections.borrow_mut().remove(&self.number);
        if self.shutdown.connections() == 0 {
            let waiting = self.shutdown.0.waiting.take();
            waiting.into_iter().for_each(Waker::wake);
        }
    }
}
