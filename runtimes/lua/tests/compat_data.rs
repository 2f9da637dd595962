//! `cjson`, `bit`, `zlib`, `lfs`, `compat51`: what existing code asks for answers as the original does.

use crate::world::{Stage, prints};
use lunette_hostcalls::Ending;

#[test]
fn cjson_speaks_as_lua_cjson_does() {
    let out = prints(
        r##"
        local c, safe = require "cjson", require "cjson.safe"
        local function fails(f, ...) local ok, e = pcall(f, ...) print(not ok and e) end
        print(c._NAME, c._VERSION, c.null == c.decode "null", c.encode(c.empty_array), c.encode(setmetatable({}, c.array_mt)))
        print(c.encode { 1/3, 1e100, 100, 2^53, "a/\127" }, c.encode { [1] = 1, [3] = 3 }, c.encode {}, c.encode { [1] = 1, x = 2 })
        print(c.decode "0x10", c.decode "[1,2.5]"[2], c.decode("1e999") == math.huge)
        fails(c.decode, "Oops") fails(c.decode, '[1,2') fails(c.decode, "") fails(c.decode, '"\0"') fails(c.decode, "{1:2}")
        fails(c.encode, print) fails(c.encode, { [100] = 1 }) fails(c.encode, 0/0) fails(c.encode, { [true] = 1 }) fails(c.encode)
        print(safe.decode "Oops") print(safe.encode(print)) print(select("#", safe.decode "1"), safe.new().decode "x")
        print(c.encode_sparse_array(true, 1, 2), c.encode { [100] = 1 })
        local n = c.new() print(n.encode_sparse_array()) fails(n.encode_number_precision, 15)
        print(n.encode_number_precision(3), n.encode(1/3), n.encode_invalid_numbers "null", n.encode(0/0), n.encode_invalid_numbers(true), n.encode(1/0))
        print(n.decode_max_depth(2)) fails(n.decode, "[[[") print(n.encode_max_depth(1)) fails(n.encode, { {} })
        print(n.encode_empty_table_as_object(false), n.encode {}, n.encode_escape_forward_slash(false), n.encode "/")
        n.encode_max_depth(9) n.encode_empty_table_as_object(true) print(n.encode(n.decode "[[]]"))
        n.decode_array_with_array_mt(true) print(n.encode(n.decode "[[]]"))
        "##,
    );
    // All but the first line and the last three as lua-cjson 2.1.0 prints it: on Lua 5.1, or where that has no
    // floats to show (`16.0`), on 5.4.
    let expected = r#"cjson	2.1.0	true	[]	[]
[0.33333333333333,1e+100,100,9.007199254741e+15,"a\/\u007f"]	[1,null,3]	{}	{"1":1,"x":2}
16.0	2.5	true
Expected value but found invalid token at character 1
Expected comma or array end but found T_END at character 5
Expected value but found T_END at character 1
JSON parser does not support UTF-16 or UTF-32
Expected object key string but found T_NUMBER at character 2
Cannot serialise function: type not supported
Cannot serialise table: excessively sparse array
Cannot serialise number: must not be NaN or Inf
Cannot serialise boolean: table key must be a number or string
bad argument #1 to '?' (expected 1 argument)
nil	Expected value but found invalid token at character 1
nil	Cannot serialise function: type not supported
1	nil	Expected value but found invalid token at character 1
true	{"100":1}
false	2	10
bad argument #1 to '?' (expected integer between 1 and 14)
3	0.333	null	null	true	inf
2
Found too many nested data structures (3) at character 3
1
Cannot serialise, excessive nesting (2)
false	[]	false	"/"
[{}]
[[]]
"#;
    assert_eq!(out, expected);
}

#[test]
fn an_error_has_the_place_of_its_caller() {
    let ran = Stage::new().run("local c = require 'cjson'\n\nprint(c.decode('[1,2'))");
    assert_eq!(ran.ending, Ending::Exited(1));
    let words = "test.lua:3: Expected comma or array end but found T_END at character 5";
    assert!(ran.err.contains(words), "{}", ran.err);
}

/// No sparse array makes a text of nothing but `null`s that fills the memory.
#[test]
fn a_text_is_no_longer_than_the_memory() {
    let mut stage = Stage::new();
    stage.limits.memory = 1 << 20;
    let ran = stage.run(
        "local c = require 'cjson' c.encode_sparse_array(false, 0)
         print(pcall(c.encode, { [1 << 50] = 1 }))",
    );
    assert!(ran.out.contains("not enough memory"), "{}", ran.out);
}

