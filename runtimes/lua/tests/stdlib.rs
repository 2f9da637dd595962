//! The standard library over host calls: `io`, `os`, `package`, `load`, `debug`, and what bounds patterns and loops.

use std::time::{Duration, Instant};

use crate::world::{Stage, prints};
use lunette_hostcalls::Ending;

/// Runs a script of assertions.
#[track_caller]
fn holds(stage: &Stage, text: &str) -> String {
    let ran = stage.run(text);
    assert_eq!(ran.ending, Ending::Exited(0), "{}\n{}", ran.out, ran.err);
    ran.out
}

#[test]
fn files_are_written_and_read_back() {
    holds(
        &Stage::new(),
        r#"
        local name = os.tmpname()
        assert(name:find("^/tmp/lua_"))
        local f <close> = assert(io.open(name, "w+"))
        assert(tostring(f):find("^file %(0x") and io.type(f) == "file")
        assert(f:write("one\n", 2, " ", 3.5, "\n0x1p4 -7e1 nan\nlast") == f)
        assert(f:seek("set", 0) == 0)
        assert(f:read("L") == "one\n")
        local a, b = f:read("n", "n")
        assert(a == 2 and math.type(a) == "integer" and b == 3.5)
        local a, b, c, d = f:read("n", "n", "n", "l")
        assert(a == 16.0 and b == -70.0 and c == nil and d == nil)
        -- "nan" begins with no digit, so nothing of it was taken.
        assert(f:read("l") == "nan")
        assert(f:read(2) == "la" and f:read(0) == "" and f:read("a") == "st")
        assert(f:read("a") == "" and f:read("l") == nil and f:read(0) == nil)
        assert(f:seek("end") == 29 and f:seek("cur", -4) == 25)
        f:close()
        assert(tostring(f) == "file (closed)" and io.type(f) == "closed file")
        local lines = {}
        for line in io.lines(name) do lines[#lines + 1] = line end
        assert(#lines == 4 and lines[4] == "last")
        local g = assert(io.open(name, "a"))
        g:write("!") g:close()
        assert(io.open(name):read("a"):sub(-5) == "last!")
        assert(os.rename(name, name .. "x") and not io.open(name))
        assert(os.remove(name .. "x"))
        "#,
    );
}

#[test]
fn failures_have_linux_words_and_numbers() {
    let stage = Stage::new();
    stage.file("/ro.txt", "x");
    let out = holds(
        &stage,
        r#"
        print(io.open("/nowhere/x"))
        print(io.open("/tmp/nope"))
        print(io.open("/ro.txt", "w"))
        print(io.open("/ro.txt/x"))
        print(io.open("/tmp", "w"))
        print(io.open("/tmp"):read("a"))
        print(os.remove("/tmp/nope"))
        print(os.rename("/tmp/nope", "/tmp/y"))
        print(io.open("/ro.txt"):write("x"))
        print(io.stdout:seek("set"))
        print(pcall(io.open, "x", "rw"))
        print(pcall(io.popen, "ls"))
        print(select(2, pcall(function() io.lines("/nope") end)))
        print(select(2, pcall(function() local f = io.tmpfile() f:close() f:read() end)))
        print(select(2, pcall(function() io.stdin:read("x") end)))
        print(io.stdin:close())
        print(os.execute(), os.execute("ls"))
        print(package.loadlib("/x.so", "*"))
        "#,
    );
    let expected = "\
nil\t/nowhere/x: No such file or directory\t2
nil\t/tmp/nope: No such file or directory\t2
nil\t/ro.txt: Read-only file system\t30
nil\t/ro.txt/x: Not a directory\t20
nil\t/tmp: Is a directory\t21
nil\tIs a directory\t21
nil\t/tmp/nope: No such file or directory\t2
nil\t/tmp/nope: No such file or directory\t2
nil\tBad file descriptor\t9
nil\tIllegal seek\t29
false\tbad argument #2 to 'open' (invalid mode)
false\t'popen' not supported
test.lua:14: cannot open file '/nope' (No such file or directory)
test.lua:15: attempt to use a closed file
test.lua:16: bad argument #1 to 'read' (invalid format)
nil\tcannot close standard file
false\tnil\texit\t127
nil\tdynamic libraries not enabled; check your Lua installation\tabsent
";
    assert_eq!(out, expected);
}

#[test]
fn a_read_of_standard_input_waits_for_it() {
    let stage = Stage::new();
    stage.world.stdio.feed(b"one\ntw").later().feed(b"o\n12").later().feed(b"5 rest").close();
    let out = holds(
        &stage,
        "io.write('? ') print(io.read()) print(io.read()) print(io.read('n', 'a')) print(io.read('a'), io.read())",
    );
    assert_eq!(out, "? one\ntwo\n125\t rest\n\tnil\n");
}

#[test]
fn what_an_output_does_not_take_is_neither_lost_nor_torn() {
    let stage = Stage::new();
    stage.world.stdio.short_writes(Some(3)).stall_writes(5);
    let out = holds(&stage, "for i = 1, 50 do io.write('line ', i) print() end io.write('end')");
    let expected: String = (1..=50).map(|i| format!("line {i}\n")).collect();
    assert_eq!(out, expected + "end");
}

#[test]
fn exit_ends_the_script_at_once() {
    let ran = Stage::new().run("io.write('bye') pcall(os.exit, 7) print('never')");
    assert_eq!((ran.ending, ran.out.as_str()), (Ending::Exited(7), "bye"));
    assert_eq!(Stage::new().run("os.exit(true)").ending, Ending::Exited(0));
    assert_eq!(Stage::new().run("os.exit(false)").ending, Ending::Exited(1));
}

#[test]
fn variables_are_closed_at_the_end_if_it_is_asked_for() {
    let text = |close| {
        format!(
            "local x <close> = setmetatable({{}}, {{ __close = function() print('closed') end }}) os.exit(3, {close})"
        )
    };
    let ran = Stage::new().run(&text(true));
    assert_eq!((ran.ending, ran.out.as_str()), (Ending::Exited(3), "closed\n"));
    let ran = Stage::new().run(&text(false));
    assert_eq!((ran.ending, ran.out.as_str()), (Ending::Exited(3), ""));
}

#[test]
fn dates_are_those_of_c() {
    holds(
        &Stage::new(),
        r#"
        assert(os.date("!%Y-%m-%d %H:%M:%S", 0) == "1970-01-01 00:00:00")
        assert(os.date("%c|%x|%X|%p|%r|%R|%D|%F|%T", 1e9 // 1 | 0)
          == "Sun Sep  9 01:46:40 2001|09/09/01|01:46:40|AM|01:46:40 AM|01:46|09/09/01|2001-09-09|01:46:40")
        assert(os.date("%a %A %b %B %h %C %d %e %g %G %H %I %j %m %M %n%t%S %u %U %V %w %W %y %z %Z %%", 1709251199)
          == "Thu Thursday Feb February Feb 20 29 29 24 2024 23 11 060 02 59 \n\t59 4 08 09 4 09 24 +0000 UTC %")
        assert(os.date("%G-%V %g", 1104537600) == "2004-53 04" and os.date("%G-%V", 1230768000 - 86400) == "2009-01")
        assert(os.date("%U %W", 0) == "00 00" and os.date("%Ex %Od", 0) == "01/01/70 01")
        local t = os.date("*t", 951782400)
        assert(t.year == 2000 and t.month == 2 and t.day == 29 and t.yday == 60 and t.wday == 3 and t.isdst == false)
        assert(os.time(t) == 951782400)
        assert(os.time{year = 2000, month = 14, day = -3, hour = 25} == os.time{year = 2001, month = 1, day = 29, hour = 1})
        assert(os.date("!%F", -1e10 // 1 | 0) == "1653-02-10")
        assert(os.difftime(10, 4) == 6.0 and os.setlocale() == "C" and not os.setlocale("de_DE"))
        local function fails(words, f, ...)
          local ok, got = pcall(f, ...)
          assert(not ok and got:find(words, 1, true), got)
        end
        fails("invalid conversion specifier '%Ez'", os.date, "%Ez")
        fails("invalid conversion specifier '%'", os.date, "%")
        fails("cannot be represented", os.date, "%F", math.maxinteger)
        fails("field 'day' missing in date table", os.time, {year = 2000, month = 1})
        fails("field 'day' is not an integer", os.time, {year = 2000, month = 1, day = 1.5})
        fails("field 'year' is out-of-bound", os.time, {year = 1 << 40, month = 1, day = 1})
        "#,
    );
}

#[test]
fn modules_come_from_the_bundle() {
    let stage = Stage::new();
    stage.file("/util.lua", "#!/usr/bin/lua\nlocal name, file = ... return { name = name, file = file, fail = function()\nerror('oops') end }");
    stage.file("/a/b.lua", "return 'a.b'").file("/p/init.lua", "return 'p'").file("/bad.lua", "x =");
    stage.file("/lua_modules/share/lua/5.4/rock.lua", "loaded_rock = true");
    stage.file("/lua_modules/lib/lua/5.4/crock.so", "\x7fELF");
    let out = holds(
        &stage,
        r#"
        local util = require "util"
        print(util.name, util.file, select(2, pcall(util.fail)))
        print(require "a.b", require "p", (require "rock"), loaded_rock, require "util" == util)
        print(package.searchpath("a.b", package.path))
        print(loadfile("/nope.lua"))
        print(select(2, pcall(dofile, "/bad.lua")))
        print(select(2, pcall(require, "bad")))
        print(select(2, pcall(require, "crock")):match("file '[^']*%.so'[^\n]*"))
        print((select(2, pcall(function() require "no.such" end)):gsub("\n\tbuilt in:[^\n]*", "")))
        "#,
    );
    let expected = "\
util\t/util.lua\t/util.lua:3: oops
a.b\tp\ttrue\ttrue\ttrue
/a/b.lua
nil\tcannot open /nope.lua: No such file or directory
/bad.lua:1: unexpected symbol near <eof>
error loading module 'bad' from file '/bad.lua':
\t/bad.lua:1: unexpected symbol near <eof>
file '/lua_modules/lib/lua/5.4/crock.so' is a native module, which can't be loaded
test.lua:10: module 'no.such' not found:
\tno field package.preload['no.such']
\tno file '/no/such.lua'
\tno file '/no/such/init.lua'
\tno file '/lua_modules/share/lua/5.4/no/such.lua'
\tno file '/lua_modules/share/lua/5.4/no/such/init.lua'
";
    assert_eq!(out, expected);
}

#[test]
fn chunks_are_text() {
    let text = r#"
        local code = string.dump(function() return 1 end)
        print(load(code)) print(load(code, "x", "b")) print(load(code, "x", "bt"))
        local left = code
        print(load(function() local piece = left left = nil return piece end))
        print(load("return 2")(), load("return x", "=x", "t", { x = 3 })())
        print(load("x", "=x", "b"))
        -- Nor if what looks at it is replaced.
        string.find, string.byte, type, math.type = print, print, nil, nil
        print((load(code, "x", "b")))
        string.dump, debug.getupvalue = nil, nil
        assert(debug.setupvalue(load, 1, 1) == nil)
    "#;
    let refused = "nil\tattempt to load a binary chunk (mode is 't')\n";
    let out = holds(&Stage::new(), text);
    assert_eq!(out, refused.repeat(4) + "2\t3\nnil\tattempt to load a text chunk (mode is 'b')\nnil\n");
    let mut trusting = Stage::new();
    trusting.limits.bytecode = true;
    assert_eq!(holds(&trusting, "print(load(string.dump(function() return 1 end))())"), "1\n");
}

#[test]
fn a_pattern_that_would_take_for_ever_is_an_error_that_names_it() {
    let start = Instant::now();
    let out = prints(
        r#"
        local s = ("a"):rep(200)
        for _, f in ipairs { string.find, string.match, string.gsub, string.gmatch } do
          print(select(2, pcall(function() local r = f(s, ".-.-.-.-b$", f == string.gsub and "" or nil) if type(r) == "function" then r() end end)))
        end
        print(#s:match("^(a*)a*a*$"), s:find("b", 1, true), s:gsub(".-.-", "x", 3))
        "#,
    );
    let words = "pattern too expensive: '.-.-.-.-b$'";
    assert_eq!(out.matches(&format!("test.lua:4: {words}\n")).count(), 4, "{out}");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

/// The matcher here and PUC's agree: the first is made to take what it usually leaves to the other.
#[test]
fn the_matcher_agrees_with_pucs() {
    holds(
        &Stage::new(),
        r#"
        local pieces = { "a", "b", ".", "%a", "%d", "[ab]", "[^a-c]", "a*", "b-", ".-", "%w+", "c?", "(", ")", "()", "$", "^",
          "%1", "%b()", "%f[%w]", "[%]-x]", "%", "[", "1", "(a)", "(.-)", " " }
        local subjects = { "", "a", "ab", "aabbcc 12", "((a)b)", "x]y-z", "  trim  ", "abcabcabc", "a.b-c" }
        local seed = 12345
        local function random(n) seed = (seed * 1103515245 + 12345) & 0x7fffffff return (seed >> 8) % n + 1 end
        -- What is longer than any pattern is left to PUC with, and looked at from near its end.
        local far, longer = ("\n"):rep(2000000), {}
        for _, s in ipairs(subjects) do longer[s] = far .. s end
        local function pack(shift, ok, ...)
          local t = table.pack(...)
          if not ok then return tostring(...):gsub("^[^:]*:%d+: ", "") end
          for i = 1, t.n do t[i] = math.type(t[i]) and t[i] - shift or tostring(t[i]) end
          return table.concat(t, "|")
        end
        local matched, failed = 0, 0
        for _ = 1, 20000 do
          local pattern = ""
          for _ = 1, random(6) do pattern = pattern .. pieces[random(#pieces)] end
          local s = subjects[random(#subjects)]
          for _, f in ipairs { string.match, string.find } do
            local pucs = pack(0, pcall(f, s, pattern))
            local ours = pack(#far, pcall(f, longer[s], pattern, #far + 1))
            assert(pucs == ours, ("%q at %q: %q, %q"):format(pattern, s, pucs, ours))
            if pucs == "nil" then failed = failed + 1 else matched = matched + 1 end
          end
        end
        assert(matched > 5000 and failed > 2000, matched .. " " .. failed)
        "#,
    );
}

#[test]
fn no_call_allocates_what_it_may_not_or_loops_for_ever() {
    let start = Instant::now();
    let out = prints(
        r#"
        local function fails(f, ...) print((select(2, pcall(f, ...)))) end
        fails(string.rep, "x", 1e9 // 1 | 0)
        fails(string.rep, "x", 1 << 40)
        fails(string.rep, "abc", math.maxinteger, "de")
        print(#string.rep("", 2^53), #string.rep("", "9007199254740992"))
        print(#string.rep("", math.maxinteger), #("ab"):rep(5001, ","), (("ab"):rep(1001, ","):find("abab")))
        assert(("xyz"):rep(1234, "-") == table.concat(setmetatable({}, { __len = function() return 1234 end,
          __index = function() return "xyz" end }), "-"))
        local t = { 1, 2, 3 }
        assert(table.concat(table.move(t, 1, 3, 2), ",") == "1,1,2,3")
        "#,
    );
    assert_eq!(
        out,
        "not enough memory\nresulting string too large\nresulting string too large\n0\t0\n0\t15002\tnil\n"
    );
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn long_tables_are_sorted_moved_and_joined_the_same() {
    holds(
        &Stage::new(),
        r#"
        local n, t = 60000, {}
        for i = 1, n do t[i] = (i * 7919) % n end
        table.sort(t) for i = 2, n do assert(t[i - 1] <= t[i]) end
        table.sort(t, function(a, b) return a > b end) assert(t[1] >= t[n])
        table.insert(t, 1, "first") assert(t[1] == "first" and #t == n + 1)
        assert(table.remove(t, 1) == "first" and #t == n)
        local moved = table.move(t, 1, n, 3) assert(moved == t and t[n + 2] == 0 and #t == n + 2)
        table.move(t, 3, n + 2, 1) assert(t[n] == 0)
        assert(#table.concat(setmetatable(t, {}), ",") > n)
        "#,
    );
}

#[test]
fn debug_shows_what_is_the_scripts_and_guards_what_is_not() {
    holds(
        &Stage::new(),
        r#"
        local up = 1
        local function f(a) local b = 2 up = up + a return debug.getlocal(1, 1), debug.getlocal(1, 2) end
        assert(f(5) == "a")
        assert(debug.getupvalue(f, 1) == "up" and debug.setupvalue(f, 1, 10) == "up" and up == 10)
        assert(debug.getinfo(1, "S").short_src == "test.lua" and debug.getinfo(1, "l").currentline == 6)
        assert(debug.getinfo(f, "u").nparams == 1 and debug.getinfo(print).func == print)
        assert(debug.traceback("x", 1):find("^x\nstack traceback:\n\ttest.lua:8:"))
        -- Nothing of the host's, nor what is replaced, can be reached.
        for _, g in ipairs { string.find, load, require, io.write, print, string.dump } do
          assert(debug.getupvalue(g, 1) == nil and debug.setupvalue(g, 1, print) == nil)
        end
        load(function() for level = 0, 9 do
          local info = debug.getinfo(level, "fS")
          if info and info.what == "C" then assert(info.func == nil) end
          if info and info.source == "=[lua]" then assert(debug.getlocal(level, 1) == nil) end
        end end)
        assert(debug.getmetatable(io.stdout) == nil and getmetatable(io.stdout) == false)
        assert(not pcall(debug.setmetatable, io.stdout, {}) and not pcall(debug.setuservalue, io.stdout, 1))
        assert(not pcall(debug.sethook, print, "c") and debug.gethook() == nil and next(debug.getregistry()) == nil)
        assert(not pcall(debug.upvaluejoin, load, 1, f, 1) and not pcall(string.dump, load))
        assert(debug.getmetatable("").__index == string)
        "#,
    );
}

#[test]
fn what_load_catches_is_as_it_was_raised() {
    let out = prints(
        "for _, call in ipairs { function(f, ...) return f(...) end, pcall } do
           print((select(-1, call(load, function() error('reader') end))))
           print((select(-1, call(load, function() return nil .. 'x' end))))
           print((select(-1, call(load, 'local a = ' .. ('{'):rep(300)))))
           print((select(-1, call(load, 'x =', '=chunk'))))
         end",
    );
    let once = "test.lua:2: reader\ntest.lua:3: attempt to concatenate a nil value\nC stack overflow\n\
                chunk:1: unexpected symbol near <eof>\n";
    assert_eq!(out, once.repeat(2));
}

#[test]
fn a_warning_is_a_line_on_standard_error_once_it_is_on() {
    let ran = Stage::new().run("warn('no') warn('@on') warn('a', 'b') warn('@off') warn('no')");
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("", "Lua warning: ab\n"));
}

#[test]
fn a_finalizer_that_runs_when_the_state_is_closed_finds_nothing_of_the_hosts() {
    let out = prints(
        "x = setmetatable({}, { __gc = function() print('late') io.write('late') require('none') end }) print('end')",
    );
    assert_eq!(out, "end\n");
}
