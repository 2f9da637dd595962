//! Tasks: `task`; and what the service knows of itself: `service`.

use super::{Made, Module};

mod channel;
mod service;
mod task;
mod timer;

pub(super) const MODULES: &[Module] = &[
    Module { name: "task", made: Made::Native(task::make) },
    Module { name: "service", made: Made::Native(service::make) },
];
