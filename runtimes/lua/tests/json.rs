//! `json`: what is text and what is not, there and back.

use crate::world::{Stage, prints};
use lunette_hostcalls::Ending;

#[test]
fn values_are_text_and_back() {
    let out = prints(
        r#"
        local json = require "json"
        local function same(text, again) print(json.encode(assert(json.decode(text))) == (again or text) or json.encode(json.decode(text))) end
        same '[1,2.5,-3,"x",true,false,null]'
        same '[9007199254740993,-9223372036854775808,9223372036854775807]'
        same('[9223372036854775808]', '[9.223372036854776e18]')
        same('[1e300,0.1,1e-7,1.0,-0]', '[1e300,0.1,1e-7,1.0,-0.0]')
        same('{"a":[]}')
        same('{}')
        same(' [ [ ] , { } , "\\u00e9\\ud83d\\ude00\\n\\/" ] ', '[[],{},"é😀\\n/"]')
        same '"\\u0000\\u001f"'
        print(math.type(json.decode "1"), math.type(json.decode "1.0"), math.type(json.decode "1e2"))
        print(json.decode "null" == json.null, json.encode(nil), json.encode(json.null), json.encode {}, json.encode(json.array {}), json.encode({}, { empty_array = true }))
        print(json.encode({ a = { 1, { b = 2 } } }, { pretty = true }))
        local t = {} for i = 10, 1, -1 do t[i] = i end
        print(json.encode(t))
        print(json.decode('{"a":1,"a":2,"":3}').a, json.decode('{"":3}')[""])
        "#,
    );
    let expected = "true\ntrue\ntrue\ntrue\ntrue\ntrue\ntrue\ntrue\ninteger\tfloat\tfloat\n\
         true\tnull\tnull\t{}\t[]\t[]\n\
         {\n  \"a\": [\n    1,\n    {\n      \"b\": 2\n    }\n  ]\n}\n\
         [1,2,3,4,5,6,7,8,9,10]\n2\t3\n";
    assert_eq!(out, expected);
}

