//! The script's tasks: a coroutine each.

use std::{
    cell::RefCell,
    rc::{Rc, Weak},
};

use mlua::{Function, IntoLuaMulti, MultiValue};

use crate::world::{Resource, World};

/// One task of the script's.
#[derive(Default)]
pub(crate) struct Task {
    /// In the order in which they were opened; closed in reverse when it ends.
    resources: RefCell<Vec<Weak<dyn Resource>>>,
}

impl Task {
    pub(crate) fn own(&self, resource: Weak<dyn Resource>) {
        let mut resources = self.resources.borrow_mut();
        if resources.len() == resources.capacity() {
            resources.retain(|resource| resource.strong_count() > 0);
        }
        resources.push(resource);
    }

    fn close(&self) {
        let resources = self.resources.take();
        resources.iter().rev().filter_map(Weak::upgrade).for_each(|resource| resource.close());
    }
}

/// Calls `function` as a task of its own, and gives what it returned: to be awaited by a task of ours
/// ([`World::spawner`]), or by nobody.
pub(crate) async fn call(
    world: Rc<World>,
    function: Function,
    args: impl IntoLuaMulti,
) -> mlua::Result<MultiValue> {
    let task = Rc::new(Task::default());
    let mut future = std::pin::pin!(function.call_async::<MultiValue>(args));
    let result = std::future::poll_fn(|cx| {
        let before = world.current.replace(Some(task.clone()));
        let poll = future.as_mut().poll(cx);
        world.current.replace(before);
        poll
    })
    .await;
    task.close();
    result
}
