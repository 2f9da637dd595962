//! Limits that hold: memory, time, instructions, depth; and one task that computes does not stop the others.

use crate::world::{Ran, Stage, prints};
use lunette_hostcalls::{Ending, Limit};

const SECOND: u64 = 1_000_000_000;

/// Runs a script with so many instructions; it must use them up.
#[track_caller]
fn runs_out(text: &str) -> Ran {
    let mut stage = Stage::new();
    stage.limits.fuel = Some(2_000_000);
    let ran = stage.run(text);
    assert_eq!(ran.ending, Ending::Stopped(Limit::Fuel), "{text}\n{}\n{}", ran.out, ran.err);
    ran
}

#[test]
fn memory_that_is_used_up_is_an_error_and_the_script_goes_on() {
    let text = "local function bomb() local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1000) .. i end end
        print(pcall(bomb)) collectgarbage()
        print(pcall(string.rep, 'x', 1 << 40))
        print(pcall(function() local s = 'x' while true do s = s .. s end end)) collectgarbage()
        print(pcall(function() local t = {} while true do t = { t, t } end end)) collectgarbage()
        local ok, e = pcall(function() local cos = {} while true do
          cos[#cos + 1] = coroutine.create(print) end end) collectgarbage()
        print(ok, e) print(collectgarbage 'count' < 1000, #('x'):rep(1000000))";
    assert_eq!(
        prints(text),
        "false\tnot enough memory\nfalse\tresulting string too large\nfalse\tnot enough memory\n\
         false\tnot enough memory\nfalse\tnot enough memory\ntrue\t1000000\n"
    );
}

#[test]
fn memory_that_is_used_up_in_a_task_is_that_tasks_error() {
    let ran = Stage::new().run(
        "local task = require 'task'
         local t = task.spawn(function() local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1000) .. i end end)
         print(t:join()) collectgarbage() print(#('x'):rep(1000000))
         local all, reserve = {}, ('x'):rep(5000000)
         print(pcall(function()
           while true do all[#all + 1] = task.spawn(task.sleep, 1000) end end))
         reserve = nil collectgarbage()
         for _, t in ipairs(all) do t:cancel() end all = nil task.sleep(0) collectgarbage()
         print(task.spawn(function() task.sleep(1) return 'well' end):join())",
    );
    assert_eq!(ran.ending, Ending::Exited(0), "{}", ran.err);
    assert_eq!(
        ran.out,
        "nil\tnot enough memory\n1000000\nfalse\ttest.lua:6: too many tasks: there are 27962\ntrue\twell\n",
        "{}",
        ran.err
    );
}

#[test]
fn a_script_that_computes_for_ever_runs_out_wherever_it_does() {
    let ran = runs_out("local function spin() while true do end end\nspin()");
    assert!(ran.err.starts_with("stack traceback:\n\ttest.lua:1: in"), "{}", ran.err);
    assert!(ran.err.contains("test.lua:2: in main chunk"), "{}", ran.err);
    for text in [
        "pcall(function() while true do end end)",
        "while true do pcall(function() while true do end end) end",
        "while true do pcall(error) end",
        "while true do xpcall(function() while true do end end, function() while true do end end) end",
        "xpcall(error, function() while true do end end)",
        "while true do coroutine.wrap(function() coroutine.wrap(function() while true do end end)() end)() end",
        "while true do coroutine.resume(coroutine.create(function() pcall(function() while true do end end) end)) end",
        "local co = coroutine.wrap(function() while true do coroutine.yield() end end) while true do co() end",
        "table.sort({ 3, 2, 1 }, function() while true do end end)",
        "while true do load(function() while true do end end) end",
        "while true do pcall(table.sort, { 3, 2, 1 }, function() while true do end end) end",
        "local t = setmetatable({}, { __index = function() while true do end end }) print(t.x)",
        "local t = setmetatable({}, { __tostring = function() while true do end end }) print(tostring(t))",
        "do local x <close> = setmetatable({}, { __close = function() while true do end end }) end",
        "local x <close> = setmetatable({}, { __close = function() while true do end end }) while true do end",
        "local co = coroutine.create(function()
           local x <close> = setmetatable({}, { __close = function() while true do end end }) coroutine.yield() end)
         coroutine.resume(co) coroutine.close(co)",
        "local co = coroutine.create(function()
           local x <close> = setmetatable({}, { __close = function() while true do end end }) while true do end end)
         coroutine.resume(co) coroutine.close(co)",
        "local co = coroutine.wrap(function()
           local x <close> = setmetatable({}, { __close = function() while true do end end })
           table.sort({ 3, 2, 1 }, function() while true do end end) end)
         pcall(co)",
        "while true do setmetatable({}, { __gc = function() while true do end end }) collectgarbage() end",
        "local task = require 'task' task.spawn(function() while true do end end) task.sleep(1000)",
        "local task = require 'task' task.spawn(function() while true do pcall(task.yield) end end):join()",
        "local task = require 'task' task.every(1, function() while true do end end)",
        "local task = require 'task' task.timeout(1, function() while true do end end) while true do end",
        "load(function() while true do end end)",
        "while true do load('while true do end')() end",
        "goto a ::a:: goto a",
        "local function f() return f() end f()",
    ] {
        runs_out(text);
    }
}

#[test]
fn time_that_is_up_ends_a_script_that_waits() {
    let mut stage = Stage::new();
    stage.limits.time = Some(5 * SECOND);
    let ran = stage.run("local task = require 'task' print('in') task.sleep(100) print('no')");
    assert_eq!((ran.ending, &*ran.out), (Ending::Stopped(Limit::Time), "in\n"));
    let ran = Stage { limits: stage.limits, ..Stage::new() }.run("require('task').sleep(4)");
    assert_eq!(ran.ending, Ending::Exited(0));
}

#[test]
fn a_script_that_computes_when_its_time_is_up_says_where() {
    let mut stage = Stage::new();
    stage.limits.time = Some(SECOND);
    // Time passes only while it has given way.
    stage.pace = SECOND / 100;
    let ran = stage.run("while true do end");
    assert_eq!(ran.ending, Ending::Stopped(Limit::Time));
    assert!(ran.err.starts_with("stack traceback:\n\ttest.lua:1: in"), "{}", ran.err);
}

#[test]
fn a_task_that_computes_gives_way_to_the_others() {
    let text = "local task = require 'task' local done, n = false, 0
        task.spawn(function() for i = 1, 20 do task.yield() n = n + 1 end done = true end)
        local inner = coroutine.wrap(function() while not done do for i = 1, 10 do end end coroutine.yield('y') end)
        print(inner(), n)";
    assert_eq!(prints(text), "y\t20\n");
}

#[test]
fn giving_way_is_never_seen_by_the_script() {
    let text = "local task = require 'task'
        local t = task.spawn(function() for i = 1, 1000 do task.yield() end end)
        local function spin(a) for i = 1, 30000 do end return a end
        local co = coroutine.wrap(function(...)
          local x = spin(...)
          for i = 1, 5 do x = spin(coroutine.yield(x, spin(i))) end
          return 'end'
        end)
        print(co('a')) for i = 1, 5 do print(co(i * 10)) end
        for k in coroutine.wrap(function() for i = 1, 3 do spin() coroutine.yield(i) end end) do print(k) end
        table.sort({ 3, 2, 1 }, function(a, b) spin() return coroutine.wrap(function() spin() return a < b end)() end)
        print(pcall(spin, 'p'), (xpcall(spin, print, 'x')), select('#', spin()))";
    assert_eq!(prints(text), "a\t1\n10\t2\n20\t3\n30\t4\n40\t5\nend\n1\n2\n3\ntrue\ttrue\t1\n");
}

#[test]
fn recursion_that_is_too_deep_is_an_error() {
    let text = "local function short(ok, e) print(ok, (tostring(e):gsub('^[^\\n]*: ', ''):match('^[^\\n(]*[^\\n( ]'))) end
        local function deep() return 1 + deep() end
        short(pcall(deep))
        short(pcall(function() local function f() return pcall(f) end return f() end))
        short(xpcall(deep, function(e) return deep() end))
        short(load(('('):rep(1000) .. '1' .. (')'):rep(1000)))
        local t = setmetatable({}, {}) getmetatable(t).__index = function(t, k) return t[k + 1] end
        short(pcall(function() return t[1] end))
        local s = 'x' short(pcall(string.gsub, s, 'x', function() local function g() return (s:gsub('x', g)) end return g() end))
        local function nest(n) return coroutine.wrap(function() return nest(n + 1) end)() end
        short(pcall(nest, 1))
        local m = {} for i = 1, 300 do m = setmetatable({}, { __index = m }) end short(pcall(function() return m.x end))
        local task = require 'task'
        local function within(n) return task.timeout(10, within, n + 1) end short(pcall(within, 1))
        print('end')";
    let mut stage = Stage::new();
    stage.limits.memory = 256 << 20;
    let ran = stage.run(text);
    assert_eq!(
        ran.out,
        "false\tstack overflow\ntrue\ttrue\nfalse\terror in error handling\nnil\tC stack overflow\nfalse\tC stack overflow\n\
         false\tC stack overflow\nfalse\tC stack overflow\ntrue\tnil\n\
         false\tC stack overflow\nend\n"
    );
}

#[test]
fn timers_are_bounded() {
    let text = "local task = require 'task'
        local ok, e = pcall(function() for i = 1, 1e6 do task.after(1, print) end end)
        print(ok, e:match('too many timers'))
        require('service').stop()";
    assert_eq!(prints(text), "false\ttoo many timers\n");
}
