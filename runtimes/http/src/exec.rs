//! Where HTTP/2 puts its tasks.

use hyper::rt::Executor;
use lunette_hostcalls::task::Spawner;

/// hyper's tasks beside ours.
#[derive(Clone)]
pub(crate) struct Exec(pub(crate) Spawner);

impl<F: Future<Output: 'static> + 'static> Executor<F> for Exec {
    fn execute(&self, task: F) {
        self.0.spawn(async move { drop(task.await) });
    }
}
