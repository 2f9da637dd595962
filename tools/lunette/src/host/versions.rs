//! New versions of the app, from the thread that watches its files.

use std::{
    sync::{
        Arc, Mutex,
        mpsc::{Sender, channel},
    },
    task::Waker,
};

use lunette_hostcalls::{Versions, farewell::Version};

use super::poller::{Reactor, lock, put};
use crate::watch::{Line, Watch};

pub(super) struct ProcessVersions {
    state: Mutex<State>,
    reactor: Arc<Reactor>,
    tell: Mutex<Sender<Version>>,
}

#[derive(Default)]
struct State {
    newest: Option<Vec<u8>>,
    waker: Option<Waker>,
}

impl ProcessVersions {
    pub(super) fn new(watch: Watch, reactor: Arc<Reactor>) -> Arc<Self> {
        let (tell, answers) = channel();
        let versions = Arc::new(Self { state: Mutex::default(), reactor, tell: Mutex::new(tell) });
        let to = versions.clone();
        let send = move |payload| {
            let mut state = lock(&to.state);
            state.newest = Some(payload);
            let waker = state.waker.take();
            drop(state);
            waker.into_iter().for_each(Waker::wake);
            to.reactor.wake();
            true
        };
        watch.start(Line { send: Box::new(send), answers });
        versions
    }
}

impl Versions for ProcessVersions {
    fn take(&self) -> Option<Vec<u8>> {
        lock(&self.state).newest.take()
    }

    fn register(&self, waker: &Waker) {
        let mut state = lock(&self.state);
        put(&mut state.waker, waker);
        if state.newest.is_some() {
            waker.wake_by_ref();
        }
    }

    fn tell(&self, outcome: Result<(), &str>) {
        let version = match outcome {
            Ok(()) => Version::Taken,
            Err(why) => Version::Refused(why.to_owned()),
        };
        // Nobody watches any more: then nobody is told.
        let _ = lock(&self.tell).send(version);
    }
}
