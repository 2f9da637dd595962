//! Lua scripts before they run: which files belong to one ([`files`]), and what is wrong with it ([`Findings`]).
//!
//! Promises: Lua's own compiler has the word on what is Lua; a module is missing only if the script is certain to
//! require it and nothing in the bundle can provide it; a global name is unknown only if nothing in the bundle asks whether
//! it is there, or gives it a value. Does not: run anything, or follow names that are made at run time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::problem::Problem;

mod lexer;
pub mod names;

use names::Names;

/// Where modules are looked for, as paths in a bundle: `package.path`.
pub const PATH: [&str; 4] =
    ["?.lua", "?/init.lua", "lua_modules/share/lua/5.4/?.lua", "lua_modules/share/lua/5.4/?/init.lua"];
/// Where LuaRocks puts modules in C.
const C_PATH: [&str; 2] = ["lua_modules/lib/lua/5.4/?.so", "?.so"];
/// What others wrote is here.
const VENDORED: &str = "lua_modules/";

/// Modules known to be written in C, or in LuaJIT's dialect, for which there is nothing here.
const NATIVE: [&str; 22] = [
    "ffi",
    "jit",
    "ngx",
    "posix",
    "lsqlite3",
    "luasql",
    "openssl",
    "lyaml",
    "yaml",
    "struct",
    "rex_pcre",
    "rex_pcre2",
    "rex_posix",
    "cqueues",
    "luv",
    "uv",
    "term",
    "system",
    "cmsgpack",
    "lxp",
    "curl",
    "lua-http",
];

/// Is it started as a script?
pub fn is_script(main: &str) -> bool {
    main.ends_with(".lua")
}

/// Finds a file by its path in the bundle.
pub type Find<'f> = &'f dyn Fn(&str) -> Option<Vec<u8>>;

/// What is wrong with a script.
#[derive(Debug, Default)]
pub struct Findings {
    /// It can't run.
    pub errors: Vec<Problem>,
    /// It is not as it should be.
    pub warnings: Vec<Problem>,
    /// The files that it may load, itself first.
    pub files: Vec<String>,
    /// The files that it requires and that are in C.
    pub native: BTreeSet<String>,
    /// What it requires that is built in.
    pub built_in: BTreeSet<String>,
}

/// One file of a script.
struct File {
    path: String,
    names: Names,
}

/// The bundle's paths of all the files that a script requires by name, itself first; those in C, too, that the reason why
/// they can't be loaded travels along. What can't be read as Lua requires nothing.
pub fn files(main: &str, find: Find<'_>) -> Vec<String> {
    let found = look(main, true, find);
    found.files.into_iter().chain(found.native).collect()
}

/// Looks at a script and all that it requires. `bytecode`: it may be some.
pub fn look(main: &str, bytecode: bool, find: Find<'_>) -> Findings {
    let mut found = Findings::default();
    let mut files = Vec::new();
    let mut missing = Vec::new();
    // Whether a file is certain to be loaded; one that is reached twice is if it was the first time, breadth first.
    let mut queue = VecDeque::from([(main.to_owned(), true)]);
    let mut seen = BTreeSet::from([main.to_owned()]);
    while let Some((path, certain)) = queue.pop_front() {
        let Some(bytes) = find(&path) else { continue };
        found.files.push(path.clone());
        if bytecode && bytes.starts_with(lunette_lua::SIGNATURE) {
            continue;
        }
        if let Err(problem) = compiles(&path, &bytes) {
            if certain || !path.starts_with(VENDORED) {
                found.errors.push(problem);
            } else {
                found.warnings.push(problem);
            }
            continue;
        }
        let names = names::read(&String::from_utf8_lossy(&bytes));
        for require in &names.requires {
            if lunette_lua::built_in().contains(&&*require.name) {
                // What is built in comes before files of the same name.
                found.built_in.insert(require.name.clone());
                continue;
            }
            match PATH.iter().map(|place| fill(place, &require.name)).find(|path| find(path).is_some()) {
                Some(path) if seen.insert(path.clone()) => {
                    queue.push_back((path, certain && require.certain));
                }
                Some(_) => {}
                None => missing.push((path.clone(), require.clone(), certain)),
            }
        }
        files.push(File { path, names });
    }
    let provided: BTreeSet<&str> =
        files.iter().flat_map(|file| &file.names.provided).map(String::as_str).collect();
    let searches = files.iter().any(|file| file.names.searches);
    let standard = lunette_lua::standard();
    for (path, require, certain) in missing {
        let native = C_PATH.iter().map(|place| fill(place, &require.name)).find(|path| find(path).is_some());
        found.native.extend(native.clone());
        let known = standard.contains(&require.name) || provided.contains(&*require.name);
        if !known && !searches {
            let problem = no_module(&path, &require, native);
            match certain && require.certain {
                true => found.errors.push(problem),
                false if path.starts_with(VENDORED) => {}
                false => found.warnings.push(problem),
            }
        }
    }
    found.warnings.extend(unknown(&files, &standard));
    found
}

