//! `crypto`, `base64`, `hex` and `url`, against the vectors of their standards.

use crate::world::{Stage, prints};

#[test]
fn hashes_are_those_of_their_standards() {
    let out = prints(
        r#"
        local c = require "crypto"
        for _, a in ipairs { "md5", "sha1", "sha256", "sha384", "sha512" } do print(c.hash(a, "abc", "hex")) end
        print(c.hash("sha1", "", "base64"), c.hash("sha256", "abc") == require "hex".decode(c.hash("sha256", "abc", "hex")))
        -- RFC 2202 and 4231, case 2.
        print(c.hmac("sha1", "Jefe", "what do ya want for nothing?", "hex"))
        print(c.hmac("sha256", "Jefe", "what do ya want for nothing?", "hex"))
        -- RFC 6070, and RFC 7914's for SHA-256.
        print(c.pbkdf2("sha1", "password", "salt", 4096, 20, "hex"))
        print(c.pbkdf2("sha1", "passwordPASSWORDpassword", "saltSALTsaltSALTsaltSALTsaltSALTsalt", 4096, 25, "hex"))
        print(c.pbkdf2("sha256", "passwd", "salt", 1, 64, "hex"))
        print(c.equal("abc", "abc"), c.equal("abc", "abd"), c.equal("abc", "ab"))
        "#,
    );
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(
        lines,
        [
            "900150983cd24fb0d6963f7d28e17f72",
            "a9993e364706816aba3e25717850c26c9cd0d89d",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
             2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            "2jmj7l5rSw0yVb/vlWAYkK/YBwk=\ttrue",
            "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            "4b007901b765489abead49d926f721d065a429c1",
            "3d2eec4fe41c849b80c8d83662c0e44a8b291a964cf2f07038",
            "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc\
             49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783",
            "true\tfalse\tfalse",
        ]
    );
}

