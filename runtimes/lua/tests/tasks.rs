//! Tasks: spawned, joined, cancelled; timers; channels; coroutines in which something waits.

use crate::world::{Stage, prints};
use lunette_hostcalls::Ending;

#[track_caller]
fn is(text: &str, expected: &str) {
    assert_eq!(prints(&format!("local task = require 'task'\n{text}")), expected);
}

#[test]
fn a_task_gives_its_results_to_who_joins_it() {
    is(
        "local t = task.spawn(function(a, b) task.sleep(1) return a + b, nil, 'c' end, 1, 2)
         print(t:status(), t:join()) print(t:status(), t:join())
         local e = task.spawn(function() task.sleep(1) error('bad thing') end)
         print(e:join()) print(e:join(0)) print(e:status())
         print(task.spawn(function() end):join())",
        "running\ttrue\t3\tnil\tc\ndone\ttrue\t3\tnil\tc\nnil\ttest.lua:4: bad thing\nnil\ttest.lua:4: bad thing\nfailed\ntrue\n",
    );
}

#[test]
fn a_join_times_out_and_a_task_does_not_wait_for_itself() {
    is(
        "local t = task.spawn(task.sleep, 10)
         print(t:join(1)) print(t:join(0)) t:cancel() print(t:join())
         print(pcall(function() task.self():join() end))",
        "nil\ttimeout\nnil\ttimeout\nnil\tcancelled\nfalse\ttest.lua:4: join: a task can't wait for itself\n",
    );
}

#[test]
fn an_error_that_nobody_waits_for_is_told_and_ends_nothing() {
    let ran = Stage::new().run(
        "local task = require 'task'
         task.spawn(function() error('nobody') end)
         task.sleep(1) print('still here')",
    );
    assert_eq!((ran.ending, &*ran.out), (Ending::Exited(0), "still here\n"));
    assert!(
        ran.err.starts_with("lunette: error in a task: test.lua:2: nobody\nstack traceback:\n"),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("test.lua:2: in function <test.lua:2>"), "{}", ran.err);
}

#[test]
fn an_error_in_the_main_chunk_ends_it_as_lua_does() {
    let ran = Stage::new().run("require('task').spawn(print, 1)\nlocal function f() error({}) end\nf()");
    assert_eq!(ran.ending, Ending::Exited(1));
    assert!(
        ran.err.starts_with("lunette: (error object is a table value)\nstack traceback:\n"),
        "{}",
        ran.err
    );
    let ran =
        Stage::new().run("local t = setmetatable({}, {__tostring = function() return 'mine' end})\nerror(t)");
    assert!(ran.err.starts_with("lunette: mine\nstack traceback:\n\t[C]: in "), "{}", ran.err);
    let ran = Stage::new().run("\nlocal x = nil + 1");
    assert!(
        ran.err.starts_with(
            "lunette: test.lua:2: attempt to perform arithmetic on a nil value\nstack traceback:\n\t"
        ),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("\ttest.lua:2: in main chunk\n\t[C]: in ?\n"), "{}", ran.err);
}

#[test]
fn errors_of_native_functions_are_strings_with_a_position() {
    is(
        "local ok, e = pcall(function() task.sleep('x') end) print(ok, type(e), e)
         ok, e = pcall(function() task.spawn(1) end) print(ok, type(e), e)
         ok, e = pcall(task.channel, -1) print(ok, type(e), e)
         print(xpcall(function() task.channel(-1) end, function(e) return type(e) .. '!' end))
         print(coroutine.resume(coroutine.create(function() task.channel(-1) end)))
         print(pcall(coroutine.wrap(function() task.channel(-1) end)))
         print(select('#', pcall(error)), pcall(error, nil))
         print(task.spawn(function() task.sleep(-1) end):join())
         print(pcall(function() task.every(0, print) end))",
        "false\tstring\ttest.lua:2: bad argument #1 to 'sleep' (number expected, got string)\n\
         false\tstring\ttest.lua:3: bad argument #1 to 'spawn' (function expected, got integer)\n\
         false\tstring\ttask.channel: its room can't be less than 0\n\
         false\tstring!\n\
         false\ttest.lua:6: task.channel: its room can't be less than 0\n\
         false\ttest.lua:7: task.channel: its room can't be less than 0\n\
         2\tfalse\tnil\n\
         nil\ttest.lua:9: task.sleep: a time of -1: it is a time in seconds\n\
         false\ttest.lua:10: task.every: a time of 0: it is to be at least a millisecond\n",
    );
}

