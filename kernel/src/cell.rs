//! A static that one core changes, where a lock would only be ceremony.

use core::cell::UnsafeCell;

/// Memory with interior mutability, handed out as a pointer. Whoever dereferences it argues why nobody
/// else does at that time.
#[repr(transparent)]
pub struct StaticCell<T>(UnsafeCell<T>);

// SAFETY: there is one core, and access is through a raw pointer whose every use is argued for.
unsafe impl<T> Sync for StaticCell<T> {}

impl<T> StaticCell<T> {
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    pub const fn get(&self) -> *mut T {
        self.0.get()
    }
}