#[test]
fn what_is_sealed_opens_with_its_key_alone() {
    let out = prints(
        r#"
        local c = require "crypto"
        for name, length in pairs { ["aes-128-gcm"] = 16, ["aes-256-gcm"] = 32, ["chacha20-poly1305"] = 32 } do
            local key = c.random(length)
            local sealed = c.aead.seal(name, key, "hello", "extra")
            assert(#sealed == 12 + 5 + 16 and sealed ~= c.aead.seal(name, key, "hello", "extra"))
            assert(c.aead.open(name, key, sealed, "extra") == "hello")
            for _, broken in ipairs { sealed .. "x", sealed:sub(2), "", "x" .. sealed:sub(2) } do
                local text, why = c.aead.open(name, key, broken, "extra")
                assert(text == nil and why:find "changed")
            end
            assert(not c.aead.open(name, key, sealed, "other") and not c.aead.open(name, c.random(length), sealed, "extra"))
            assert(c.aead.open(name, key, (c.aead.seal(name, key, ""))) == "")
        end
        -- RFC 8032, test 2.
        local unhex = require "hex".decode
        local private = unhex "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"
        local public = unhex "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
        local signature = c.ed25519.sign(private, "\x72")
        print(require "hex".encode(signature))
        print(c.ed25519.verify(public, "\x72", signature), c.ed25519.verify(public, "\x73", signature), c.ed25519.verify("x", "", ""))
        local a, b = c.ed25519.keygen()
        print(#a, #b, c.ed25519.verify(b, "m", c.ed25519.sign(a, "m")))
        print(#c.random(0), #c.random(33), c.random(16) ~= c.random(16))
        local u4, u7 = c.uuid4(), c.uuid7()
        print(u4:match "^%x%x%x%x%x%x%x%x%-%x%x%x%x%-4%x%x%x%-[89ab]%x%x%x%-%x+$" == u4, #u4, u7:sub(15, 15), c.uuid4() ~= u4)
        "#,
    );
    assert_eq!(
        out,
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
         085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00\n\
         true\tfalse\tfalse\n32\t32\ttrue\n0\t33\ttrue\ntrue\t36\t7\ttrue\n"
    );
}

#[test]
fn a_token_is_believed_only_as_the_caller_says() {
    let stage = Stage::new();
    stage.world.clock.set_wall(Some(1_000_000_000_000_000_000));
    let ran = stage.run(
        r#"
        local c, b = require "crypto", require "base64"
        -- RFC 7515, A.1.
        local key = b.decode_url "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
        local token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
        local claims = assert(c.jwt.verify(token, key))
        print(claims.iss, claims["http://example.com/is_root"])
        local private, public = c.ed25519.keygen()
        local signed = c.jwt.sign({ sub = "me", nbf = 1000000000, exp = 1000000001 }, private, "EdDSA")
        print(c.jwt.verify(signed, public, "EdDSA").sub)
        for _, case in ipairs {
            { signed, public, "HS256" }, { token, key, "EdDSA" }, { token, "other key" }, { token:sub(1, -2) .. "A", key },
            { "a.b", key }, { "", key }, { "a.b.c", key },
            { b.encode_url '{"alg":"none"}' .. "." .. b.encode_url "{}" .. ".", key },
            { c.jwt.sign({ exp = 1000000000 }, "k"), "k" }, { c.jwt.sign({ nbf = 1000000001 }, "k"), "k" },
            { c.jwt.sign({ exp = "soon" }, "k"), "k" },
        } do print(c.jwt.verify(table.unpack(case))) end
        "#,
    );
    let expected = "joe\ttrue\nme\n\
         nil\ttoken: it is signed by another algorithm\n\
         nil\ttoken: it is signed by another algorithm\n\
         nil\ttoken: its signature is wrong\n\
         nil\ttoken: its signature is wrong\n\
         nil\ttoken: it is none\n\
         nil\ttoken: it is none\n\
         nil\ttoken: it is none\n\
         nil\ttoken: it is signed by another algorithm\n\
         nil\ttoken: it has expired\n\
         nil\ttoken: it is not valid yet\n\
         nil\ttoken: a time in it is no number\n";
    assert_eq!(ran.out, expected, "{}", ran.err);
}

#[test]
fn misuse_is_raised_and_says_what_there_is() {
    for (call, words) in [
        (
            "c.hash('sha3', '')",
            "crypto.hash: there is no algorithm sha3; there are: md5, sha1, sha256, sha384, sha512",
        ),
        ("c.hmac('md5', '', '')", "crypto.hmac: there is no algorithm md5"),
        ("c.hash('sha1', '', 'octal')", "there is no encoding octal; there are: raw, hex, base64, base64url"),
        ("c.aead.seal('aes-128-gcm', 'short', '')", "a key of aes-128-gcm has 16 bytes, not 5"),
        ("c.aead.seal('des', 'short', '')", "there is no algorithm des"),
        ("c.ed25519.sign('short', '')", "a private key has 32 bytes, not 5"),
        ("c.random(1 << 40)", "are more than 1048576"),
        ("c.pbkdf2('sha1', '', '', 0, 20)", "at least one iteration"),
        ("c.jwt.sign({}, 'k', 'none')", "there is no algorithm none; there are: HS256, EdDSA"),
    ] {
        let ran = Stage::new().run(&format!("c = require 'crypto' {call}"));
        assert!(ran.err.contains(words), "{call}: {}", ran.err);
    }
}

#[test]
fn bytes_are_text_and_back() {
    let out = prints(
        r#"
        local b, h = require "base64", require "hex"
        for _, s in ipairs { "", "f", "fo", "foo", "foob", "\xff\xfe\xfd" } do
            assert(b.decode(b.encode(s)) == s and b.decode_url(b.encode_url(s)) == s and h.decode(h.encode(s)) == s)
            io = b.encode(s) .. " " .. b.encode_url(s) .. " " .. h.encode(s)
            print(io)
        end
        print(b.decode "Zg" == "f", b.decode "Zg==" == "f", h.decode "DEad" == "\xde\xad")
        print(b.decode "Zh==") print(b.decode "Z*==") print(b.decode "_w==") print(h.decode "abc") print(h.decode "zz")
        "#,
    );
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(
        lines[..6],
        [
            "  ",
            "Zg== Zg 66",
            "Zm8= Zm8 666f",
            "Zm9v Zm9v 666f6f",
            "Zm9vYg== Zm9vYg 666f6f62",
            "//79 __79 fffefd"
        ]
    );
    assert_eq!(lines[6], "true\ttrue\ttrue");
    assert!(lines[7..10].iter().all(|line| line.starts_with("nil\tnot base64: ")), "{out}");
    assert_eq!(
        lines[10..],
        ["nil\tnot hexadecimal: no digit at character 4", "nil\tnot hexadecimal: no digit at character 1"]
    );
}

#[test]
fn urls_come_apart_and_together() {
    let out = prints(
        r#"
        local url = require "url"
        for _, text in ipairs {
            "http://user:p%40ss@Example.com:8080/a/b%20c?x=1&y#frag", "https://[2001:db8::1]:443", "mailto:a@b.c", "/just/a/path?q",
            "//host/x", "file:///etc/hosts", "http://a.b/?", "",
        } do
            local u = assert(url.parse(text))
            local out = {}
            for _, part in ipairs { "scheme", "user", "password", "host", "port", "path", "query", "fragment" } do
                out[#out + 1] = tostring(u[part])
            end
            print(table.concat(out, " "), url.build(u) == text or url.build(u))
        end
        for _, text in ipairs { "http://a b/", "http://[::1", "http://[x]/", "http://a:99999/", "http://a:+80/", "http://a/\r\nx", "http://a:8:0/", "http://u%@h/" } do
            print(url.parse(text))
        end
        print(url.build { scheme = "http", host = "h", path = "x y", query = { b = 2, a = { "1", "&" }, c = true, d = false } })
        print(url.encode "a b/ü~", url.decode "a%20b%2f%C3%BC", url.decode "50%")
        local args = url.decode_args "a=1&b=x+y%26&a=2&c&&=z"
        print(table.concat(args.a, ","), args.b, args.c == "", args[""], url.encode_args(args))
        print(url.decode_args("a&b&c", 2)) print(url.decode_args "a=%")
        "#,
    );
    let expected = "http user p@ss example.com 8080 /a/b%20c x=1&y frag\thttp://user:p%40ss@example.com:8080/a/b%20c?x=1&y#frag\n\
         https nil nil 2001:db8::1 443  nil nil\ttrue\n\
         mailto nil nil nil nil a@b.c nil nil\ttrue\n\
         nil nil nil nil nil /just/a/path q nil\ttrue\n\
         nil nil nil host nil /x nil nil\ttrue\n\
         file nil nil  nil /etc/hosts nil nil\ttrue\n\
         http nil nil a.b nil /  nil\ttrue\n\
         nil nil nil nil nil  nil nil\ttrue\n\
         nil\tcharacter 9 may not be in a URL as it is\n\
         nil\ta [ without its ]\n\
         nil\twhat is in [] is no IPv6 address\n\
         nil\t99999 is no port\n\
         nil\t+80 is no port\n\
         nil\tcharacter 10 may not be in a URL as it is\n\
         nil\t8:0 is no port\n\
         nil\ta % without two hexadecimal digits\n\
         http://h/x%20y?a=1&a=%26&b=2&c\n\
         a%20b%2F%C3%BC~\ta b/ü\tnil\ta % without two hexadecimal digits\n\
         1,2\tx y&\ttrue\tz\t=z&a=1&a=2&b=x%20y%26&c=\n\
         nil\tmore than 2 arguments\n\
         nil\ta % without two hexadecimal digits\n";
    assert_eq!(out, expected);
    for (parts, words) in [
        ("scheme = 'a b', host = 'x'", "is no scheme"),
        ("host = 'x/y'", "is no host"),
        ("host = 'x\\r\\ny'", "is no host"),
    ] {
        let ran = Stage::new().run(&format!("require 'url'.build {{ {parts} }}"));
        assert!(ran.err.contains(words), "{parts}: {}", ran.err);
    }
}
