//! Tasks, and which of them can run.

use alloc::{boxed::Box, collections::VecDeque, sync::Arc, task::Wake, vec::Vec};
use core::{
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll, Waker},
};

use spin::Mutex;

use super::replace_waker;

/// Tasks, each with its result. Whoever has it says when one is run.
pub struct Set<'a, T> {
    /// At their numbers. That of a task that has ended is another's one day.
    tasks: Vec<Option<Task<'a, T>>>,
    free: Vec<usize>,
    woken: Arc<Woken>,
}

/// A future as those are kept that are of many types.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

struct Task<'a, T> {
    future: Boxed<'a, T>,
    bell: Arc<Bell>,
    waker: Waker,
}

#[derive(Default)]
struct Woken {
    /// The numbers of the tasks that can run, in the order in which they were woken.
    queue: Mutex<VecDeque<usize>>,
    /// Of the task that this set is a part of.
    owner: Mutex<Option<Waker>>,
}

/// Wakes one task.
struct Bell {
    task: usize,
    /// Is it among the woken already?
    rung: AtomicBool,
    woken: Arc<Woken>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.woken.queue.lock().push_back(self.task);
            let owner = self.woken.owner.lock().take();
            if let Some(owner) = owner {
                owner.wake();
            }
        }
    }
}

impl<T> Default for Set<'_, T> {
    fn default() -> Self {
        Self { tasks: Vec::new(), free: Vec::new(), woken: Arc::default() }
    }
}

impl<'a, T> Set<'a, T> {
    /// Takes a task; it has its first go like one that was woken.
    pub fn add(&mut self, future: Boxed<'a, T>) {
        let number = self.free.pop().unwrap_or(self.tasks.len());
        let bell = Arc::new(Bell { task: number, rung: AtomicBool::new(false), woken: self.woken.clone() });
        bell.wake_by_ref();
        let task = Some(Task { future, waker: bell.clone().into(), bell });
        match self.tasks.get_mut(number) {
            Some(place) => *place = task,
            None => self.tasks.push(task),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.tasks.len() == self.free.len()
    }

    /// How many can run now.
    pub fn woken(&self) -> usize {
        self.woken.queue.lock().len()
    }

    /// Has `waker` woken when the next task is.
    pub(super) fn set_owner(&self, waker: &Waker) {
        let old = replace_waker(&mut self.woken.owner.lock(), waker);
        drop(old);
    }

    /// Runs the task that was woken first; its result, if it has ended.
    pub fn run_one(&mut self) -> Option<T> {
        let number = self.woken.queue.lock().pop_front()?;
        // The waker of a task that has ended may be anywhere.
        let place = self.tasks.get_mut(number)?;
        let task = place.as_mut()?;
        // Before it runs: what wakes it meanwhile counts.
        task.bell.rung.store(false, Ordering::Release);
        match task.future.as_mut().poll(&mut Context::from_waker(&task.waker)) {
            Poll::Pending => None,
            Poll::Ready(result) => {
                *place = None;
                self.free.push(number);
                Some(result)
            }
        }
    }
}
