//! For the developer: a prompt in the service, and code that is replaced while it serves.

use crate::world::Stage;
use lunette_hostcalls::{Ending, fake::FakeHost, task::Executor};
use lunette_lua::{Instance, Problem, Reloader};

/// Runs a script beside what `drive` does with it.
fn with(
    stage: &Stage,
    text: &str,
    first: impl FnOnce(&Instance),
    drive: impl AsyncFnOnce(Reloader),
) -> Ending {
    let mut script =
        lunette_lua::start("test.lua", text.as_bytes(), stage.ctx(), stage.time(), stage.limits).unwrap();
    first(&script);
    let reloader = script.reloader();
    let mut executor = Executor::new(stage.timers.clone());
    executor.spawn(async move { Some(script.run().await) });
    executor.spawn(async move {
        drive(reloader).await;
        None
    });
    let mut host = FakeHost::new(&stage.world);
    loop {
        match executor.next(&*stage.world.clock, &mut host) {
            Some(Some(ending)) => return ending,
            Some(None) => {}
            None => panic!("it waits for ever"),
        }
    }
}

fn out(stage: &Stage) -> String {
    String::from_utf8_lossy(&stage.world.stdio.stdout()).into_owned()
}

fn err(stage: &Stage) -> String {
    String::from_utf8_lossy(&stage.world.stdio.stderr()).into_owned()
}

#[test]
fn a_prompt_evaluates_lines_in_the_services_state() {
    let stage = Stage::new();
    stage.world.stdio.feed(
        b"1 + 1, 'a'\n=x\nx = x + 1 y = 5\nx, y\nfor i = 1, 2 do\nprint(i)\nend\nerror('bad')\nreturn nil\n)\n\
          require('task').sleep(1)\nprint(n)\nlocal t = 1\nt\n",
    );
    stage.world.stdio.close();
    let ending = with(
        &stage,
        "x = 41 n = 0 local task = require 'task' task.spawn(function() for i = 1, 3 do task.sleep(0.3) n = n + 1 end end)",
        |script| script.repl(),
        async |_| {},
    );
    assert_eq!(ending, Ending::Exited(0));
    assert_eq!(
        out(&stage),
        "> 2\ta\n> 41\n> > 42\t5\n> >> >> 1\n2\n> > nil\n> > > 3\n> > nil\n> \n",
        "{}",
        err(&stage)
    );
    assert!(
        err(&stage).starts_with("stdin:1: bad\nstack traceback:\n\t[C]: in function 'error'"),
        "{}",
        err(&stage)
    );
    assert!(err(&stage).contains("stdin:1: unexpected symbol near ')'"), "{}", err(&stage));
}

#[test]
fn the_end_of_the_input_ends_the_prompt_and_not_the_service() {
    let stage = Stage::new();
    stage.world.stdio.feed(b"'no end'");
    stage.world.stdio.close();
    let ending =
        with(&stage, "require('task').sleep(5) print('served')", |script| script.repl(), async |_| {});
    assert_eq!((ending, out(&stage)), (Ending::Exited(0), "> no end\n> \nserved\n".into()));
}

#[test]
fn new_code_takes_over_when_it_has_started() {
    let stage = Stage::new();
    let time = stage.time();
    let ending = with(
        &stage,
        "local task, service = require 'task', require 'service'
         service.on_reload(function() print('old is replaced') end)
         task.every(1, function() print('old') end)
         task.spawn(function() task.sleep(4) print('old finished') end)",
        |_| {},
        async |reloader| {
            time.sleep(std::time::Duration::from_millis(1500)).await;
            let text = b"require('task').sleep(0.2) print('new') require('task').sleep(0.1)";
            reloader.reload("test.lua", text, stage.ctx()).unwrap();
        },
    );
    assert_eq!(ending, Ending::Exited(0), "{}", err(&stage));
    assert_eq!(out(&stage), "old\nnew\nold is replaced\nold finished\n");
}

#[test]
fn code_that_does_not_start_leaves_the_old_code() {
    let stage = Stage::new();
    let time = stage.time();
    let ending = with(
        &stage,
        "local task = require 'task' for i = 1, 4 do task.sleep(1) print('old', i) end",
        |_| {},
        async |reloader| {
            time.sleep(std::time::Duration::from_millis(1500)).await;
            let problem = reloader.reload("test.lua", b"local = 1", stage.ctx()).unwrap_err();
            assert!(
                matches!(&problem, Problem::Syntax(words) if words.starts_with("test.lua:1:")),
                "{problem}"
            );
            reloader
                .reload("test.lua", b"require('task').sleep(0.2) error('no start')", stage.ctx())
                .unwrap();
            assert_eq!(reloader.started().await, Err("the new code did not start".into()));
        },
    );
    assert_eq!((ending, out(&stage)), (Ending::Exited(0), "old\t1\nold\t2\nold\t3\nold\t4\n".into()));
    assert!(err(&stage).contains("test.lua:1: no start\nstack traceback"), "{}", err(&stage));
}

#[test]
fn old_code_has_ten_seconds() {
    let stage = Stage::new();
    let begun = stage.now();
    let ending = with(
        &stage,
        "local task = require 'task'
         local x <close> = setmetatable({}, { __close = function() print('closed') end })
         while true do task.sleep(1) end",
        |_| {},
        async |reloader| {
            reloader.reload("test.lua", b"print('new')", stage.ctx()).unwrap();
        },
    );
    assert_eq!((ending, out(&stage)), (Ending::Exited(0), "new\nclosed\n".into()));
    let took = stage.now() - begun;
    assert!((10_000_000_000..11_000_000_000).contains(&took), "{took}");
}
