//! What a manifest's author hears.

use std::time::Duration;

use lunette_bundle::{Launch, Manifest};

/// The first complaint about `[app] main` and these lines: `what (where)` and the help.
fn complaint(lines: &str) -> (String, String) {
    let e = Manifest::parse(&format!("[app]\nmain = \"a.wasm\"\n{lines}")).expect_err(lines);
    (format!("{} ({})", e.what, e.place), e.help)
}

#[test]
fn the_smallest_manifest_and_its_defaults() {
    let manifest = Manifest::parse("[app]\nmain = \"bin/hello.v2.wasm\"").unwrap();
    assert_eq!(manifest, Manifest::bare("bin/hello.v2.wasm"));
    assert_eq!(manifest.app.name, "hello.v2");
    assert!(manifest.app.grants.is_empty() && manifest.guests.is_empty());
    let manifest =
        Manifest::parse("app.main = \"a.wasm\"\nmount = [{path = \"/x\"}, {path = \"/y\", from = \"y\"}]")
            .unwrap();
    assert_eq!((manifest.app.mounts[0].writable, manifest.app.mounts[1].writable), (true, false));
}

#[test]
fn unknown_keys_are_named_with_their_place_and_the_nearest_key() {
    for (lines, what, help) in [
        ("mian = 1", "unknown key `app.mian` (lunette.toml:3:1)", "did you mean `main`?"),
        ("[resource]", "unknown key `resource` (lunette.toml:3:2)", "did you mean `resources`?"),
        (
            "[resources]\nmemroy = 1",
            "unknown key `resources.memroy` (lunette.toml:4:1)",
            "did you mean `memory`?",
        ),
        (
            "[resources]\ncpu = 1",
            "unknown key `resources.cpu` (lunette.toml:4:1)",
            "known here: memory, timeout, fuel, table-elements",
        ),
        (
            "[[mount]]\npath = \"/a\"\n\n[[mount]]\npath = \"/b\"\n  wriable = true",
            "unknown key `mount.wriable` (lunette.toml:8:3)",
            "did you mean `writable`?",
        ),
        (
            "[[listen]]\nhttp = 80",
            "unknown key `listen` (lunette.toml:3:3)",
            "known here: app, env, resources, lua, mount, network, http, guest, route",
        ),
    ] {
        assert_eq!(complaint(lines), (what.to_owned(), help.to_owned()));
    }
}