#[test]
fn bits_are_those_of_bitop_and_bit32() {
    let out = prints(
        r#"
        local b, u = require "bit", require "bit32"
        print(b.tobit(0xffffffff), b.tobit(2^40 + 5), b.tobit(-2.5), b.tobit(3.5), b.bnot(0), b.bswap(0x12345678))
        print(b.band(0xff, "0x0f", 3), b.bor(1, 2, 4), b.bxor(0xffffffff, 1), b.lshift(1, 31), b.lshift(1, 33), b.rshift(-1, 28), b.arshift(-16, 2))
        print(b.rol(0x12345678, 12), b.ror(0x12345678, 12), b.tohex(-1), b.tohex(0xabc, 4), b.tohex(0xabc, -4), b.tohex(1, 0) == "")
        print(pcall(b.band)) print(pcall(b.band, 1, "x")) print(pcall(b.lshift, 1))
        print(u.band(), u.bnot(0), u.lshift(1, 32), u.lshift(4, -1), u.rshift(-1, 28), u.arshift(-256, 4), u.lrotate(1, -1), u.btest(6, 3))
        print(u.extract(0xabcd, 4, 8), u.replace(0, 0xff, 28, 4), pcall(u.extract, 1, 31, 2))
        "#,
    );
    let expected = "-1\t5\t-2\t4\t-1\t2018915346\n\
         3\t7\t-2\t-2147483648\t2\t15\t-4\n\
         1164411171\t1736516421\tffffffff\t0abc\t0ABC\ttrue\n\
         false\tbad argument #1 to '?' (number expected, got no value)\n\
         false\tbad argument #2 to '?' (number expected, got string)\n\
         false\tbad argument #2 to '?' (number expected, got no value)\n\
         4294967295\t4294967295\t0\t2\t15\t4294967280\t2147483648\ttrue\n\
         188\t4026531840\tfalse\ttrying to access non-existent bits\n";
    assert_eq!(out, expected);
}

