//! Scripts begin and end.

use crate::world::{Stage, prints};
use lunette_hostcalls::Ending;
use lunette_lua::Problem;

#[test]
fn a_script_runs_and_prints() {
    assert_eq!(prints("print(_VERSION, 1 + 1, 'a' .. 'b')"), "Lua 5.4\t2\tab\n");
}

#[test]
fn an_error_ends_it_with_its_line() {
    let ran = Stage::new().run("local x\n\nerror('bad thing')");
    assert_eq!(ran.ending, Ending::Exited(1));
    assert!(ran.err.contains("test.lua:3: bad thing"), "{}", ran.err);
}

#[test]
fn a_syntax_error_names_its_line_before_anything_runs() {
    let problem = Stage::new().try_run("print('no')\nlocal = 3").unwrap_err();
    assert!(matches!(&problem, Problem::Syntax(words) if words.contains("test.lua:2:")), "{problem}");
}
