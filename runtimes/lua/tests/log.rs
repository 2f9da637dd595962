//! `log`: lines on standard error.

use crate::world::Stage;

fn logs(env: &[(&'static str, &'static str)], script: &str) -> String {
    let mut stage = Stage::new();
    stage.env = env.to_vec();
    stage.world.clock.set_wall(Some(1_795_246_437_123_000_000));
    let ran = stage.run(&format!("local log = require 'log' {script}"));
    assert_eq!(ran.out, "", "{}", ran.err);
    ran.err
}

#[test]
fn an_event_is_a_line_with_its_fields() {
    let err = logs(
        &[],
        r#"
        log.info("started", { port = 80, name = "a b", empty = "", ok = true, list = { 1, "x" } })
        log.debug "not seen"
        log.warn(42)
        log.level "debug"
        log.debug("seen", { ["bad key="] = 'say "\\"' })
        local r = log.with { request = "7f" }.with { user = "u" }
        r.error("failed", { why = "x=y" })
        "#,
    );
    let expected = "2026-11-21T07:33:57.123Z INFO  started empty=\"\" list=\"[1,\\\"x\\\"]\" name=\"a b\" ok=true port=80\n\
         2026-11-21T07:33:57.123Z WARN  42\n\
         2026-11-21T07:33:57.123Z DEBUG seen bad_key_=\"say \\\"\\\\\\\"\"\n\
         2026-11-21T07:33:57.123Z ERROR failed why=\"x=y\" user=u request=7f\n";
    assert_eq!(err, expected);
}

#[test]
fn nothing_begins_a_line_of_its_own() {
    let err = logs(&[], r#"log.info("a\r\nb\27[2J\0", { ["k\n"] = "v\n2026", u = "\xff" })"#);
    assert_eq!(err.lines().count(), 1);
    assert_eq!(&err[25..], "INFO  a\\r\\nb\\x1b[2J\\x00 k_=\"v\\n2026\" u=\u{fffd}\n");
}

#[test]
fn a_long_line_is_cut() {
    let err = logs(&[], "log.info(('ä'):rep(10000)) log.info 'next'");
    let lines: Vec<_> = err.lines().collect();
    assert!(lines[0].len() <= 8192 && lines[0].len() > 8180 && lines[0].ends_with('…'), "{}", lines[0].len());
    assert!(lines[1].ends_with("next"));
}

#[test]
fn the_level_comes_from_the_environment() {
    assert_eq!(logs(&[("LUNETTE_LOG", "error")], "log.warn 'x'"), "");
    assert!(logs(&[("LUNETTE_LOG", "DEBUG")], "log.debug 'x'").ends_with("DEBUG x\n"));
    let err = logs(&[("LUNETTE_LOG", "loud")], "log.debug 'x'");
    assert!(err.contains("WARN  LUNETTE_LOG is loud; it can be debug, info, warn, error"), "{err}");
    let err = logs(&[], "log.level 'loud'");
    assert!(err.contains("log.level: there is no level loud; there are: debug, info, warn, error"), "{err}");
}

#[test]
fn without_a_date_the_time_is_since_the_start() {
    let stage = Stage::new();
    stage.world.clock.set_wall(None);
    let ran = stage.run("require 'log'.info 'x'");
    assert!(ran.err.starts_with('+') && ran.err.ends_with(" INFO  x\n"), "{}", ran.err);
}
