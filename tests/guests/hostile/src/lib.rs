//! A handler of wasi:http that does, for each path, one thing that a handler should not do. What its host must make of
//! it is in the stories; what is written here is only what is done.
//!
//! | path | |
//! |---|---|
//! | `/ok` | `ok`: this one is well-behaved, as are `/sleep?ms=`, `/spin?ms=` (works that long), `/late` (finishes its answer late) and `/count` (how many requests this instance has seen) |
//! | `/loop` | never returns |
//! | `/trap` `/panic` `/recurse` `/exit` | ends by an `unreachable` two functions down, a panic, an endless recursion, `exit` |
//! | `/eat?mib=` | takes memory, forever or that much |
//! | `/noresponse` `/error` | returns without an answer; answers with an error |
//! | `/forever` `/cut` `/linger` `/open` | a body without an end; one that ends in a trap, is followed by a loop, is never finished |
//! | `/short` `/long` | a body that is not of the length that was told |
//! | `/many?of=&n=` | a million `fields`, `pollables` or `streams`, all kept |
//! | `/drop?what=` | `parent`s before children, one `twice`, one that was a `guess`, or `none` at all |
//! | `/huge?what=` | lists of 4 GiB: `random` bytes, to `read`, to `write`, as `zeroes` or `fields` |
//! | `/head?what=` | an answer with a `status` that is none, many or long `headers`, with `forbidden` ones |
//! | `/reenter?depth=` | asks this very server, by the authority it was asked by, for `/reenter` again |
//! | `/log?n=` | a million lines for the log |

mod body;
mod resources;

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use wasip2::{
    http::{
        outgoing_handler,
        types::{
            ErrorCode, Fields, IncomingRequest, OutgoingRequest, OutgoingResponse, ResponseOutparam, Scheme,
        },
    },
    io::poll::poll,
};

struct Hostile;

wasip2::http::proxy::export!(Hostile);

thread_local!(static COUNT: Cell<u64> = const { Cell::new(0) });

impl wasip2::exports::http::incoming_handler::Guest for Hostile {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let count = COUNT.get() + 1;
        COUNT.set(count);
        let target = request.path_with_query().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let query = Query(query);
        match path {
            "/ok" => body::say(out, 200, "ok\n"),
            "/late" => body::late(out),
            "/count" => body::say(out, 200, &format!("{count}\n")),
            "/sleep" => {
                std::thread::sleep(Duration::from_millis(query.number("ms", 100)));
                body::say(out, 200, "slept\n");
            }
            "/spin" => {
                let (begun, span) = (Instant::now(), Duration::from_millis(query.number("ms", 100)));
                while begun.elapsed() < span {}
                body::say(out, 200, "spun\n");
            }
            "/loop" => endless(),
            "/trap" => outer_trap(),
            "/panic" => panic!("a panic, as was asked for"),
            "/recurse" => drop(std::hint::black_box(recurse(1))),
            "/exit" => std::process::exit(3),
            "/eat" => eat(query.number("mib", u64::MAX), out),
            "/noresponse" => drop(out),
            "/error" => {
                ResponseOutparam::set(out, Err(ErrorCode::InternalError(Some("as was asked for".into()))))
            }
            "/forever" | "/cut" | "/linger" | "/open" | "/short" | "/long" => body::misbehave(path, out),
            "/many" => resources::many(query.word("of", "fields"), query.number("n", 1_000_000), out),
            "/drop" => resources::drops(query.word("what", "parent"), out),
            "/huge" => resources::huge(query.word("what", "random"), request, out),
            "/head" => head(query.word("what", "headers"), out),
            "/reenter" => reenter(query.number("depth", u64::MAX), &request, out),
            "/log" => {
                for n in 0..query.number("n", 1_000_000) {
                    eprintln!("line {n} of what nobody wants to read");
                }
                body::say(out, 200, "logged\n");
            }
            _ => body::say(out, 404, "no such misdeed\n"),
        }
    }
}

struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    fn word(&self, name: &str, usual: &'a str) -> &'a str {
        let pairs = self.0.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).next().unwrap_or(usual)
    }

    fn number(&self, name: &str, usual: u64) -> u64 {
        self.word(name, "").parse().unwrap_or(usual)
    }
}

fn endless() {
    let mut n = 0u64;
    loop {
        n = std::hint::black_box(n.wrapping_add(1));
    }
}

// The names and lines that a backtrace has to show.
#[inline(never)]
fn outer_trap() {
    std::hint::black_box(());
    inner_trap();
    std::hint::black_box(());
}

#[inline(never)]
fn inner_trap() {
    std::hint::black_box(());
    core::arch::wasm32::unreachable()
}

#[expect(unconditional_recursion, reason = "it is to run out of stack")]
#[inline(never)]
fn recurse(n: u64) -> u64 {
    let mut frame = [n; 32];
    std::hint::black_box(&mut frame);
    recurse(frame[0] + 1) + frame[1]
}

fn eat(mib: u64, out: ResponseOutparam) {
    let mut eaten = Vec::new();
    while (eaten.len() as u64) < mib {
        eaten.push(vec![1u8; 1 << 20]);
    }
    body::say(out, 200, &format!("ate {} MiB\n", std::hint::black_box(eaten).len()));
}

/// Heads that a host has to refuse, or to bound.
fn head(what: &str, out: ResponseOutparam) {
    let fields = Fields::new();
    let said = match what {
        "status" => Ok(()),
        "headers" => (0..100_000).try_for_each(|n| fields.append(&format!("x-{n}"), b"y")),
        "long" => fields.append("x-long", &vec![b'y'; 16 << 20]),
        "lines" => fields.append("x-lines", b"a\r\nset-cookie: b"),
        _ => ["connection", "transfer-encoding", "host", "upgrade", "keep-alive"]
            .iter()
            .try_for_each(|name| fields.append(name, b"close")),
    };
    match said {
        Err(error) => body::say(out, 200, &format!("refused: {error:?}\n")),
        Ok(()) => {
            let response = OutgoingResponse::new(fields);
            if what == "status" && response.set_status_code(99).is_err() {
                return body::say(out, 200, "refused\n");
            }
            ResponseOutparam::set(out, Ok(response));
        }
    }
}

/// Asks whoever asked, and so on, until nobody is left to answer.
fn reenter(depth: u64, request: &IncomingRequest, out: ResponseOutparam) {
    if depth == 0 {
        return body::say(out, 200, "the bottom\n");
    }
    let again = OutgoingRequest::new(Fields::new());
    again.set_scheme(Some(&Scheme::Http)).expect("http");
    again.set_authority(request.authority().as_deref()).expect("the same authority");
    again.set_path_with_query(Some(&format!("/reenter?depth={}", depth - 1))).expect("a path");
    let answer = match outgoing_handler::handle(again, None) {
        Ok(answer) => answer,
        Err(error) => return body::say(out, 502, &format!("{error:?}\n")),
    };
    poll(&[&answer.subscribe()]);
    match answer.get() {
        Some(Ok(Ok(answer))) => body::say(out, answer.status(), "asked\n"),
        Some(Ok(Err(error))) => body::say(out, 502, &format!("{error:?}\n")),
        _ => body::say(out, 500, "nothing came\n"),
    }
}