#[test]
fn wrong_types_are_named_with_their_place() {
    for (lines, what) in [
        ("name = 3", "`app.name` must be a string in quotes, not an integer (lunette.toml:3:8)"),
        (
            "args = \"-v\"",
            "`app.args` must be an array of strings, [\"a\", \"b\"], not a string (lunette.toml:3:8)",
        ),
        ("args = [\"a\", true]", "`app.args` must be a string in quotes, not a boolean (lunette.toml:3:14)"),
        ("[env]\nA = 1", "`env.A` must be a string in quotes, not an integer (lunette.toml:4:5)"),
        (
            "[resources]\nmemory = true",
            "`resources.memory` must be a size such as \"64MiB\", not a boolean (lunette.toml:4:10)",
        ),
        (
            "[resources]\nmemory = \"64 apples\"",
            "`resources.memory`: \"64 apples\" is not a size such as \"64MiB\", \"512K\" or \"1G\" (lunette.toml:4:10)",
        ),
        ("[resources]\nmemory = -1", "`resources.memory`: -1 is not a size (lunette.toml:4:10)"),
        ("[resources]\nmemory = 0", "`resources.memory` is 0 (lunette.toml:4:10)"),
        (
            "[resources]\ntimeout = 30",
            "`resources.timeout` must be a duration such as \"30s\", not an integer (lunette.toml:4:11)",
        ),
        ("[resources]\ntimeout = \"0s\"", "`resources.timeout` is 0 (lunette.toml:4:11)"),
        ("[resources]\nfuel = -5", "`resources.fuel` must be a whole number above 0 (lunette.toml:4:8)"),
        (
            "[resources]\nfuel = 1.5",
            "`resources.fuel` must be a whole number above 0, not a float (lunette.toml:4:8)",
        ),
        (
            "[resources]\ntable-elements = 99999999999999999999",
            "`resources.table-elements` must be a whole number above 0 (lunette.toml:4:18)",
        ),
        (
            "[mount]\npath = \"/x\"",
            "`mount` must be an array of tables, [[mount]], not a table (lunette.toml:3:1)",
        ),
        ("[[mount]]\nfrom = \"x\"", "a [[mount]] has no `path` (lunette.toml:3:1)"),
        ("[[mount]]\npath = \"\"", "`mount.path` is empty (lunette.toml:4:8)"),
        (
            "[[mount]]\npath = \"/x\"\nfrom = \"../y\"",
            "`mount.from`: \"../y\" has the component \"..\" (lunette.toml:5:8)",
        ),
        (
            "[[mount]]\npath = \"/x\"\nwritable = \"yes\"",
            "`mount.writable` must be true or false, not a string (lunette.toml:5:12)",
        ),
        (
            "[[mount]]\npath = \"/x\"\nfrom = \"y\"\nsize = \"1M\"",
            "`mount.size` limits what is written, and this mount is read-only (lunette.toml:6:8)",
        ),
        ("name = \"a\\u0000b\"", "`app.name` contains a NUL (lunette.toml:3:8)"),
        ("[env]\n\"A=B\" = \"c\"", "`env.A=B` is no name of a variable (lunette.toml:4:1)"),
    ] {
        let (got, help) = complaint(lines);
        assert_eq!(got, what);
        assert!(!help.is_empty(), "{what}");
    }
}

#[test]
fn grants_that_can_not_be_read_are_named_with_their_place_and_an_example() {
    for (lines, what, help) in [
        (
            "[network]\nlisten = [\"80\",\n  \"http\"]",
            "`network.listen`: \"http\" has no port from 1 to 65535 (0 or *: any) (lunette.toml:5:3)",
            "\"53/udp\"",
        ),
        (
            "[network]\nconnect = [\"db\"]",
            "`network.connect`: \"db\" has no port (lunette.toml:4:12)",
            "\"db.internal:5432\"",
        ),
        (
            "[network]\nresolve = [\"10.0.0.1\"]",
            "`network.resolve`: \"10.0.0.1\" is an address, and those need no grant to be resolved (lunette.toml:4:12)",
            "\"*.example.org\"",
        ),
        (
            "[network]\nlisten = 80",
            "`network.listen` must be an array of strings, [\"a\", \"b\"], not an integer (lunette.toml:4:10)",
            "array",
        ),
        (
            "[network]\nlisten = [80]",
            "`network.listen` must be a string in quotes, not an integer (lunette.toml:4:11)",
            "quotes",
        ),
        ("network = 1", "unknown key `app.network` (lunette.toml:3:1)", "known here"),
        ("[network]\nlisen = []", "unknown key `network.lisen` (lunette.toml:4:1)", "did you mean `listen`?"),
        ("[[network]]", "`network` must be a table, [network], not an array (lunette.toml:3:1)", "[network]"),
        (
            &format!(
                "[network]\nlisten = [\n{}]",
                (1..=257).map(|n| format!("\"{n}\",\n")).collect::<String>()
            ),
            "`network.listen` has more than 256 entries (lunette.toml:261:1)",
            "\"*\"",
        ),
    ] {
        let (got, advice) = complaint(lines);
        assert_eq!(got, what);
        assert!(advice.contains(help), "{advice}");
    }
}

