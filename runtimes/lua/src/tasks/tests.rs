//! Tasks as the modules call them.

use std::{
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use lunette_hostcalls::{
    Clock, Nanos,
    fake::{FakeHost, FakeWorld},
    task::{Executor, Time, Timers},
};
use mlua::{Function, Lua, MultiValue};

use super::*;
use crate::{Limits, state::State, world::Kept};

/// The time that really passes: for what is measured by it.
struct Real(Instant);

impl Clock for Real {
    fn monotonic(&self) -> Nanos {
        u64::try_from(self.0.elapsed().as_nanos()).expect("a short time")
    }
    fn wall(&self) -> Option<Nanos> {
        None
    }
}

fn with<T: 'static>(text: &str, f: impl AsyncFnOnce(Lua, Rc<World>) -> T) -> T {
    let fake = FakeWorld::new(1);
    let timers = Arc::new(Timers::default());
    let clock = Arc::new(Real(Instant::now()));
    let limits = Limits { memory: 64 << 20, time: None, fuel: None, bytecode: false };
    let time = Time::new(clock.clone(), timers.clone());
    let ctx = fake.ctx(&["test.lua"], &[]);
    let mut state =
        State::new("test.lua", text.as_bytes(), ctx, time, limits, Kept::default()).expect("it starts");
    let (lua, world) = (state.lua.clone(), state.world.clone());
    let mut executor = Executor::new(timers);
    executor.spawn(async move {
        poll_fn(|cx| {
            // The main chunk has ended, when nothing is left.
            let _ = state.poll(cx);
            if state.main().is_some() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        Some(f(lua, world).await)
    });
    let mut host = FakeHost::new(&fake);
    executor.next(&*clock, &mut host).flatten().expect("it ends")
}

#[test]
fn a_budget_of_the_processors_time_is_not_to_be_caught() {
    let text = "function spin() while true do pcall(function() while true do pcall(spin) end end) end end
        function short() for i = 1, 100000 do end return 'done' end
        function sort() table.sort({ 3, 2, 1 }, function() while true do end end) end
        function inner() coroutine.wrap(function() while true do end end)() end";
    with(text, async |lua, world| {
        // Short, for `spin` goes deeper all the time, and each of its levels looks at all when it ends.
        let budget = Duration::from_millis(5);
        for name in ["spin", "sort", "inner"] {
            let begun = Instant::now();
            let function: Function = lua.globals().get(name).unwrap();
            let error = call_within(world.clone(), budget, function, ()).await.unwrap_err();
            let failure = Failure::of(&error);
            assert_eq!(failure.message, "limit: cpu", "{name}");
            assert!(failure.traceback.contains("test.lua:"), "{name}: {failure}");
            assert!(begun.elapsed() < Duration::from_secs(2), "{name}");
        }
        let short: Function = lua.globals().get("short").unwrap();
        let values = call_within(world, Duration::from_secs(5), short, ()).await.unwrap();
        assert_eq!(values[0].to_string().unwrap(), "done");
    });
}

#[test]
fn a_call_that_is_dropped_is_cancelled() {
    let text = "local task = require 'task'
        function wait() local x <close> = setmetatable({}, { __close = function() closed = true end }) task.sleep(100) end";
    with(text, async |lua, world| {
        struct Socket(Cell<bool>);
        impl Resource for Socket {
            fn close(&self) {
                self.0.set(true);
            }
        }
        let socket = Rc::new(Socket(Cell::new(false)));
        let function: Function = lua.globals().get("wait").unwrap();
        lua.globals().set("closed", false).unwrap();
        let mut call = Box::pin(call(world.clone(), function, ()));
        let waits = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_pending())).await;
        assert!(waits);
        let weak: Weak<dyn Resource> = Rc::downgrade(&(socket.clone() as Rc<dyn Resource>));
        world.current.replace(Some(call.task.clone()));
        world.adopt(weak.clone());
        world.disown(&weak);
        world.adopt(weak);
        world.current.replace(None);
        drop(call);
        assert!(socket.0.get() && lua.globals().get::<bool>("closed").unwrap());
        assert_eq!(world.usage.tasks.get(), 0);
    });
}

/// What a request costs before its handler does anything: `cargo test --release -- --ignored --nocapture cost`.
#[test]
#[ignore = "a measurement"]
fn cost() {
    const CALLS: u32 = 1_000_000;
    with("function f(a) return a end function pause() coroutine.yield() end", async |lua, world| {
        let function: Function = lua.globals().get("f").unwrap();
        let per = |begun: Instant| begun.elapsed() / CALLS;
        let begun = Instant::now();
        for _ in 0..CALLS {
            function.call::<MultiValue>(1).unwrap();
        }
        println!("call {:?}", per(begun));
        let begun = Instant::now();
        for _ in 0..CALLS {
            function.call_async::<MultiValue>(1).await.unwrap();
        }
        println!("call_async {:?}", per(begun));
        let begun = Instant::now();
        for _ in 0..CALLS {
            call(world.clone(), function.clone(), 1).await.unwrap();
        }
        println!("tasks::call {:?}", per(begun));
        let begun = Instant::now();
        for _ in 0..CALLS {
            call_within(world.clone(), Duration::from_secs(1), function.clone(), 1).await.unwrap();
        }
        println!("tasks::call_within {:?}", per(begun));
        for (name, text) in [
            ("100 M loops", "for i = 1, 1e8 do end"),
            (
                "fib(32)",
                "local function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end fib(32)",
            ),
            (
                "3 M coroutine switches",
                "local co = coroutine.wrap(function() while true do coroutine.yield() end end) for i = 1, 3e6 do co() end",
            ),
            ("3 M pcalls", "for i = 1, 3e6 do pcall(type, 1) end"),
            ("3 M setmetatables", "local mt = {} for i = 1, 3e6 do setmetatable({}, mt) end"),
        ] {
            world.usage.since.set(None);
            let begun = Instant::now();
            lua.load(text).exec().unwrap();
            let ours = begun.elapsed();
            let plain = Lua::new();
            let begun = Instant::now();
            plain.load(text).exec().unwrap();
            println!("{name}: {ours:?}, without ours {:?}", begun.elapsed());
        }
    });
}
