//! VMs that run in the background: `run -d`, and what is done with them afterwards.
//!
//! Each has a folder in the [`store`], and a process of its own that owns it, the [`supervisor`]: our
//! executable again, in a session of its own. There is no daemon. The supervisor starts the hypervisor as `run` does in
//! the foreground, writes the guest's output to a [`log`], and how it ended into the folder. It is asked to
//! end its VM by SIGTERM. A VM dies with its supervisor.
//!
//! Promises: what is in a folder is whole or not there; folders whose supervisor is gone are known for what they are,
//! whoever was killed when; any number of us may be at it at once; logs are bounded; a full disk costs output, and
//! at worst the exit code, never the VM. Does not: restart VMs, survive a reboot, attach to a running VM's input.

pub mod log;
pub mod start;
pub mod store;
pub mod supervisor;
