//! Many tasks inside of one: a guest that has a task for each connection.
//!
//! Promises: a task can spawn others; each that was woken has one go for each go of the whole, so the host and other
//! guests have theirs in between; dropped, all of them are.

use alloc::{boxed::Box, rc::Rc, vec::Vec};
use core::{
    cell::RefCell,
    task::{Context, Poll},
};

use super::set::{Boxed, Set};

/// Tasks that are polled as one.
#[derive(Default)]
pub struct Local {
    tasks: Set<'static, ()>,
    spawner: Spawner,
}

impl Drop for Local {
    fn drop(&mut self) {
        self.tasks = Set::default();
        // What a task spawns when it is dropped: it may have a spawner itself, and they would keep each other for ever.
        let never_run = core::mem::take(&mut *self.spawner.0.borrow_mut());
        drop(never_run);
    }
}

/// Adds tasks to a [`Local`], also from within one.
#[derive(Clone, Default)]
pub struct Spawner(Rc<RefCell<Vec<Boxed<'static, ()>>>>);

impl Spawner {
    /// To be called from within a task of the [`Local`], or before it is next polled.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.0.borrow_mut().push(Box::pin(task));
    }
}

impl Local {
    pub fn spawner(&self) -> &Spawner {
        &self.spawner
    }

    /// Runs each task that was woken once. Ready when there is no task left.
    pub fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        self.take_new();
        for _ in 0..self.tasks.woken() {
            self.tasks.run_one();
            self.take_new();
        }
        if self.tasks.is_empty() {
            return Poll::Ready(());
        }
        self.tasks.set_owner(cx.waker());
        if self.tasks.woken() > 0 {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn take_new(&mut self) {
        // Taken out first: adding one runs nothing, but what is borrowed is easily borrowed twice.
        let new = core::mem::take(&mut *self.spawner.0.borrow_mut());
        new.into_iter().for_each(|task| self.tasks.add(task));
    }
}
