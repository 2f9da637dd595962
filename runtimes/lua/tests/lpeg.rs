//! LPeg: its own test passes, and no pattern hangs or crashes its host.

use crate::world::{Stage, prints};
use lunette_hostcalls::{Ending, Limit};

#[test]
fn the_test_of_the_release_passes() {
    let out =
        prints(include_str!("../vendor/lpeg/1.1.0/test.lua").strip_prefix("#!/usr/bin/env lua\n").unwrap());
    assert!(out.ends_with("OK\n"), "{out}");
}

/// Runs what must end by itself in an error: twice, as a script may that catches errors. Gives the error.
#[track_caller]
fn fails(text: &str) -> String {
    // As in a booted image: a stack of 8 MiB.
    let text = format!(
        "local lpeg = require 'lpeg'
        local P, V, C, Cc, Cs, Ct, Cmt = lpeg.P, lpeg.V, lpeg.C, lpeg.Cc, lpeg.Cs, lpeg.Ct, lpeg.Cmt
        local function f() {text} end
        local _, first = pcall(f)
        local ok, second = pcall(f)
        assert(not ok and first == second, second)
        print(second)"
    );
    let run = move || Stage::new().run(&text);
    let thread = std::thread::Builder::new().stack_size(8 << 20).spawn(run).unwrap();
    let ran = thread.join().unwrap();
    assert_eq!(ran.ending, Ending::Exited(0), "{}{}", ran.out, ran.err);
    ran.out
}

#[track_caller]
fn fails_with(what: &str, text: &str) {
    let why = fails(text);
    assert!(why.contains(what), "{why}");
}

#[test]
fn a_match_that_takes_for_ever_is_an_error() {
    // Every choice is tried with every other: 2^40.
    fails_with(
        "pattern too expensive",
        "local g = P { V 'a' * -1, a = 'x' * V 'a' * 'y' + 'x' * V 'a' * 'z' + 'x' }
        g:match(('x'):rep(40) .. '!')",
    );
    // A span is one instruction that looks at all of the subject: 10^10.
    fails_with(
        "pattern too expensive",
        "local span = lpeg.S 'ab' ^ 0 * 'c'
        ;((1 - span) ^ 0):match(('a'):rep(100000))",
    );
    // What looks back looks at every capture before it.
    fails_with(
        "pattern too expensive",
        "local last = lpeg.Cg(Cc(1), 'first') * (lpeg.Cg(P(1), 'n') * lpeg.Cb 'first') ^ 0
        last:match(('a'):rep(100000))",
    );
}

/// Each match is within its own bounds; all together are not within the script's.
#[test]
fn steps_are_fuel() {
    let mut stage = Stage::new();
    stage.limits.fuel = Some(20_000_000);
    let ran = stage.run(
        "local lpeg = require 'lpeg'
        local all, text = lpeg.P(1) ^ 0 * 'x', ('a'):rep(1000000)
        for i = 1, 1000 do print(i, pcall(all.match, all, text)) end",
    );
    assert_eq!(ran.ending, Ending::Stopped(Limit::Fuel), "{}{}", ran.out, ran.err);
    assert!(ran.out.starts_with("1\ttrue\tnil\n"), "{}", ran.out);
    assert!(ran.out.lines().count() < 20, "{}", ran.out);
}

#[test]
fn what_is_linear_may_be_long() {
    let out = prints(
        "local lpeg = require 'lpeg'
        local words = lpeg.Ct((lpeg.C(lpeg.R 'az' ^ 1) + 1) ^ 0)
        print(#words:match(('word and '):rep(100000)))",
    );
    assert_eq!(out, "200000\n");
}

#[test]
fn a_grammar_that_takes_for_ever_to_look_at_is_an_error() {
    // Each rule asks twice about the next: 2^60.
    fails_with(
        "pattern too complex",
        "local g = { V 'r1' }
        for i = 1, 60 do g['r' .. i] = V('r' .. i + 1) * V('r' .. i + 1) end
        g.r61 = P 'x' ^ -1
        return P(g):match 'x'",
    );
}

#[test]
fn deep_patterns_do_not_overflow_the_stack() {
    for step in ["p = C(p)", "p = Ct(p) * 'x'", "p = -p", "p = P { p }", "p = 'x' + p * 'y'"] {
        let why = fails(&format!(
            "local p = C 'a'
            for i = 1, 50000 do {step} if i % 2000 == 0 then p:match 'b' end end"
        ));
        let which = ["pattern too complex", "backtrack stack overflow"];
        assert!(which.iter().any(|which| why.contains(which)), "{step}: {why}");
    }
    // Matches in matches, each with captures in captures.
    fails_with(
        "C stack overflow",
        "local g
        local text = ('('):rep(50) .. 'x' .. (')'):rep(50)
        g = P { '(' * Cs(V(1) + P 'x' / function() return g:match(text) end) * ')' }
        return g:match(text)",
    );
}

#[test]
fn big_patterns_end_before_the_memory_does() {
    for text in [
        "return P 'ab' ^ (1 << 30)",
        "return P 'ab' ^ -(1 << 30)",
        "return P 'ab' ^ math.mininteger",
        "return P((1 << 30) + 1)",
        "return P(math.mininteger)",
        "local p = P 'abc' ^ 1000 return (p ^ 1000) ^ 1000",
        "local p, g = P 'abc' ^ 10000, { 'a', a = P 'a' } for i = 1, 900 do g['r' .. i] = p end return P(g)",
    ] {
        fails_with("pattern too big", text);
    }
    fails_with("not enough memory", "return Ct(C(1) ^ 0):match(('a'):rep(10000000))");
}

/// The release frees a pattern's code in a `__gc` that anybody can call.
#[test]
fn nobody_can_free_a_pattern_in_use() {
    let out = prints(
        "local lpeg = require 'lpeg'
        local p = lpeg.C(lpeg.P 'a' ^ 1)
        print(getmetatable(p).__gc, p:match 'aaa')",
    );
    assert_eq!(out, "nil\taaa\n");
}

/// The release keeps half of the code of a pattern that there was no memory to compile.
#[test]
fn a_pattern_that_could_not_be_compiled_is_compiled_again() {
    let mut stage = Stage::new();
    stage.limits.memory = 24 << 20;
    let ran = stage.run(
        "local lpeg = require 'lpeg'
        local p = lpeg.P('abcdefgh' * lpeg.S '0123xyz' ^ 1) ^ 10000
        local held = {}
        for size = 16, 6, -1 do
            print(pcall(function() while true do held[#held + 1] = ('x'):rep(1 << size) .. #held end end))
        end
        print(pcall(p.match, p, 'abcdefgh0'))
        held = nil
        collectgarbage()
        print(pcall(p.match, p, ('abcdefgh0'):rep(10000)))",
    );
    assert_eq!(ran.ending, Ending::Exited(0), "{}{}", ran.out, ran.err);
    assert!(ran.out.ends_with("true\t90001\n"), "{}", ran.out);
    assert_eq!(ran.out.matches("not enough memory").count(), 12, "{}", ran.out);
}
