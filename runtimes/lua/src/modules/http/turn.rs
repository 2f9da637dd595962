//! Something that several of the script's tasks use, one at a time.

use std::{
    cell::RefCell,
    collections::VecDeque,
    future::poll_fn,
    ops::{Deref, DerefMut},
    task::{Poll, Waker},
};

/// Taken by one task; the others wait until it is back.
pub(super) struct Turn<T> {
    value: RefCell<Option<T>>,
    waiting: RefCell<VecDeque<Waker>>,
}

impl<T> Turn<T> {
    pub(super) fn new(value: T) -> Self {
        Self { value: RefCell::new(Some(value)), waiting: RefCell::default() }
    }

    pub(super) async fn take(&self) -> Taken<'_, T> {
        poll_fn(|cx| match self.try_take() {
            Some(taken) => Poll::Ready(taken),
            None => {
                self.waiting.borrow_mut().push_back(cx.waker().clone());
                Poll::Pending
            }
        })
        .await
    }

    /// `None`: somebody has it.
    pub(super) fn try_take(&self) -> Option<Taken<'_, T>> {
        let value = self.value.borrow_mut().take()?;
        Some(Taken { turn: self, value: Some(value) })
    }
}

/// Put back when dropped.
pub(super) struct Taken<'a, T> {
    turn: &'a Turn<T>,
    /// Always there.
    value: Option<T>,
}

impl<T> Deref for Taken<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("there until dropped")
    }
}

impl<T> DerefMut for Taken<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("there until dropped")
    }
}

impl<T> Drop for Taken<'_, T> {
    fn drop(&mut self) {
        *self.turn.value.borrow_mut() = self.value.take();
        // All of them: one that was woken may never look again.
        let waiting = std::mem::take(&mut *self.turn.waiting.borrow_mut());
        waiting.into_iter().for_each(Waker::wake);
    }
}