/// The file of a module: `a.b` and `?.lua` make `a/b.lua`.
fn fill(place: &str, module: &str) -> String {
    place.replace('?', &module.replace('.', "/"))
}

/// Refuses what Lua's compiler refuses.
pub fn compiles(path: &str, bytes: &[u8]) -> Result<(), Problem> {
    if bytes.starts_with(lunette_lua::SIGNATURE) {
        let what = format!("{path} is Lua bytecode, which nobody can check");
        let help = "give the script's text; or, if you trust the bytecode's maker, set `bytecode = true` in [lua] and run \
                    it with --allow-bytecode";
        return Err(Problem::new(what, help));
    }
    let Err(fault) = lunette_lua::examine(bytes) else { return Ok(()) };
    let text = String::from_utf8_lossy(bytes);
    let line = text.lines().nth(fault.line - 1).unwrap_or_default();
    let problem = Problem::new(&fault.what, help(&fault.what)).at(format_args!("{path}:{}", fault.line));
    Err(problem.showing(fault.line, line, near(line, &fault.what)))
}

fn help(fault: &str) -> &'static str {
    if fault.contains("near <eof>") {
        "something that was begun has no `end`"
    } else {
        "this is not Lua 5.4: mend it"
    }
}

/// Where in the line the word is that the compiler stumbled over, if there is only one such.
fn near(line: &str, fault: &str) -> Option<usize> {
    let (_, word) = fault.rsplit_once(" near '")?;
    let word = word.strip_suffix('\'')?;
    let mut places = line.match_indices(word).map(|(at, _)| at);
    let at = places.next()?;
    places.next().is_none().then_some(at)
}

fn no_module(path: &str, require: &names::Require, native: Option<String>) -> Problem {
    let name = &require.name;
    let place = format!("{path}:{}", require.line);
    let top = name.split('.').next().unwrap_or(name);
    let built_in = lunette_lua::built_in();
    let list =
        if built_in.is_empty() { String::new() } else { format!("; built in are: {}", built_in.join(", ")) };
    let problem = match native {
        Some(file) => Problem::new(
            format!("the module {name:?} is in C ({file}), and a script here can't load native code"),
            format!("use a module in Lua{list}"),
        ),
        None if NATIVE.contains(&top) => Problem::new(
            format!("the module {name:?} is in C or needs LuaJIT, and a script here can't load native code"),
            format!("use a module in Lua{list}"),
        ),
        None => Problem::new(
            format!("there is no module {name:?}"),
            format!(
                "put it beside the script as {} or into lua_modules (`luarocks --lua-version 5.4 --tree lua_modules install \
                 …`){list}",
                fill(PATH[0], name)
            ),
        ),
    };
    problem.at(place)
}

