//! The samples, everywhere, as their expected.txt says; and one bundle that is the same to the byte.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    Stories,
    guests::folder,
    vm::{Place, lunette, vm},
};

const SAMPLES: [&str; 4] = ["files-rust", "hello-c", "hello-rust", "hello-wat"];

pub(crate) fn stories(s: &mut Stories) {
    for name in SAMPLES {
        for place in Place::ALL {
            let lack = place.lack().or(if built(name).is_none() { Some("not built") } else { None });
            s.needs(format!("samples: {name} on {}", place.name()), lack, move || {
                vm(built(name).expect("built")).on(place).run().exits(0).prints(expected(name)).stays_quiet();
            });
        }
    }
    let lack = built("files-rust").is_none().then_some("not built");
    for place in Place::ALL {
        let name = format!("samples: a bundle is built once and runs on {}", place.name());
        s.needs(name, place.lack().or(lack), move || {
            vm(bundle()).on(place).run().exits(0).prints(expected("files-rust")).stays_quiet();
        });
    }
    s.needs("samples: building a bundle twice gives the same bytes", lack, || {
        let (one, two) = (fs::read(bundle()).expect("a bundle"), fs::read(bundle()).expect("a bundle"));
        assert!(one == two, "two builds differ");
    });
    let lack = Place::Microvm.lack().or(built("hello-rust").is_none().then_some("not built"));
    s.needs("samples: hello with what is chosen when nothing is said", lack, || {
        let app = built("hello-rust").expect("built");
        lunette(["run"]).args([app]).run().exits(0).prints(expected("hello-rust"));
    });
    s.needs("samples: hello in 2 MiB is refused with words", lack, || {
        let ran = vm(built("hello-rust").expect("built")).flags(["-m", "2M"]).run();
        ran.refuses("memory");
    });
}

/// The module, or the folder with the manifest.
pub(crate) fn built(name: &str) -> Option<PathBuf> {
    let dir = PathBuf::from(std::env::var_os("LUNETTE_SAMPLES")?);
    [dir.join(name), dir.join(format!("{name}.wasm"))].into_iter().find(|path| path.exists())
}

fn bundle() -> PathBuf {
    let path = folder("bundle").join("files.bundle");
    let app = built("files-rust").expect("built");
    lunette(["build", "-o"]).args([path.clone(), app]).run().exits(0);
    path
}

pub(crate) fn expected(name: &str) -> Vec<u8> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples").join(name).join("expected.txt");
    fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}