#[test]
fn streams_shrink_and_grow_in_any_wrapping() {
    let out = prints(
        r#"
        local z = require "zlib"
        local text = ("the quick brown fox "):rep(5000)
        for _, bits in ipairs { { 15, 15 }, { 15, nil }, { 31, 31 }, { 31, 47 }, { 31, nil }, { -15, -15 } } do
            for _, level in ipairs { 0, 1, 9 } do
                local small, ended, taken, given = z.deflate(level, bits[1])(text, "finish")
                assert(ended and taken == #text and given == #small)
                local grow, back = z.inflate(bits[2]), {}
                for at = 1, #small, 7 do
                    local piece, done, taken = grow(small:sub(at, at + 6))
                    back[#back + 1] = piece
                    assert(done == (at + 6 >= #small) and taken == math.min(at + 6, #small))
                end
                assert(table.concat(back) == text)
                local whole, done, taken = z.inflate(bits[2])(small .. "after")
                assert(whole == text and done and taken == #small)
            end
        end
        -- What is flushed is all there, and what is not there yet is no error.
        local shrink, grow = z.deflate(), z.inflate()
        for _, flush in ipairs { "sync", "full", "sync" } do assert(grow((shrink("piece", flush))) == "piece") end
        print(grow((shrink())), select(2, grow("")))
        local gz = z.deflate(6, 31)("hello", "finish")
        for i = 1, #gz - 1 do
            local ok, out, ended = pcall(z.inflate(), gz:sub(1, i))
            assert(ok and not ended)
        end
        -- A header with everything that there can be.
        local rich = "\31\139\8\30" .. ("\0"):rep(6) .. "\3\0abc" .. "name\0" .. "words\0" .. "xx" .. gz:sub(11)
        local grow, out = z.inflate(), ""
        for i = 1, #rich do out = out .. grow(rich:sub(i, i)) end
        print(out, z.inflate()(rich))
        for _, bad in ipairs { "junk", gz:sub(1, -5) .. "zzzz", gz:sub(1, 12) .. "\255\255\255" .. gz:sub(16), "\31\139\9" .. gz:sub(4) } do
            local grow = z.inflate()
            local ok, why = pcall(grow, bad)
            assert(not ok and why:find "^InvalidInput", why)
            assert(select(2, pcall(grow, "more")):find "^IllegalState")
        end
        print(z.crc32()("123456789"), z.adler32()("Wikipedia"), pcall(z.deflate, 10))
        local a, b, c = z.adler32(), z.adler32(), z.adler32()
        a("hello ") b("world") print(a(b) == c("hello world"))
        "#,
    );
    assert!(out.starts_with("\ttrue\t39\t15\nhello\thello\ttrue\t43\t5\n"), "{out}");
    let rest: Vec<_> = out.lines().skip(2).collect();
    assert_eq!(
        rest,
        ["3421780262\t300286872\tfalse\tthere is no compression level 10: they are 0 to 9", "true"]
    );
}

#[test]
fn a_bomb_is_an_error() {
    let mut stage = Stage::new();
    stage.limits.memory = 8 << 20;
    let ran = stage.run(
        "local z, bomb = require 'zlib', {}
         local shrink, zeros = z.deflate(9), ('\\0'):rep(1 << 20)
         for i = 1, 64 do bomb[i] = shrink(zeros) end
         bomb = table.concat(bomb) .. shrink()
         print(#bomb < 100000, pcall(z.inflate(), bomb))",
    );
    assert_eq!(ran.out, "true\tfalse\tOutOfMemory: not enough memory\n", "{}", ran.err);
}

#[test]
fn files_are_walked_as_with_luafilesystem() {
    let out = prints(
        r#"
        local lfs = require "lfs"
        print(lfs.currentdir(), lfs.chdir "tmp", lfs.currentdir(), lfs.mkdir "d", lfs.mkdir "d")
        print(lfs.mkdir "d") print(lfs.rmdir "none") print(lfs.mkdir "d/e/f")
        print(lfs.attributes("d", "mode"), lfs.attributes("d").permissions, lfs.attributes "none")
        print(lfs.link("d", "l", true), lfs.symlinkattributes("l", "mode"), lfs.symlinkattributes("l").target, lfs.attributes("l", "mode"))
        print(lfs.touch("d", 5, 7), lfs.attributes("d", "access"), lfs.attributes("d", "modification"))
        local names = {} for name in lfs.dir "." do names[#names + 1] = name end table.sort(names) print(table.concat(names, " "))
        print(pcall(lfs.dir, "none")) print(pcall(lfs.attributes, "d", "colour")) print(pcall(lfs.attributes))
        local lock = lfs.lock_dir "." print(lfs.lock_dir ".") lock:free() print(lfs.symlinkattributes("lockfile.lfs", "mode") == nil)
        print(lfs.chdir "none") print(lfs.chdir "../..", lfs.currentdir(), lfs.attributes("/../tmp/./d/", "mode"))
        print(lfs.rmdir "/tmp", lfs.rmdir "/tmp/l", lfs.rmdir "/tmp/d", lfs.attributes "/tmp/d" == nil)
        local next, dir = lfs.dir "/" dir:next() dir:close() print((pcall(dir.next, dir)), (pcall(next, dir)))
        do local _, d <close> = lfs.dir "/" end
        "#,
    );
    let expected = "/\ttrue\t/tmp\ttrue\tnil\tFile exists\t17\n\
         nil\tFile exists\t17\nnil\tNo such file or directory\t2\nnil\tNo such file or directory\t2\n\
         directory\trwxrwxrwx\tnil\tcannot obtain information from file 'none': No such file or directory\t2\n\
         true\tlink\td\tdirectory\ntrue\t5\t7\n. .. d l\n\
         false\tcannot open none: No such file or directory\n\
         false\tinvalid attribute name 'colour'\n\
         false\tbad argument #1 to '?' (string expected, got no value)\n\
         nil\tFile exists\ntrue\n\
         nil\tUnable to change working directory to 'none'\nNo such file or directory\n\n\
         true\t/\tdirectory\n\
         nil\tnil\ttrue\ttrue\nfalse\tfalse\n";
    assert_eq!(out, expected);
}

#[test]
fn compat51_brings_back_what_can_be_had() {
    let out = prints(
        r#"
        print(unpack, loadstring, table.getn)
        require "compat51"
        print(unpack { 1, 2 }, loadstring "return 3"(), math.pow(2, 10), table.getn { 1, 2 }, table.maxn { [7] = 1 }, setfenv, getfenv)
        print(math.frexp(10), math.ldexp(0.625, 4), math.mod(7, 3), string.gfind == string.gmatch)
        "#,
    );
    assert!(out.starts_with("nil\tnil\tnil\n1\t3\t1024"), "{out}");
    assert!(out.contains("\t2\t7\tnil\tnil\n0.625\t10"), "{out}");
}
