//! What a handler can't do to the others, and how a service ends.

use crate::world::{Stage, prints};
use lunette_hostcalls::Ending;

#[test]
fn a_handler_cannot_make_a_global() {
    let ran = Stage::new().run(
        "declared = 1
         package.preload.m = function() from_module = 'm' return {} end
         local task = require 'task'
         print(task.spawn(function() declared = declared + 1 return declared, undeclared end):join())
         print(task.spawn(function()
           oops = 1 end):join())
         print(task.spawn(function() _G.oops = 1 end):join())
         print(task.spawn(function() require 'm' return from_module end):join())
         print(task.spawn(function() rawset(_G, 'meant', 1) return meant end):join())
         print(task.spawn(function() local _ENV = {} mine = 1 return mine end):join())
         task.after(0, function() oops = 1 end) task.sleep(1)
         later = 'the main chunk may' print(later, oops)",
    );
    assert_eq!(ran.ending, Ending::Exited(0), "{}", ran.err);
    let error = "assignment to undeclared global 'oops' in a handler; declare it local, or set it at the top of the script";
    assert_eq!(
        ran.out,
        format!(
            "true\t2\tnil\nnil\ttest.lua:6: {error}\nnil\ttest.lua:7: {error}\ntrue\tm\ntrue\t1\ntrue\t1\n\
             the main chunk may\tnil\n"
        )
    );
    assert!(ran.err.contains(&format!("error in a timer: test.lua:11: {error}\nstack")), "{}", ran.err);
}

#[test]
fn a_script_that_guards_its_globals_itself_goes_on_doing_so() {
    let text = "setmetatable(_G, { __newindex = function(t, k, v) rawset(t, k, v .. '!') end, __index = function(_, k) return k end })
        print(require('task').spawn(function() x = 'mine' return x, y end):join())";
    assert_eq!(prints(text), "true\tmine!\ty\n");
    assert_eq!(prints("print(getmetatable(_G))"), "nil\n");
}

#[test]
fn main_has_the_arguments_and_the_service_its_config() {
    let mut stage = Stage::new();
    stage.args = vec!["test.lua", "a", "b"];
    stage.env = vec![("K", "v")];
    stage.listen = vec!["80"];
    let ran = stage.run(
        "local s = require 'service' print(...)
         print(s.config.name ~= nil, #s.config.args, s.config.args[2], s.config.env.K, s.config.listen[1])
         print(s.limits().memory, s.limits().tasks_used, s.limits().fuel)",
    );
    assert_eq!(ran.out, "a\tb\ntrue\t2\tb\tv\t80\n67108864\t1\tnil\n", "{}", ran.err);
}

#[test]
fn a_service_that_is_stopped_leaves_its_timers() {
    let text = "local task, service = require 'task', require 'service'
        task.every(1, function() print('tick') end)
        task.after(1000, print, 'no')
        task.spawn(function() task.sleep(2.5) service.stop() task.sleep(1) print('finished') end)";
    assert_eq!(prints(text), "tick\ntick\nfinished\n");
}