#[test]
fn guests_are_read_as_strictly_as_the_app() {
    let one = "[[guest]]\nname = \"one\"\nmain = \"b.wasm\"\n";
    for (lines, what) in [
        (
            "[guest]".to_owned(),
            "`guest` must be an array of tables, [[guest]], not a table (lunette.toml:3:1)",
        ),
        ("[[guest]]\nmain = \"b.wasm\"".into(), "a [[guest]] has no `name` (lunette.toml:3:1)"),
        ("[[guest]]\nname = \"one\"".into(), "`guest.main` is missing (lunette.toml:3:1)"),
        ("[[guest]]\nname = \"\"\nmain = \"b\"".into(), "`guest.name` is empty (lunette.toml:4:8)"),
        (
            "[[guest]]\nname = \"one\"\nmain = \"../b\"".into(),
            "`guest.main`: \"../b\" has the component \"..\" (lunette.toml:5:8)",
        ),
        (format!("{one}{one}"), "`guest.name`: there is another guest \"one\" (lunette.toml:7:8)"),
        (
            "[[guest]]\nname = \"a\"\nmain = \"b.wasm\"".into(),
            "`guest.name`: there is another guest \"a\" (lunette.toml:4:8)",
        ),
        (format!("{one}[guest.guest]"), "unknown key `guest.guest` (lunette.toml:6:8)"),
        (
            format!("{one}env = 1"),
            "`guest.env` must be a table, [guest.env], not an integer (lunette.toml:6:7)",
        ),
        (
            format!("{one}[guest.env]\nA = 1"),
            "`guest.env.A` must be a string in quotes, not an integer (lunette.toml:7:5)",
        ),
        (
            format!("{one}[guest.resources]\nfuel = 0"),
            "`guest.resources.fuel` must be a whole number above 0 (lunette.toml:7:8)",
        ),
        (format!("{one}[guest.resources]\ncpu = 0"), "unknown key `guest.resources.cpu` (lunette.toml:7:1)"),
        (
            format!("{one}[guest.network]\nlisten = [\"\"]"),
            "`guest.network.listen`: \"\" has no port (lunette.toml:7:11)",
        ),
        (format!("{one}[[guest.mount]]\npath = \"\""), "`guest.mount.path` is empty (lunette.toml:7:8)"),
        (format!("{one}[[guest.mount]]"), "a [[guest.mount]] has no `path` (lunette.toml:6:1)"),
        (
            format!("{one}[guest.mount]"),
            "`guest.mount` must be an array of tables, [[guest.mount]], not a table (lunette.toml:6:1)",
        ),
        (
            (0..65).map(|n| format!("[[guest]]\nname = \"{n}\"\nmain = \"b\"\n")).collect(),
            "there are more than 64 [[guest]] tables (lunette.toml:195:1)",
        ),
        ("guest = [1]".into(), "unknown key `app.guest` (lunette.toml:3:1)"),
    ] {
        let (got, help) = complaint(&lines);
        assert_eq!(got, what);
        assert!(!help.is_empty(), "{what}");
    }
    let e = Manifest::parse("guest = [1]\n[app]\nmain = \"a.wasm\"").unwrap_err();
    assert_eq!(e.what, "`guest` must be an array of tables, [[guest]], not an integer");
}

