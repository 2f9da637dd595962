//! Handlers that do what they should not: each ends alone, is answered for, and is named in the log.

use std::{rc::Rc, time::Duration};

use lunette_component::serve::Settings;
use lunette_hostcalls::Shutdown;
use lunette_native::Limits;

use crate::{
    common::Program,
    stage::{FAST, SLOW, Stage, read_until, rest, send, some},
};

const HOSTILE: &str = "tests/guests/hostile";

fn second(settings: Settings) -> Settings {
    Settings { time: Some(Duration::from_secs(1)), ..settings }
}

/// Where a handler may be interrupted in the midst of its answer, the answer may have chunks.
#[track_caller]
fn assert_well(answer: &str) {
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("ok\n"), "{answer}");
}

#[test]
fn a_handler_that_fails_is_answered_for_and_named() {
    let Some(program) = Program::cargo(HOSTILE) else { return };
    let stage = Rc::new(Stage::new());
    stage.serve(&program, Settings::default(), async |stage, _| {
        for (count, path) in [
            "/trap",
            "/panic",
            "/recurse",
            "/exit",
            "/noresponse",
            "/error",
            "/cut",
            "/open",
            "/short",
            "/long",
        ]
        .into_iter()
        .enumerate()
        {
            let answer = stage.get(path).await;
            assert!(answer.starts_with("HTTP/1.1 500 Internal Server Error\r\n"), "{path}: {answer}");
            // Those between were well.
            let id = 2 * count + 1;
            assert!(answer.contains(&format!("x-request-id: {id:x}\r\n")), "{path}: {answer}");
            stage.assert_logged(&format!("app: request {id:x}: GET {path}: "));
            assert!(stage.get("/ok").await.ends_with("ok\n"));
        }
    });
}

#[test]
fn a_backtrace_has_names_and_lines() {
    let Some(program) = Program::cargo(HOSTILE) else { return };
    let stage = Rc::new(Stage::new());
    stage.serve(&program, Settings::default(), async |stage, _| {
        stage.get("/trap").await;
    });
    stage.assert_logged("request 1: GET /trap: unreachable: ");
    stage.assert_logged("request 1: GET /trap:   at outer_trap at ");
    stage.assert_logged("hostile/src/lib.rs:");
}

#[test]
fn what_a_handler_says_goes_out_line_by_line() {
    let Some(program) = Program::cargo(HOSTILE) else { return };
    let stage = Rc::new(Stage::new());
    stage.serve(&program, Settings::default(), async |stage, _| {
        stage.get("/panic").await;
        stage.get("/log?n=3").await;
    });
    let said = String::from_utf8(stage.world.stdio.stderr()).unwrap();
    assert!(said.contains("a panic, as was asked for"), "{said}");
    assert!(said.contains("line 0 of what nobody wants to read\nline 1 of "), "{said}");
}

