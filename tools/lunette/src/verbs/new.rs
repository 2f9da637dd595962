//! `lunette new`: a folder to begin with.

use std::{fs, io, path::Path};

use crate::{cli::New, exit, problem::Problem, run::Us};

include!(concat!(env!("OUT_DIR"), "/stubs.rs"));

/// What a folder can begin as.
struct Template {
    name: &'static str,
    what: &'static str,
    files: &'static [(&'static str, &'static str)],
    /// What to try first.
    try_it: &'static str,
}

/// The files of a template's folder.
macro_rules! files {
    ($folder:literal: $($file:literal),*) => {
        &[$(($file, include_str!(concat!("../../templates/", $folder, "/", $file)))),*]
    };
}

const TEMPLATES: [Template; 2] = [
    Template {
        name: "lua",
        what: "a program in Lua, with a module of its own",
        files: files!("lua": "lunette.toml", "main.lua", "greeting.lua", "test.lua", "README.md"),
        try_it: "lunette run {folder}",
    },
    Template {
        name: "lua-http",
        what: "an HTTP server in Lua, with routes and tests",
        files: files!("lua-http": "lunette.toml", "server.lua", "app.lua", "test.lua", "README.md"),
        try_it: "lunette run -p 8080:80 {folder}",
    },
];

/// For the editor: what Lua is meant, and where the annotations of the modules are.
const EDITOR: (&str, &str) = (".luarc.json", include_str!("../../templates/luarc.json"));
/// Of a folder at its top, bundles leave this out.
const STUBS_FOLDER: &str = ".lunette/stubs";

/// Makes the folder, or lists the templates.
pub fn new(args: &New, us: &Us) -> Result<u8, Problem> {
    let Some(folder) = &args.folder else {
        let lines: String = TEMPLATES.iter().map(|t| format!("{:<10} {}\n", t.name, t.what)).collect();
        super::print(&lines)?;
        return Ok(0);
    };
    let template = TEMPLATES.iter().find(|template| template.name == args.template).ok_or_else(|| {
        let names = TEMPLATES.map(|template| template.name).join(", ");
        Problem::new(format!("there is no template {:?}", args.template), format!("there are: {names}"))
    })?;
    let named = folder.file_name().and_then(|name| name.to_str()).filter(|name| plain(name));
    let name = named.ok_or_else(|| {
        let help = "use letters, digits, `.`, `-` and `_`";
        Problem::new(format!("{} can't be the name of an app", folder.display()), help)
    })?;
    make(folder, name, template).map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists => Problem::new(
            format!("there is {} already", folder.display()),
            "choose another name; nothing was changed",
        ),
        io::ErrorKind::NotFound => Problem::new(
            format!("there is no folder to put {} into", folder.display()),
            "make that one first",
        )
        .code(exit::NOT_FOUND),
        _ => Problem::new(
            format!("{} can't be made: {e}", folder.display()),
            "choose a place that you may write to",
        ),
    })?;
    us.voice.say(&format!("made {}: {}", folder.display(), template.what));
    us.voice.say(&format!("try: {}", template.try_it.replace("{folder}", &folder.display().to_string())));
    Ok(0)
}

/// A name that needs no quotes, neither in a manifest nor in a script.
fn plain(name: &str) -> bool {
    !name.starts_with(['.', '-']) && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_'))
}

fn make(folder: &Path, name: &str, template: &Template) -> io::Result<()> {
    fs::create_dir(folder)?;
    for (file, text) in template.files.iter().chain([&EDITOR]) {
        fs::write(folder.join(file), text.replace("{name}", name))?;
    }
    let stubs = folder.join(STUBS_FOLDER);
    fs::create_dir_all(&stubs)?;
    STUBS.iter().try_for_each(|(file, text)| fs::write(stubs.join(file), text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        app::{App, Extras},
        problem::Voice,
    };

    #[test]
    fn every_template_is_an_app_of_which_nothing_is_wrong_but_what_is_not_built_in() {
        let dir = tempfile::tempdir().unwrap();
        for template in &TEMPLATES {
            let folder = dir.path().join(template.name);
            make(&folder, "a-name", template).unwrap();
            assert_eq!(make(&folder, "a-name", template).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
            let app = App::open(&folder).unwrap();
            assert_eq!(app.manifest().unwrap().app.name, "a-name");
            let packed = app.pack(&Extras::default(), &Voice::new(true, false)).unwrap();
            packed.check().unwrap();
            for (file, text) in template.files {
                assert!(!fs::read_to_string(folder.join(file)).unwrap().contains("{name}"), "{file}");
                if file.ends_with(".lua") {
                    lunette_lua::examine(text.as_bytes()).unwrap();
                }
            }
        }
    }

    #[test]
    fn names_that_need_quotes_are_none() {
        assert!(plain("a-b_c.d") && plain("grüße"));
        for name in ["", ".x", "-x", "a b", "a\"b", "a'b", "a\n"] {
            assert!(!plain(name) || name.is_empty(), "{name:?}");
        }
    }
}