#[test]
fn how_requests_are_served_is_read_as_strictly() {
    let one = "[[guest]]\nname = \"one\"\nmain = \"b.wasm\"\n";
    for (lines, what, help) in [
        (
            "engine = \"wasmtim\"".to_owned(),
            "`app.engine`: there is no engine \"wasmtim\" (lunette.toml:3:10)",
            "did you mean \"wasmtime\"?",
        ),
        (
            "engine = \"v8\"".into(),
            "`app.engine`: there is no engine \"v8\" (lunette.toml:3:10)",
            "known: auto, wasmi, wasmtime",
        ),
        (
            "[http]\nmax_requests = 5".into(),
            "unknown key `http.max_requests` (lunette.toml:4:1)",
            "did you mean `max-requests`?",
        ),
        (
            "[http]\nreuse = 0".into(),
            "`http.reuse` must be a whole number above 0 (lunette.toml:4:9)",
            "1 to",
        ),
        (
            "[http]\ntls = { cert = \"c.pem\" }".into(),
            "`http.tls.key` is missing (lunette.toml:4:7)",
            "cert.pem",
        ),
        (
            "[http]\ntls = { cert = \"/c.pem\", key = \"k\" }".into(),
            "`http.tls.cert`: \"/c.pem\" is absolute (lunette.toml:4:16)",
            "a file of the bundle",
        ),
        (
            "[http.tls]\ncert = \"c\"\nkey = \".lunette/k\"".into(),
            "`http.tls.key`: .lunette is reserved (lunette.toml:5:7)",
            "a file of the bundle",
        ),
        (
            "[http]\ntls = true".into(),
            "`http.tls` must be a table, [http.tls], not a boolean (lunette.toml:4:7)",
            "[http.tls]",
        ),
        (
            "[http.limits]\ncpu = 1".into(),
            "unknown key `http.limits.cpu` (lunette.toml:4:1)",
            "known here: memory, time, fuel",
        ),
        (
            format!("{one}[guest.http.limits]\ntime = \"0s\""),
            "`guest.http.limits.time` is 0 (lunette.toml:7:8)",
            "30s",
        ),
        (
            format!("{one}[[route]]\nguest = \"on\""),
            "`route.guest`: there is no guest \"on\" (lunette.toml:7:9)",
            "did you mean \"one\"?",
        ),
        (
            format!("{one}[[route]]\nguest = \"zebra\""),
            "`route.guest`: there is no guest \"zebra\" (lunette.toml:7:9)",
            "there are: a, one",
        ),
        (format!("{one}[[route]]\npath = \"/\""), "a [[route]] has no `guest` (lunette.toml:6:1)", "guest ="),
        (
            format!("{one}[[route]]\nguest = \"one\"\npaht = \"/\""),
            "unknown key `route.paht` (lunette.toml:8:1)",
            "did you mean `path`?",
        ),
        (
            format!("{one}[[route]]\nguest = \"one\"\npath = \"api\""),
            "`route.path`: \"api\" does not begin with \"/\" (lunette.toml:8:8)",
            "\"/api/...\"",
        ),
        (
            format!("{one}[[route]]\nguest = \"one\"\npath = \"/a.../b\""),
            "`route.path`: \"/a.../b\" has \"...\" elsewhere than after its last \"/\" (lunette.toml:8:8)",
            "\"/api/...\"",
        ),
        (
            format!("{one}[[route]]\nguest = \"one\"\npath = \"/a?b=1\""),
            "`route.path`: \"/a?b=1\" has more than a path: requests are not told apart by what comes after \"?\" (lunette.toml:8:8)",
            "path",
        ),
        (
            format!("{one}[[route]]\nguest = \"one\"\nhost = \"a b\""),
            "`route.host`: \"a b\" is no name of a host (lunette.toml:8:8)",
            "*.example.org",
        ),
        (
            format!("{one}[[route]]\nguest = \"one\"\n[[route]]\nguest = \"a\"\nhost = \"*\""),
            "there is another [[route]] for */... (lunette.toml:8:1)",
            "keep one",
        ),
        (
            "[route]".into(),
            "`route` must be an array of tables, [[route]], not a table (lunette.toml:3:1)",
            "[[route]]",
        ),
        (
            (0..257).map(|n| format!("[[route]]\nguest = \"a\"\npath = \"/{n}\"\n")).collect(),
            "there are more than 256 [[route]] tables (lunette.toml:771:1)",
            "tell its requests apart",
        ),
    ] {
        let (got, advice) = complaint(&lines);
        assert_eq!(got, what);
        assert!(advice.contains(help), "{advice}");
    }
}

#[test]
fn the_main_module_must_be_named_and_inside() {
    for (text, what) in [
        ("", "`app.main` is missing"),
        ("[app]", "`app.main` is missing"),
        ("app = 1", "`app` must be a table, [app], not an integer"),
        ("[app]\nmain = \"/a.wasm\"", "`app.main`: \"/a.wasm\" is absolute"),
        ("[app]\nmain = \"../a.wasm\"", "`app.main`: \"../a.wasm\" has the component \"..\""),
        ("[app]\nmain = \".lunette/a\"", "`app.main`: .lunette is reserved"),
        ("[app]\nmain = 1", "`app.main` must be a string in quotes, not an integer"),
    ] {
        assert_eq!(Manifest::parse(text).unwrap_err().what, what);
    }
}