#[test]
fn one_that_runs_for_ever_is_stopped_and_the_others_do_not_notice() {
    let Some(program) = Program::cargo(HOSTILE) else { return };
    let stage = Rc::new(Stage::ticking());
    stage.serve(&program, second(Settings::default()), async |stage, spawner| {
        let passing = stage.time_passes(&spawner);
        let stuck = stage.connect().await;
        send(&stuck, b"GET /loop HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
        for _ in 0..3 {
            assert_well(&stage.get("/ok").await);
        }
        assert!(stage.world.log.lines().is_empty(), "it runs on: {:?}", stage.world.log.lines());
        passing.set(FAST);
        let answer = rest(&stuck).await;
        assert!(answer.starts_with("HTTP/1.1 504 Gateway Timeout\r\n"), "{answer}");
        passing.set(SLOW);
        assert_well(&stage.get("/ok").await);
    });
    stage.assert_logged("GET /loop: stopped: its time was up");
    // Where it was.
    stage.assert_logged("GET /loop:   at ");
}

#[test]
fn one_that_waits_too_long_is_given_up() {
    let Some(program) = Program::cargo(HOSTILE) else { return };
    let stage = Rc::new(Stage::new());
    stage.serve(&program, second(Settings::default()), async |stage, _| {
        let begun = stage.time.now();
        let answer = stage.get("/sleep?ms=60000").await;
        assert!(answer.starts_with("HTTP/1.1 504 Gateway Timeout\r\n"), "{answer}");
        let passed = Duration::from_nanos(stage.time.now() - begun);
        assert!(passed < Duration::from_millis(1100), "{passed:?}");
    });
    stage.assert_logged("GET /sleep: stopped: its time was up");
}

#[test]
fn one_that_eats_memory_ends_alone() {
    let Some(program) = Program::cargo(HOSTILE) else { return };
    let stage = Rc::new(Stage::new());
    let limits = Limits { memory: 16 << 20, ..Limits::default() };
    stage.serve(&program, Settings { limits, ..Settings::default() }, async |stage, _| {
        assert!(stage.get("/eat").await.starts_with("HTTP/1.1 500 "));
        assert!(stage.get("/eat?mib=8").await.ends_with("ate 8 MiB\n"));
    });
    stage.assert_logged("bytes of memory in all, and may have 16777216");
}

#[test]
fn a_body_without_an_end_ends_with_its_client() {
    let Some(program) = Program::cargo(HOSTILE) else { return };
    let stage = Rc::new(Stage::new());
    let settings = Settings { at_once: 1, time: None, ..Settings::default() };
    stage.serve(&program, settings, async |stage, _| {
        let stream = stage.connect().await;
        send(&stream, b"GET /forever HTTP/1.1\r\nhost: a\r\n\r\n").await;
        for _ in 0..20 {
            assert!(!some(&stream).await.unwrap().is_empty());
        }
        assert!(stage.get("/ok").await.starts_with("HTTP/1.1 503 "));
        stream.abort();
        stage.time.sleep(Duration::from_secs(1)).await;
        assert!(stage.get("/ok").await.ends_with("ok\n"));
    });
}

#[test]
fn an_answer_whose_time_is_up_is_cut() {
    let Some(program) = Program::cargo(HOSTILE) else { return };
    let stage = Rc::new(Stage::new());
    stage.serve(&program, second(Settings::default()), async |stage, _| {
        let answer = stage.get("/forever").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{}", &answer[..100]);
        // Nobody takes it for whole.
        assert!(!answer.ends_with("0\r\n\r\n"));
    });
    stage.assert_logged("GET /forever: stopped: its time was up");
}

#[test]
fn beyond_what_may_be_at_once_there_is_503_at_once() {
    let Some(program) = Program::cargo(HOSTILE) else { return };
    Rc::new(Stage::new()).serve(
        &program,
        Settings { at_once: 2, ..Settings::default() },
        async |stage, _| {
            let (one, other) = (stage.connect().await, stage.connect().await);
            for stream in [&one, &other] {
                send(stream, b"GET /sleep?ms=5000 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
            }
            stage.time.sleep(Duration::from_millis(100)).await;
            let begun = stage.time.now();
            let answer = stage.get("/ok").await;
            assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
            assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
            assert!(stage.time.now() - begun < 10_000_000);
            assert!(rest(&one).await.ends_with("slept\n") && rest(&other).await.ends_with("slept\n"));
            assert!(stage.get("/ok").await.ends_with("ok\n"));
        },
    );
}

#[test]
fn an_instance_serves_as_often_as_it_may() {
    let Some(program) = Program::cargo(HOSTILE) else { return };
    for (reuse, counts) in [(1, [1, 1, 1, 1]), (3, [1, 2, 3, 1])] {
        Rc::new(Stage::new()).serve(
            &program,
            Settings { reuse, ..Settings::default() },
            async move |stage, _| {
                for count in counts {
                    let answer = stage.get("/count").await;
                    assert!(answer.ends_with(&format!("\r\n{count}\n")), "{answer}");
                }
                // What trapped serves nobody any more.
                stage.get("/trap").await;
                assert!(stage.get("/count").await.ends_with("\r\n1\n"));
            },
        );
    }
}

#[test]
fn a_client_that_goes_away_takes_its_instance_along() {
    let Some(program) = Program::cargo(HOSTILE) else { return };
    let stage = Rc::new(Stage::new());
    let settings = Settings { at_once: 1, time: None, ..Settings::default() };
    stage.serve(&program, settings, async |stage, _| {
        let stream = stage.connect().await;
        send(&stream, b"GET /sleep?ms=100000000 HTTP/1.1\r\nhost: a\r\n\r\n").await;
        stage.time.sleep(Duration::from_millis(100)).await;
        assert!(stage.get("/ok").await.starts_with("HTTP/1.1 503 "));
        let _ = stream.shutdown(Shutdown::Both);
        drop(stream);
        stage.time.sleep(Duration::from_secs(1)).await;
        assert!(stage.get("/ok").await.ends_with("ok\n"));
    });
}

#[test]
fn resources_and_lists_have_their_bounds() {
    let Some(program) = Program::cargo(HOSTILE) else { return };
    let stage = Rc::new(Stage::new());
    stage.serve(&program, Settings::default(), async |stage, _| {
        for path in [
            "/many?of=fields",
            "/many?of=pollables",
            "/many?of=streams",
            "/drop?what=parent",
            "/drop?what=twice",
            "/drop?what=guess",
            "/drop?what=none",
            "/huge?what=random",
            "/huge?what=read",
            "/huge?what=write",
            "/huge?what=fields",
            "/head?what=status",
            "/head?what=headers",
            "/head?what=long",
            "/head?what=lines",
            "/head?what=forbidden",
        ] {
            let answer = stage.get(path).await;
            assert!(
                answer.starts_with("HTTP/1.1 500 ") || answer.starts_with("HTTP/1.1 200 "),
                "{path}: {answer}"
            );
            assert!(!answer.contains("set-cookie"), "{path}: {answer}");
            assert!(stage.get("/ok").await.ends_with("ok\n"), "after {path}");
        }
    });
}

#[test]
fn the_end_of_an_answer_is_not_the_end_of_its_handler() {
    let Some(program) = Program::cargo(HOSTILE) else { return };
    let stage = Rc::new(Stage::ticking());
    stage.serve(&program, second(Settings::default()), async |stage, spawner| {
        let passing = stage.time_passes(&spawner);
        let stream = stage.connect().await;
        send(&stream, b"GET /linger HTTP/1.1\r\nhost: a\r\n\r\n").await;
        read_until(&stream, "all of it\n").await;
        passing.set(FAST);
        stage.time.sleep(Duration::from_secs(3)).await;
    });
    stage.assert_logged("GET /linger: stopped: its time was up");
}
