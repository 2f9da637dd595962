//! A small world for guests: time is pushed by hand, standard input arrives when a test says so.
#![allow(dead_code, unreachable_pub)]

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use lunette_hostcalls::{
    Clock, Ctx, Ending, Errno, Guest as _, Nanos, Network, Random, Ready, Stdio, Step, Stream, Trap,
    TrapKind, Wait,
};
use lunette_wasm::{Instance, Limits, Problem};

#[derive(Default)]
pub struct World {
    pub now: Mutex<Nanos>,
    /// How far the clock goes each time it is read.
    pub tick: Nanos,
    pub input: Mutex<(VecDeque<u8>, bool)>,
    pub out: Mutex<Vec<u8>>,
    pub panics: bool,
}

impl World {
    pub fn advance(&self, by: Nanos) {
        *self.now.lock().unwrap() += by;
    }

    pub fn type_in(&self, text: &str) {
        self.input.lock().unwrap().0.extend(text.bytes());
    }

    pub fn close_input(&self) {
        self.input.lock().unwrap().1 = true;
    }

    pub fn output(&self) -> String {
        String::from_utf8(self.out.lock().unwrap().clone()).unwrap()
    }

    pub fn ctx(self: &Arc<Self>) -> Ctx {
        Ctx {
            name: "test".into(),
            args: vec!["test".into()],
            env: Vec::new(),
            clock: self.clone(),
            random: self.clone(),
            stdio: self.clone(),
            preopens: Vec::new(),
            network: Network::none(),
            listeners: Vec::new(),
        }
    }
}

impl Clock for World {
    fn monotonic(&self) -> Nanos {
        let mut now = self.now.lock().unwrap();
        *now += self.tick;
        *now
    }

    fn wall(&self) -> Option<Nanos> {
        None
    }
}

impl Random for World {
    fn fill(&self, buf: &mut [u8]) -> Result<(), Errno> {
        assert!(!self.panics, "no random bytes today\nand none tomorrow");
        buf.fill(4);
        Ok(())
    }
}

impl Stdio for World {
    fn read(&self, buf: &mut [u8]) -> Result<usize, Errno> {
        let mut input = self.input.lock().unwrap();
        if input.0.is_empty() {
            return if input.1 { Ok(0) } else { Err(Errno::Again) };
        }
        let len = buf.len().min(input.0.len());
        for byte in &mut buf[..len] {
            *byte = input.0.pop_front().unwrap();
        }
        Ok(len)
    }

    fn input(&self) -> Ready {
        let input = self.input.lock().unwrap();
        Ready { bytes: input.0.len() as u64, hangup: input.1 }
    }

    fn register_input(&self, _: &std::task::Waker) {}

    fn write(&self, _: Stream, buf: &[u8]) -> Result<usize, Errno> {
        self.out.lock().unwrap().extend_from_slice(buf);
        Ok(buf.len())
    }
}

pub fn wasm(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
}

pub fn start(text: &str) -> Instance {
    try_start(text, Limits::default()).unwrap_or_else(|problem| panic!("{problem}"))
}

pub fn try_start(text: &str, limits: Limits) -> Result<Instance, Problem> {
    lunette_wasm::start(&wasm(text), Arc::new(World::default()).ctx(), limits)
}

/// Steps a guest that has nothing to wait for to its end.
pub fn finish(guest: &mut Instance) -> Ending {
    for _ in 0..1_000_000 {
        match guest.step() {
            Step::Ended(ending) => return ending,
            Step::Wait(Wait { stdin: false, until: Some(_), .. }) => {}
            Step::Wait(wait) => panic!("waits for {wait:?}"),
        }
    }
    panic!("does not end")
}

pub fn run(text: &str) -> Ending {
    finish(&mut start(text))
}

pub fn trap(text: &str) -> Trap {
    match run(text) {
        Ending::Trapped(trap) => trap,
        other => panic!("{other:?}"),
    }
}

pub fn names(trap: &Trap) -> Vec<String> {
    trap.backtrace.iter().map(ToString::to_string).collect()
}

pub fn kind(text: &str) -> TrapKind {
    trap(text).kind
}
