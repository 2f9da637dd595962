//! `kv`: stores outside of Lua's memory.

use crate::world::{Stage, prints};

#[test]
fn values_are_set_counted_and_deleted() {
    let out = prints(
        r#"
        local kv = require "kv"
        local s = kv.open "s"
        print(s:get "a", s:set("a", "x\0y"), #s:get "a", s:set("a", 1, { nx = true }))
        print(s:set("b", true, { xx = true }), s:set("b", false), s:get "b", s:set("b", 2.5, { xx = true }), s:get "b")
        print(s:incr("n", 1), s:incr("n", 1, 0), s:incr("n", 2), s:incr("n", 0.5), s:incr("a", 1))
        print(s:incr("big", 1, math.maxinteger) == math.mininteger, s:incr "n")
        print(s:delete "a", s:delete "a", s:get "a", #s)
        print(s:push("q", 1), s:push("q", "two"), s:push("q", 0, "front"), s:len "q", s:get "q")
        print(s:pop "q", s:pop("q", "back"), s:pop "q", s:pop "q", s:len "q")
        print(s:push("n", 1), s:pop "n", s:incr("q2", 1, 5), s:len "q2")
        for i = 1, 3 do s:set("user:" .. i, i) end
        print(table.concat(s:keys "user:", ","), #s:keys("user:", 2), #s:keys())
        print(kv.open "s":get "b", #kv.open "other")
        s:clear() print(#s, s:get "b")
        "#,
    );
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(
        lines,
        [
            "nil\ttrue\t3\tnil\texists",
            "nil\ttrue\tfalse\ttrue\t2.5",
            "nil\t1\t3\t3.5\tnil\tnot a number",
            "true\t4.5",
            "true\tfalse\tnil\t3",
            "1\t2\t3\t3\tnil\tit is a list",
            "0\ttwo\t1\tnil\t0",
            "nil\tnil\t6\tnil\tit is no list",
            "user:1,user:2,user:3\t2\t7",
            "2.5\t0",
            "0\tnil\tnot found",
        ]
    );
}

#[test]
fn what_has_had_its_time_is_gone() {
    let stage = Stage::new();
    let script = r#"
        local kv = require "kv"
        local s = kv.open "s"
        print(s:set("a", 1, { ttl = 10 }), s:ttl "a" == 10, s:ttl "b")
        s:set("b", 2) print(s:ttl "b" == math.huge, s:expire("b", 0.5), s:ttl "b", s:expire("c", 1))
        print(s:expire("b", math.huge), s:ttl "b" == math.huge, s:expire("a", 20), s:ttl "a" == 20)
        s:set("now", 1, { ttl = 0 }) print(s:get "now", #s)
        s:incr("a", 1) print(s:ttl "a" == 20)
        s:set("c", 3, { ttl = 2 })
        -- Others run meanwhile: the clock, here.
        require "crypto".pbkdf2("sha1", "", "", 3001, 20)
        print(s:get "a", s:ttl "a" == 15, s:get "c", #s, table.concat(s:keys(), " "))
        s:set("a", 1) print(s:ttl "a" == math.huge)
    "#;
    let clock = stage.world.clock.clone();
    let ran = stage.run_beside(script, |peers| {
        peers.spawn(async move {
            clock.advance(5_000_000_000);
            None
        });
    });
    assert_eq!(
        ran.expect("it is Lua").out,
        "true\ttrue\tnil\tnot found\n\
         true\ttrue\t0.5\tnil\tnot found\n\
         true\ttrue\ttrue\ttrue\n\
         nil\t2\ntrue\n\
         2\ttrue\tnil\t2\ta b\ntrue\n"
    );
}

#[test]
fn a_full_store_says_so_and_stays_as_it_was() {
    let out = prints(
        r#"
        local kv = require "kv"
        local s = kv.open("small", { max = "4K" })
        local big = ("x"):rep(3000)
        print(s:set("a", big), s:set("b", big), s:get "b", s:get "a" == big)
        print(s:set("a", big .. big), #s:get "a", s:set("a", "y"), s:set("b", big), s:push("l", big), s:push("l", "z"), s:push("l", big))
        print(s:expire("b", 5), s:delete "b", s:set("c", big))
        local n = 0 s:clear() while s:set("k" .. n, n) do n = n + 1 end
        print(n > 20 and n < 60)
        s:clear() local m = 0 while s:set("k" .. m, m, { ttl = 0 }) and m < 1000 do m = m + 1 end print(m)
        "#,
    );
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines[0], "true\tnil\tnil\ttrue");
    assert_eq!(lines[1], "nil\t3000\ttrue\ttrue\tnil\t1\tnil\tno memory");
    assert_eq!(lines[2], "true\ttrue\ttrue");
    assert_eq!(lines[3..], ["true", "1000"]);
}

#[test]
fn what_can_not_be_kept_is_raised() {
    for (call, words) in [
        ("s:set('a', {})", "kv.set: a value can't be a table; json.encode makes a string of it"),
        ("s:set('a', nil)", "delete removes a key"),
        ("s:set('a', print)", "kv.set: a value can't be a function"),
        ("s:set('a', 1, { tll = 1 })", "there is no option tll; there are: ttl, nx, xx"),
        ("s:set('a', 1, { ttl = -1 })", "kv.set: ttl can't be -1: it is a time in seconds"),
        ("s:push('a', 1, 'left')", "a list has no end left; there are: front, back"),
        ("s:incr('a', 'x')", "only numbers can be added"),
        ("kv.open('x', { max = 'lots' })", "max is a number of bytes, or a text like 64K or 8M"),
        ("for i = 1, 300 do kv.open('n' .. i) end", "there are 256 stores already"),
    ] {
        let ran = Stage::new().run(&format!("kv = require 'kv' s = kv.open 's' {call}"));
        assert!(ran.err.contains(words), "{call}: {}", ran.err);
    }
}