#[test]
fn cancelled_a_task_closes_what_it_has_and_ends() {
    is(
        "local t = task.spawn(function()
           local a <close> = setmetatable({}, { __close = function() print('closed a') end })
           local inner = coroutine.wrap(function()
             local b <close> = setmetatable({}, { __close = function() print('closed b') end })
             task.sleep(100)
           end)
           local ok = pcall(inner)
           print('not reached', ok)
         end)
         task.sleep(1) t:cancel() print(t:join())
         local own = task.spawn(function() task.self():cancel() print('until it waits') task.sleep(0) print('no') end)
         print(own:join())
         local never = task.spawn(print, 'no') never:cancel() print(never:join())",
        "closed b\nclosed a\nnil\tcancelled\nuntil it waits\nnil\tcancelled\nnil\tcancelled\n",
    );
}

#[test]
fn timers_come_when_it_is_time_and_can_be_cancelled() {
    is(
        "local n, every = 0
         every = task.every(1, function(word) n = n + 1 print(word, n) if n == 3 then every:cancel() end end, 'tick')
         task.after(2.5, print, 'after')
         task.after(1, function() print('no') end):cancel()
         local ok, e = task.timeout(1.5, task.sleep, 100) print(ok, e)
         print(task.timeout(5, function(a) task.sleep(1) return a end, 'in time'))
         print(pcall(task.timeout, 5, function() error('x', 0) end))",
        "tick\t1\nnil\ttimeout\ntick\t2\nafter\nin time\nfalse\tx\ntick\t3\n",
    );
}

#[test]
fn a_timers_error_is_told_and_the_timer_goes_on() {
    let ran = Stage::new().run(
        "local task = require 'task' local n, t = 0
         t = task.every(1, function() n = n + 1 if n == 1 then error('once') end t:cancel() print(n) end)",
    );
    assert_eq!((ran.ending, &*ran.out), (Ending::Exited(0), "2\n"));
    assert!(ran.err.contains("error in a timer: test.lua:2: once\nstack"), "{}", ran.err);
}