#[test]
fn broken_toml_is_placed() {
    for (lines, place) in [
        ("[env", "lunette.toml:3:5"),
        ("x = ", "lunette.toml:3:5"),
        ("name = \"a\"\nname = \"b\"", "lunette.toml:4:1"),
    ] {
        let e = Manifest::parse(&format!("[app]\nmain = \"a.wasm\"\n{lines}")).unwrap_err();
        assert_eq!(e.place, place, "{e}");
        assert!(e.what.starts_with("not TOML: ") && !e.what.contains('\n'), "{e}");
    }
}

#[test]
fn check_hears_of_everything_at_once() {
    let errors = Manifest::parse_all("nope = 1\n[app]\nargs = 2\n[resources]\nfuel = 0\n").unwrap_err();
    let what: Vec<_> = errors.iter().map(|e| &*e.what).collect();
    assert_eq!(
        what,
        [
            "unknown key `nope`",
            "`app.args` must be an array of strings, [\"a\", \"b\"], not an integer",
            "`app.main` is missing",
            "`resources.fuel` must be a whole number above 0",
        ]
    );
}

#[test]
fn launches_are_read_as_strictly() {
    let launch = Launch::parse("timeout = \"2s\"\nargs = []\n[env]\nA = \"\"").unwrap();
    assert_eq!((launch.timeout, launch.args), (Some(Duration::from_secs(2)), Some(vec![])));
    let launch = Launch::parse("[network]\nlisten = [\"80\"]").unwrap();
    assert_eq!(launch.grants.listen.len(), 1);
    let e = Launch::parse("[network]\nlisten = [\"x\"]").unwrap_err();
    assert_eq!(e.place, "launch.toml:2:11");
    let e = Launch::parse("tiemout = \"2s\"").unwrap_err();
    assert_eq!((&*e.what, &*e.place), ("unknown key `tiemout`", "launch.toml:1:1"));
}

#[test]
fn user_data_sets_arguments_and_variables_only() {
    let said = Launch::from_user_data("#lunette\nargs = [\"a\"]\n[env]\nB = \"2\"\nC = \"3\"").unwrap();
    let mut launch = Launch::parse("args = []\ntimeout = \"2s\"\n[env]\nA = \"1\"\nB = \"1\"").unwrap();
    launch.amend(&said);
    assert_eq!(launch.args, Some(vec!["a".into()]));
    assert_eq!(launch.env, [("A", "1"), ("B", "2"), ("C", "3")].map(|(a, b)| (a.into(), b.into())));
    assert!(launch.timeout.is_some(), "what is not said stays");
    let before = launch.clone();
    launch.amend(&Launch::default());
    assert_eq!(launch, before);
    for more in ["[network]\nlisten = [\"80\"]", "bytecode = true", "timeout = \"1s\"", "memory = 1"] {
        let e = Launch::from_user_data(more).unwrap_err();
        assert!(e.what.starts_with("unknown key") && e.place.starts_with("user-data:1:"), "{e}");
    }
    assert!(Launch::from_user_data("#lunette\nargs = 1").is_err());
}

/// Text that nests, repeats or lies costs time in proportion to its length, and never a panic.
#[test]
fn hostile_text_is_an_error_and_no_more() {
    for text in [
        "[".repeat(20_000),
        format!("a = {}", "[".repeat(20_000)),
        format!("a = {}", "{a=".repeat(20_000)),
        "a.".repeat(20_000),
        "\u{feff}\0\u{7f}".into(),
        "\"".repeat(9_999),
        format!("[app]\nmain = \"{}\"", "x".repeat(70_000)),
    ] {
        assert!(Manifest::parse(&text).is_err());
    }
}
