//! `--profile`: a flame graph of where native code spent its time, of a program that ends and of a server that is stopped.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::Signal;

use crate::{
    Stories,
    components::{guest, reached},
    guests::{file, folder},
    servers::free_port,
    vm::{Place, vm},
};

pub(crate) fn stories(s: &mut Stories) {
    for place in [Place::Microvm, Place::Host] {
        let on = |story: &str| format!("profiles: {story} on {}", place.name());
        s.needs(on("a program's time is where it was spent"), place.lack(), move || program(place));
        let lack = place.lack().or(guest("hostile").is_none().then_some("not built"));
        s.needs(on("a server's, of all its instances"), lack, move || server(place));
    }
}

/// How many samples these stacks have, by how each begins and the function that it ends with.
fn samples(folded: &Path, begin: &str, function: &str) -> u64 {
    let text = fs::read_to_string(folded).expect("stacks");
    let lines = text.lines().filter_map(|line| line.rsplit_once(' '));
    let of_it = lines.filter(|(stack, _)| {
        stack.starts_with(begin) && stack.rsplit(';').next().is_some_and(|last| last.contains(function))
    });
    of_it.map(|(_, count)| count.parse::<u64>().expect("a count")).sum()
}

/// Nine parts of ten are spent in one function.
fn program(place: Place) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests/flame.wat");
    let app = file("flame.wasm", &wat::parse_file(source).unwrap_or_else(|e| panic!("{e}")));
    let svg = folder("profile").join("out.svg");
    let ran = vm(app).on(place).flags(["--profile".into(), svg.clone()]).run().exits(0);
    let folded = svg.with_extension("folded");
    let hot = samples(&folded, "flame;_start;hot;count", "count");
    let cold = samples(&folded, "flame;_start;cold;count", "count");
    assert!(hot >= 5 && hot > 2 * cold, "{hot} and {cold}\n{ran}");
    let picture = fs::read_to_string(svg).expect("a picture");
    assert!(picture.contains(">hot<") && picture.ends_with("</svg>\n"), "{picture}");
}

/// Many requests, each in an instance of its own; it is stopped as one stops a server.
fn server(place: Place) {
    let at = free_port();
    let svg: PathBuf = folder("profile").join("out.svg");
    let publish = ["-p".into(), format!("{at}:80").into(), "--profile".into(), svg.clone()];
    let server = vm(guest("hostile").expect("built")).on(place).flags(publish).start();
    let mut client = reached(at);
    for _ in 0..10 {
        assert_eq!(client.get("/spin?ms=50").expect("a reply").status, 200);
    }
    server.signal(Signal::TERM);
    let ran = server.wait(Duration::from_secs(20)).exits(0);
    // Half a second of work, less what a busy machine lost of it.
    let all = samples(&svg.with_extension("folded"), "hostile;", "");
    assert!(all >= 5, "{all} samples\n{ran}");
}
