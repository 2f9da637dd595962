//! The kernel's services: the same checks that the fake world and the host process pass.

use std::sync::Arc;

use lunette_hostcalls::{Ctx, Preopen, RamFs, conformance};
use lunette_kernel::services::{KernelClock, KernelRandom, KernelStdio};

use crate::Check;

pub(crate) const CHECKS: &[Check] = &[("the host calls conform", conform)];

fn conform() {
    let files = Arc::new(RamFs::new());
    let root = files.root();
    let (_, tmp) = files.add_mount(Some("/tmp"), true, Some(16 << 20)).expect("a mount");
    let preopen = |name: &str, root| Preopen { name: name.into(), files: files.clone(), root };
    let ctx = Ctx {
        network: lunette_hostcalls::Network::none(),
        listeners: Vec::new(),
        name: "conformance".into(),
        args: Vec::new(),
        env: Vec::new(),
        clock: Arc::new(KernelClock),
        random: Arc::new(KernelRandom),
        stdio: Arc::new(KernelStdio),
        preopens: vec![preopen("/", root), preopen("/tmp", tmp)],
    };
    let mut failed = 0;
    conformance::run_all(&ctx, &mut |name, result| match result {
        Ok(()) => println!("  ok {name}"),
        Err(why) => {
            println!("  FAILED {name}: {why}");
            failed += 1;
        }
    });
    assert_eq!(failed, 0);
}