/// More than are put into a table at once, with tables between them.
#[test]
fn all_of_a_large_table_is_there() {
    let out = prints(
        r#"
        local json = require "json"
        local list, map = {}, {}
        for i = 1, 1000 do
            list[i] = i % 100 == 0 and { i } or "n\n" .. i
            map["k\"" .. i] = i % 70 == 0 and { i = i } or i
        end
        local l, m = json.decode(json.encode(list)), json.decode(json.encode(map))
        for i = 1, 1000 do
            assert(i % 100 == 0 and l[i][1] == i or l[i] == list[i])
            assert(i % 70 == 0 and m["k\"" .. i].i == i or m["k\"" .. i] == i)
        end
        -- Of two members of one name, the later.
        print(#l, json.encode(json.decode '{"a":1,"a":{}}'), json.encode(json.decode '{"a":{},"a":1}'), json.encode(json.decode '{"a":{"a":2},"a":{"b":3}}'))
        "#,
    );
    assert_eq!(out, "1000\t{\"a\":{}}\t{\"a\":1}\t{\"a\":{\"b\":3}}\n");
}

/// What no reader of RFC 8259 takes (and what its readers take for nothing).
#[test]
fn what_is_no_json_is_refused_with_its_place() {
    for (text, at, words) in [
        ("", 1, "Expected value but found the end"),
        ("[1,]", 4, "Expected value but found ']'"),
        ("[1 2]", 4, "Expected comma or array end but found a number"),
        ("{\"a\"}", 5, "Expected colon but found '}'"),
        ("{\"a\":1,}", 8, "Expected object key string but found '}'"),
        ("{a:1}", 2, "Expected object key string but found invalid token"),
        ("01", 1, "invalid number"),
        ("1.", 1, "invalid number"),
        (".5", 1, "invalid token"),
        ("1e", 1, "invalid number"),
        ("1e+", 1, "invalid number"),
        ("+1", 1, "invalid token"),
        ("-", 1, "invalid number"),
        ("0x10", 1, "invalid number"),
        ("NaN", 1, "invalid token"),
        ("-Infinity", 1, "invalid number"),
        ("nul", 1, "invalid token"),
        ("\"\\ud800\"", 2, "invalid unicode escape code"),
        ("\"\\udc00\"", 2, "invalid unicode escape code"),
        ("\"\\x\"", 2, "invalid escape code"),
        ("\"\t\"", 2, "control character in string"),
        ("\"\0\"", 2, "control character in string"),
        ("\"abc", 5, "unexpected end of string"),
        ("1 x", 3, "Expected the end but found invalid token"),
        ("1\0", 2, "Expected the end but found invalid token"),
        ("[\u{feff}]", 2, "invalid token"),
    ] {
        let literal: String = text.bytes().map(|byte| format!("\\x{byte:02x}")).collect();
        let out = prints(&format!("local v, e, at = require 'json'.decode '{literal}' print(v, e, at)"));
        assert!(out.contains(words) && out.ends_with(&format!("character {at}\t{at}\n")), "{text:?}: {out}");
    }
    let out = prints(r#"print(select(2, require "json".decode '["a\xff"]'))"#);
    assert_eq!(out, "invalid UTF-8 at character 4\t4\n");
}

#[test]
fn depth_is_bounded_both_ways() {
    let out = prints(
        r#"
        local json = require "json"
        local function deep(n) return ("["):rep(n) .. ("]"):rep(n) end
        print(#json.encode(json.decode(deep(128))), json.decode(deep(129)))
        print(json.decode(deep(3), { max_depth = 2 }))
        print(#json.encode(json.decode(deep(1500), { max_depth = 2000 }), { max_depth = 1600 }))
        -- Nothing on the stack for it.
        print(json.decode(("["):rep(200000), { max_depth = 1 << 40 }))
        local function fails(...) print(tostring(select(2, pcall(json.encode, ...))):match "excessive nesting %(%d+%)") end
        fails(json.decode(deep(5000), { max_depth = 9999 }), { max_depth = 9999 })
        local loop = {} loop[1] = loop
        fails(loop)
        "#,
    );
    let expected = "256\tnil\tFound too many nested data structures (129) at character 129\t129\n\
         nil\tFound too many nested data structures (3) at character 3\t3\n3000\n\
         nil\tExpected value but found the end at character 200001\t200001\n\
         excessive nesting (2001)\nexcessive nesting (129)\n";
    assert_eq!(out, expected);
}

#[test]
fn what_can_not_be_text_is_raised_with_its_place() {
    for (value, words) in [
        ("{ a = { 1, { b = print } } }", "Cannot serialise function: type not supported (at .a[2].b)"),
        ("0/0", "must not be NaN or Inf"),
        ("{ 1/0 }", "must not be NaN or Inf (at [1])"),
        ("{ 1, nil, 3 }", "Cannot serialise sparse array: 2 of 3 elements are there"),
        ("{ [5] = 1 }", "sparse array: 1 of 5"),
        ("{ 1, a = 2 }", "it has both indexes and names"),
        ("{ a = 2, [7] = 1 }", "it has both indexes and names"),
        ("{ [1.5] = 1 }", "table key must be a string"),
        ("{ [true] = 1 }", "table key must be a string"),
        ("json.array { a = 1 }", "it has a key that is no index"),
        ("'a\\xff'", "invalid UTF-8 at byte 2"),
        ("coroutine.create(print)", "Cannot serialise thread: type not supported"),
    ] {
        let ran = Stage::new().run(&format!("json = require 'json' json.encode({value})"));
        assert_eq!(ran.ending, Ending::Exited(1), "{value}");
        assert!(ran.err.contains(words), "{value}: {}", ran.err);
    }
    let ran = Stage::new().run("require 'json'.encode({}, { prety = true })");
    assert!(ran.err.contains("there is no option prety"), "{}", ran.err);
}

/// A text and a number of noise, against a reader that others wrote.
#[test]
fn what_others_read_is_read_alike() {
    let mut state = 42_u64;
    let mut noise = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let pieces = [
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "\"a\"",
        "\"b\\n\"",
        "1",
        "-0.5",
        "1e5",
        "true",
        "null",
        " ",
        "\"\\u00e9\"",
        "0",
        ".",
        "e",
    ];
    let texts: Vec<String> = (0..4000)
        .map(|round| {
            if round % 2 == 0 {
                return (0..noise(8)).map(|_| pieces[noise(pieces.len())]).collect();
            }
            // A good one, with one piece of it changed.
            let mut good: Vec<_> = "[ { \"a\" : 1 , \"b\" : [ true , null ] } , -0.5 ]".split(' ').collect();
            good[noise(17)] = pieces[noise(pieces.len())];
            good.concat()
        })
        .collect();
    let list: String = texts.iter().map(|text| format!("[==[{text}]==],")).collect();
    let script = format!(
        "local json = require 'json' local out = {{}}
         for i, text in ipairs {{ {list} }} do
             local v, e = json.decode(text)
             out[i] = e and 'no' or json.encode(v)
         end
         print(table.concat(out, '\\n'))"
    );
    let out = prints(&script);
    let mut good = 0;
    for (text, line) in texts.iter().zip(out.lines()) {
        match serde_json::from_str::<serde_json::Value>(text) {
            Err(_) => assert_eq!(line, "no", "{text}"),
            Ok(expected) => {
                let found: serde_json::Value =
                    serde_json::from_str(line).unwrap_or_else(|_| panic!("{text}: {line}"));
                assert_eq!(plain(&found), plain(&expected), "{text}");
                good += 1;
            }
        }
    }
    assert!(good > 100, "only {good} were JSON");
}

/// Numbers as floats: whether `1e5` is an integer is nobody's business.
fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Number(number) => format!("{:?}", number.as_f64()),
        serde_json::Value::Array(list) => format!("{:?}", list.iter().map(plain).collect::<Vec<_>>()),
        serde_json::Value::Object(map) => {
            let mut pairs: Vec<_> = map.iter().map(|(name, value)| (name, plain(value))).collect();
            pairs.sort();
            format!("{pairs:?}")
        }
        other => other.to_string(),
    }
}
