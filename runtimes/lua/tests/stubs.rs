//! The annotations for editors (`stubs`) say what there is, and nothing else.

use std::{collections::BTreeSet, fs, path::Path};

use crate::world::{Stage, prints};
use lunette_hostcalls::Ending;

/// Modules that editors know from elsewhere, by the names of those that they stand in for.
const OTHERS: [&str; 22] = [
    "bit",
    "bit32",
    "cjson",
    "cjson.safe",
    "compat51",
    "lfs",
    "lpeg",
    "ltn12",
    "mime",
    "mime.core",
    "re",
    "socket",
    "socket.core",
    "socket.ftp",
    "socket.headers",
    "socket.http",
    "socket.smtp",
    "socket.tp",
    "socket.url",
    "ssl",
    "ssl.https",
    "zlib",
];

/// How a script gets an object of a class.
const OBJECTS: [(&str, &str); 10] = [
    ("task.Task", "require 'task'.spawn(function() end)"),
    ("task.Timer", "require 'task'.after(0, function() end)"),
    ("task.Channel", "require 'task'.channel()"),
    ("net.Socket", "require 'net'.listen('tcp', '127.0.0.1:0')"),
    ("net.Udp", "require 'net'.udp('127.0.0.1:0')"),
    ("metrics.Counter", "require 'metrics'.counter('a', 'a')"),
    ("metrics.Gauge", "require 'metrics'.gauge('b', 'b')"),
    ("metrics.Histogram", "require 'metrics'.histogram('c', 'c')"),
    ("kv.Store", "require 'kv'.open 'store'"),
    ("http.Router", "require 'http'.router()"),
];

fn stubs() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("stubs");
    let mut stubs: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    stubs.sort();
    stubs
}

#[test]
fn every_module_has_one() {
    let out = prints("for name in pairs(package.preload) do print(name) end");
    let built_in: BTreeSet<_> =
        out.lines().filter(|name| !OTHERS.contains(name)).map(str::to_owned).collect();
    let stubs: BTreeSet<_> = stubs().into_iter().map(|(name, _)| name).collect();
    assert_eq!(stubs, built_in);
}

#[test]
fn they_have_the_names_that_the_modules_have() {
    for (name, text) in stubs() {
        assert!(text.starts_with(&format!("---@meta {name}\n")), "{name}");
        let stage = Stage::new();
        stage.file(&format!("/stubs/{name}.lua"), &text);
        let ran = stage.run(&format!(
            "local function compare(where, stub, real)
               for key, value in pairs(real) do
                 if rawget(stub, key) == nil and type(value) ~= 'userdata' then print(where .. key .. ' is not in the stub') end
                 if type(value) == 'table' and type(stub[key]) == 'table' and next(stub[key]) then
                   compare(where .. key .. '.', stub[key], value)
                 end
               end
               for key in pairs(stub) do
                 if real[key] == nil then print(where .. key .. ' is in the stub only') end
               end
             end
             local stub = assert(loadfile '/stubs/{name}.lua')()
             compare('{name}.', stub, require '{name}')"
        ));
        assert_eq!((ran.ending, &*ran.out), (Ending::Exited(0), ""), "{}", ran.err);
    }
}

#[test]
fn objects_have_the_methods_that_their_classes_have() {
    for (class, made) in OBJECTS {
        let module = class.split('.').next().unwrap();
        let Some((_, text)) = stubs().into_iter().find(|(name, _)| name == module) else { panic!("{class}") };
        let (_, after) =
            text.split_once(&format!("---@class {class}\n")).unwrap_or_else(|| panic!("{class}"));
        let local = after.strip_prefix("local ").unwrap().split_once(' ').unwrap().0;
        let prefix = format!("function {local}:");
        let methods = text.lines().filter_map(|line| line.strip_prefix(&prefix)?.split('(').next());
        let methods: Vec<_> = methods.map(|name| format!("'{name}'")).collect();
        assert!(!methods.is_empty(), "{class}");
        let mut stage = Stage::new();
        stage.grants.listen = vec!["127.0.0.1:0".parse().unwrap(), "127.0.0.1:0/udp".parse().unwrap()];
        let ran = stage.run(&format!(
            "local object = assert({made})
             for _, name in ipairs {{ {} }} do
               local ok, method = pcall(function() return object[name] end)
               if not ok or type(method) ~= 'function' then print('{class} has no ' .. name) end
             end
             if type(object) == 'userdata' and object.close then object:close() end",
            methods.join(", ")
        ));
        assert_eq!((ran.ending, &*ran.out), (Ending::Exited(0), ""), "{class}: {}", ran.err);
    }
}