#[test]
fn channels_hand_values_over_in_order() {
    is(
        "local ch = task.channel()
         task.spawn(function() for i = 1, 3 do print('sent', i, ch:send(i)) end ch:close() end)
         for i = 1, 4 do print('got', ch:recv()) end
         print(ch:send(1), ch:recv(1))
         local two = task.channel(2)
         print(two:send('a'), two:send(nil), two:send('c', 1), #two)
         print(two:recv(), two:recv(), two:recv(0.5))
         local none = task.channel() print(none:send('lost', 1)) print(#none, none:recv(1))",
        "got\t1\nsent\t1\ttrue\ngot\t2\nsent\t2\ttrue\ngot\t3\nsent\t3\ttrue\ngot\tnil\tclosed\n\
         nil\tnil\tclosed\ntrue\ttrue\tnil\t2\na\tnil\tnil\ttimeout\nnil\ttimeout\n0\tnil\ttimeout\n",
    );
}

#[test]
fn a_receiver_that_gives_up_leaves_its_turn_to_the_next() {
    is(
        "local ch = task.channel()
         local first = task.spawn(function() print('first', ch:recv()) end)
         local second = task.spawn(function() print('second', ch:recv()) end)
         task.sleep(1)
         local sender = task.spawn(function() print('sent', ch:send('x', 5)) end)
         task.yield() first:cancel()
         second:join() sender:join()",
        "second\tx\nsent\ttrue\n",
    );
}

#[test]
fn all_and_race_end_with_their_parts() {
    is(
        "local function after(s, v) return function() task.sleep(s) return v end end
         local list = task.all { after(3, 'a'), after(1, 'b'), after(2) } print(list.n, list[1], list[2], list[3])
         print(task.all { after(3), function() task.sleep(1) error('second', 0) end })
         print(task.race { after(3, 'slow'), after(1, 'fast') })
         print(task.race { after(3, 'slow'), function() error('at once', 0) end })
         print(task.all {}.n, pcall(task.all, { 1 }))",
        "3\ta\tb\tnil\nnil\tsecond\nfast\nnil\tat once\n0\tfalse\ttask.all: no. 1 is no function\n",
    );
}

#[test]
fn whoever_waits_in_a_coroutine_of_the_scripts_waits_in_its_task() {
    is(
        "local order = {}
         task.spawn(function() for i = 1, 3 do order[#order + 1] = 'other' task.sleep(1) end end)
         local co = coroutine.create(function(a)
           task.sleep(0.5)
           local b = coroutine.yield(a + 1)
           local ok, e = pcall(function() task.sleep(1) error('inside', 0) end)
           for k in coroutine.wrap(function() for i = 1, 2 do task.sleep(0.1) coroutine.yield(i) end end) do
             order[#order + 1] = k
           end
           task.sleep(0)
           return b, e, coroutine.isyieldable(), coroutine.status(coroutine.running())
         end)
         print(coroutine.resume(co, 1)) print(coroutine.status(co))
         print(coroutine.resume(co, 'b')) print(coroutine.status(co))
         print(coroutine.resume(co)) print(coroutine.close(co))
         print(table.concat(order, ' '))",
        "true\t2\nsuspended\ntrue\tb\tinside\ttrue\trunning\ndead\nfalse\tcannot resume dead coroutine\ntrue\nother other 1 2\n",
    );
}

#[test]
fn where_puc_cannot_yield_nobody_can_wait() {
    is(
        "print(pcall(table.sort, { 3, 2, 1 }, function(a, b) task.sleep(1) return a < b end))
         print(pcall(string.gsub, 'abc', '.', function() task.sleep(1) end))
         print(pcall(string.gsub, 'abc', '.', function() coroutine.wrap(function() task.sleep(1) end)() end))
         local t = setmetatable({}, { __index = function(_, k) task.sleep(1) return k end })
         print(t.indexed)",
        "false\tattempt to yield across a C-call boundary\n\
         false\tattempt to yield across a C-call boundary\n\
         false\tattempt to yield across a C-call boundary\n\
         indexed\n",
    );
}

#[test]
fn coroutines_are_as_in_puc() {
    is(
        "print(coroutine.resume(coroutine.create(function(...) return select('#', ...) end), nil, nil))
         local co co = coroutine.wrap(function() return pcall(co) end) print(co())
         print(pcall(coroutine.wrap(function() error('e') end)))
         print(pcall(coroutine.wrap(function() error({}) end)) == false)
         print(pcall(coroutine.resume, 1)) print(pcall(coroutine.wrap, 1)) print(pcall(coroutine.close, coroutine.running()))
         local c = coroutine.create(function() local x <close> = setmetatable({}, { __close = function() error('in close', 0) end }) coroutine.yield() end)
         coroutine.resume(c) print(coroutine.close(c)) print(coroutine.status(c))
         local d = coroutine.wrap(function() coroutine.yield() coroutine.yield(1) end) print(d()) print(d()) print(d())
         print(pcall(d))
         print(coroutine.isyieldable(), select(2, coroutine.running()))
         local function deep(n) return n == 0 and 'bottom' or coroutine.wrap(deep)(n - 1) end
         print(deep(50)) print((select(2, pcall(deep, 1000)):gsub('^.*: ', '')))",
        "true\t2\nfalse\tcannot resume non-suspended coroutine\nfalse\ttest.lua:4: e\ntrue\n\
         false\tbad argument #1 to 'coroutine.resume' (thread expected, got number)\n\
         false\tbad argument #1 to 'coroutine.wrap' (function expected, got number)\n\
         false\tcannot close a running coroutine\n\
         false\tin close\ndead\n\n1\n\nfalse\tcannot resume dead coroutine\ntrue\tfalse\nbottom\nC stack overflow\n",
    );
}

#[test]
fn a_module_may_wait_while_it_is_loaded() {
    is(
        "package.preload.slow = function(name, extra) task.sleep(1) slow_global = 1 return { name = name, extra = extra } end
         package.preload.bad = function() error('cannot') end
         local first = task.spawn(function() return require 'slow' end)
         local _, got = first:join()
         print(got == require 'slow', got.name, got.extra, slow_global)
         print(pcall(require, 'bad')) print(package.loaded.bad)
         local ok, e = pcall(function() require 'no.such' end) print(ok, e:match('^[^\\n]*\\n[^\\n]*'))
         print(pcall(require))",
        "true\tslow\t:preload:\t1\nfalse\ttest.lua:3: cannot\nnil\n\
         false\ttest.lua:8: module 'no.such' not found:\n\tno field package.preload['no.such']\n\
         false\tbad argument #1 to 'require' (string expected, got nil)\n",
    );
}

#[test]
fn a_hundred_thousand_coroutines_and_tasks_fit_in_their_memory() {
    let mut stage = Stage::new();
    stage.limits.memory = 256 << 20;
    let ran = stage.run(
        "local task = require 'task' local cos = {}
         for i = 1, 100000 do cos[i] = coroutine.create(function() coroutine.yield(i) end) coroutine.resume(cos[i]) end
         print(#cos, collectgarbage 'count' < 200000) cos = nil collectgarbage()
         local n = 0
         for i = 1, 100000 do task.spawn(function() task.sleep(1) n = n + 1 end) end
         task.sleep(2) print(n)",
    );
    assert_eq!((ran.ending, &*ran.out), (Ending::Exited(0), "100000\ttrue\n100000\n"), "{}", ran.err);
}