/// Global names that nothing gives a value, and those that get one in a function only, as a forgotten `local` does.
fn unknown(files: &[File], standard: &[String]) -> Vec<Problem> {
    if files.iter().any(|file| file.names.dynamic) {
        return Vec::new();
    }
    let mut defined: BTreeSet<&str> = standard.iter().map(String::as_str).collect();
    defined.extend(["arg", "_ENV"]);
    defined.extend(files.iter().flat_map(|file| &file.names.defined).map(String::as_str));
    let assigned: BTreeSet<&str> =
        files.iter().flat_map(|file| &file.names.assigned).map(|assigned| &*assigned.name).collect();
    let mut problems = BTreeMap::new();
    for file in files.iter().filter(|file| !file.path.starts_with(VENDORED)) {
        let place = |line: usize| format!("{}:{line}", file.path);
        for read in file.names.reads.iter().filter(|read| !defined.contains(&*read.name)) {
            if !assigned.contains(&*read.name) {
                let problem = Problem::new(format!("nothing defines the global `{}`", read.name), "")
                    .at(place(read.line));
                problems.insert((&file.path, read.line, &read.name), problem);
            }
        }
        for assigned in file.names.assigned.iter().filter(|assigned| !defined.contains(&*assigned.name)) {
            let what =
                format!("the global `{}` is set in a function only: is a `local` missing?", assigned.name);
            problems.insert(
                (&file.path, assigned.line, &assigned.name),
                Problem::new(what, "").at(place(assigned.line)),
            );
        }
    }
    problems.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look_at(files: &[(&str, &str)]) -> Findings {
        let find = |path: &str| {
            files.iter().find(|(known, _)| *known == path).map(|(_, text)| text.as_bytes().to_vec())
        };
        look(files[0].0, false, &find)
    }

    fn all(problems: &[Problem]) -> String {
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_is_required_is_found_as_lua_finds_it() {
        let found = look_at(&[
            ("app.lua", "require 'a.b' require 'c' pcall(require, 'd') require 'string'"),
            ("a/b.lua", "require 'e'"),
            ("c/init.lua", "return require 'app'"),
            ("lua_modules/share/lua/5.4/d.lua", ""),
            ("lua_modules/share/lua/5.4/e/init.lua", "require 'a.b'"),
            ("other.lua", "?"),
        ]);
        assert_eq!(all(&found.errors), "");
        assert_eq!(
            found.files.join(" "),
            "app.lua a/b.lua c/init.lua lua_modules/share/lua/5.4/d.lua lua_modules/share/lua/5.4/e/init.lua"
        );
    }

    #[test]
    fn a_syntax_error_has_its_place_and_its_line() {
        let found = look_at(&[("app.lua", "require 'm'"), ("m.lua", "local x\n  local = 3\n")]);
        let [problem] = &found.errors[..] else { panic!("{found:?}") };
        assert_eq!(problem.to_string(), "<name> expected near '=' (m.lua:2)");
        assert_eq!(problem.excerpt, "   2 |   local = 3\n     |         ^\n");
        let found = look_at(&[("app.lua", "x = = =")]);
        assert_eq!(found.errors[0].excerpt, "   1 | x = = =\n", "one of three");
        assert!(look_at(&[("app.lua", "do")]).errors[0].help.contains("`end`"));
    }

    #[test]
    fn what_is_missing_is_told_if_it_is_certain_to_be_missed() {
        let found = look_at(&[(
            "app.lua",
            "local x = require 'no.such'\nif y then require 'perhaps' end\npcall(require, 'asked')",
        )]);
        assert_eq!(all(&found.errors), "there is no module \"no.such\" (app.lua:1)");
        assert!(found.errors[0].help.contains("no/such.lua"));
        assert_eq!(
            all(&found.warnings),
            "there is no module \"perhaps\" (app.lua:2)\nthere is no module \"asked\" (app.lua:3)"
        );
        let found = look_at(&[("app.lua", "require 'm'"), ("lua_modules/lib/lua/5.4/m.so", "\x7fELF")]);
        assert!(found.errors[0].what.contains("is in C (lua_modules/lib"), "{found:?}");
        assert!(look_at(&[("app.lua", "require 'ffi'")]).errors[0].what.contains("LuaJIT"));
        for text in ["package.path = 'x' require 'm'", "package.preload.m = f require 'm'"] {
            assert_eq!(all(&look_at(&[("app.lua", text)]).errors), "");
        }
    }

    #[test]
    fn unknown_globals_are_told_of_ones_own_files() {
        let found = look_at(&[
            (
                "app.lua",
                "require 'v' require 'm'\nprnt('x')\nfunction f()\n  count = 1\n  return set, count\nend\nf(arg)",
            ),
            ("m.lua", "set = 1"),
            ("lua_modules/share/lua/5.4/v.lua", "oops()"),
        ]);
        assert_eq!(
            all(&found.warnings),
            "nothing defines the global `prnt` (app.lua:2)\n\
             the global `count` is set in a function only: is a `local` missing? (app.lua:4)"
        );
        assert!(look_at(&[("app.lua", "setmetatable(_G, {}) prnt()")]).warnings.is_empty());
    }

    #[test]
    fn bytecode_is_refused() {
        let find = |_: &str| Some(b"\x1bLua\x54".to_vec());
        assert!(look("app.lua", false, &find).errors[0].what.contains("bytecode"));
        assert!(look("app.lua", true, &find).errors.is_empty());
    }
}
