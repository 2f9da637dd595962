//! `net` and `dns`: sockets that block their task and nothing else, in all weathers.

use std::time::Duration;

use crate::world::{Ran, Stage};
use lunette_hostcalls::{Ending, Grants, Interest, Net, fake::Weather, task::until};

fn stage() -> Stage {
    let mut stage = Stage::new();
    stage.listen = vec!["80"];
    stage.grants = Grants {
        listen: vec!["7".parse().unwrap(), "53/udp".parse().unwrap()],
        connect: vec!["*:*".parse().unwrap(), "*:*/udp".parse().unwrap()],
        resolve: vec!["*".parse().unwrap()],
    };
    stage
}

const NAMES: &str = "local net, dns, task = require 'net', require 'dns', require 'task'\n";

#[track_caller]
fn run_in(stage: &Stage, text: &str) -> Ran {
    stage.run(&format!("{NAMES}{text}"))
}

#[track_caller]
fn is(text: &str, expected: &str) {
    let ran = run_in(&stage(), text);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), (expected, ""));
}

const ECHO: &str = "
    local l = assert(net.listen('tcp', ':80'))
    task.spawn(function() for c in l:conns() do task.spawn(function(c)
        for line in c:lines() do c:send(line .. '\\n') end
    end, c) end end)\n";

#[test]
fn many_clients_are_answered_at_once_in_any_weather() {
    for weather in [Weather::CALM, Weather::STORMY] {
        let stage = stage();
        stage.world.net.set_weather(weather);
        let ran = run_in(
            &stage,
            &format!(
                "{ECHO}
                local done = 0
                local tasks = {{}}
                for i = 1, 100 do tasks[i] = task.spawn(function()
                    local c <close> = assert(net.dial('tcp', '127.0.0.1:80'))
                    for j = 1, 5 do
                        local text = ('%d/%d '):format(i, j):rep(j * 40)
                        assert(c:send(text .. '\\n')) assert(c:receive() == text)
                    end
                    done = done + 1
                end) end
                for i = 1, 100 do assert(tasks[i]:join()) end
                print(done) l:close()"
            ),
        );
        assert_eq!((ran.out.as_str(), ran.err.as_str()), ("100\n", ""));
    }
}

#[test]
fn resets_are_errors_and_never_the_end_of_the_server() {
    let stage = stage();
    stage.world.net.set_weather(Weather { resets: 100, ..Weather::STORMY });
    let ran = run_in(
        &stage,
        &format!(
            "{ECHO}
            local good, bad, tasks = 0, {{}}, {{}}
            for i = 1, 60 do tasks[i] = task.spawn(function()
                local c, err = net.dial('tcp', '127.0.0.1:80')
                for j = 1, 5 do
                    if c then local ok; ok, err = c:send(j .. '\\n') if ok then ok, err = c:receive() end
                        if not ok then bad[err] = (bad[err] or 0) + 1 return end end
                end
                good = good + 1
            end) end
            for i = 1, 60 do tasks[i]:join() end
            print(good > 5, bad.closed > 5, next(bad) == 'closed' and next(bad, 'closed') == nil)
            l:close()"
        ),
    );
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("true\ttrue\ttrue\n", ""));
}

#[test]
fn timeouts_are_exact() {
    let stage = stage();
    stage.world.net.name("slow.example", 9_000_000_000, Ok(vec!["10.0.0.5".parse().unwrap()]));
    let ran = run_in(
        &stage,
        "local l = net.listen('tcp', ':7') task.spawn(function() local c = l:accept() task.sleep(100) end)
         local c = net.dial('tcp', '127.0.0.1:7') local clock = require 'socket'.gettime
         local function took(f, ...) local t = clock() local a, b, p = f(...) print(a, b, p, ('%.6f'):format(clock() - t)) end
         c:settimeout(1.5) took(c.receive, c, 5) c:settimeout(0.25, 't') took(c.receive, c, '*l', 'so far ')
         c:settimeout(-1) took(c.receive, c) c:settimeout(0) took(c.receive, c)
         l:settimeout(2) l:settimeout(0.125) took(l.accept, l)
         took(net.dial, 'tcp', '10.7.7.7:9', { timeout = 0.5 })
         took(dns.resolve, 'slow.example', { timeout = 0.75 })",
    );
    assert_eq!(
        (ran.out.as_str(), ran.err.as_str()),
        (
            "nil\ttimeout\t\t1.500000\nnil\ttimeout\tso far \t0.250000\nnil\ttimeout\t\t0.250000\n\
         nil\ttimeout\t\t0.000000\nnil\ttimeout\tnil\t0.125000\nnil\ttimeout\tnil\t0.500000\n\
         nil\ttimeout\tnil\t0.750000\n",
            ""
        )
    );
}

#[test]
fn a_read_is_bounded_and_says_what_it_has() {
    is(
        "local l = net.listen('tcp', ':7', { max = 10 })
         task.spawn(function() for i = 1, 3 do local c = net.dial('tcp', '127.0.0.1:7') c:send(('x'):rep(30)) c:close() end end)
         print(l:accept():receive()) print(l:accept():receive('*a')) print(l:accept():readuntil('xy'))
         task.spawn(function() local c = net.dial('tcp', '127.0.0.1:7') c:send('a=1;b=22;rest\\nline\\n\\nlast') c:close() end)
         local c = l:accept() print(c:readuntil(';'), c:readuntil(';b', 3)) print(c:receive(3)) print(c:readany(2)) print(c:readany())
         for line in c:lines() do print('[' .. line .. ']') end print(c:receive()) print(c:readany())",
        "nil\ttoo large\txxxxxxxxxx\nnil\ttoo large\txxxxxxxxxx\nnil\ttoo large\txxxxxxxxxxxx\n\
         a=1\tnil\ttoo large\tb=22;\nres\tnil\tnil\nt\n\tnil\tnil\nline\n\nlast\tnil\tnil\nnil\tclosed\t\n\
         nil\tclosed\t\n",
    );
}

#[test]
fn a_pattern_is_found_wherever_the_pieces_break() {
    let stage = stage();
    stage.world.net.set_weather(Weather { window: 3, short: true, ..Weather::CALM });
    let ran = run_in(
        &stage,
        "local l = net.listen('tcp', ':7')
         task.spawn(function() local c = net.dial('tcp', '127.0.0.1:7') c:send('one\\r\\n\\rtwo\\r\\n\\r\\nthree\\r\\nfour') c:close() end)
         local c = l:accept() print((c:readuntil('\\r\\n\\r\\n'):gsub('%c', '.'))) print(c:receive()) print(c:receive(2)) print(c:receive('*a'))",
    );
    assert_eq!(ran.out, "one...two\nthree\tnil\tnil\nfo\tnil\tnil\nur\tnil\tnil\n", "{}", ran.err);
}

#[test]
fn a_socket_is_closed_with_its_task_unless_it_was_given_away() {
    is(
        "local l = net.listen('tcp', ':7') local kept
         task.spawn(function()
             local one, two, three = net.dial('tcp', '127.0.0.1:7'), net.dial('tcp', '127.0.0.1:7'), net.dial('tcp', '127.0.0.1:7')
             task.spawn(function(c) task.sleep(5) print('given', c:send('given')) end, two)
             kept = three:detach()
         end)
         local a, b, c = l:accept(), l:accept(), l:accept()
         task.spawn(function() print('first', a:receive()) end)
         task.spawn(function() print('second', b:receive('*a')) end)
         task.sleep(9) print(kept:send('kept')) kept:close() print(c:receive('*a'))",
        "first\tnil\tclosed\t\ngiven\t5\tnil\tnil\nsecond\tgiven\tnil\tnil\n4\tnil\tnil\nkept\tnil\tnil\n",
    );
}

#[test]
fn a_handler_that_fails_closes_its_connection() {
    let ran = run_in(
        &stage(),
        "local l = net.listen('tcp', ':7')
         task.spawn(function() for c in l:conns() do task.spawn(function(c) error('oh no') end, c) end end)
         local c = net.dial('tcp', '127.0.0.1:7') print(c:receive()) local d = net.dial('tcp', '127.0.0.1:7') print(d:receive()) l:close()",
    );
    assert_eq!(ran.out, "nil\tclosed\t\nnil\tclosed\t\n");
    assert!(ran.err.contains("oh no"), "{}", ran.err);
}

#[test]
fn what_is_closed_wakes_who_waits_for_it() {
    is(
        "local l = net.listen('tcp', ':7') task.spawn(function() print('accept', l:accept() ~= nil) for _ in l:conns() do end print('no more') end)
         local c = net.dial('tcp', '127.0.0.1:7') task.spawn(function() print('receive', c:receive()) end)
         task.sleep(1) c:close() l:close() task.sleep(1) print(c:send('x')) print(c:receive()) print(c:getfd())",
        "accept\ttrue\nreceive\tnil\tclosed\t\nno more\nnil\tclosed\t0\nnil\tclosed\t\n-1\n",
    );
}

#[test]
fn what_tasks_send_stays_in_one_piece() {
    let stage = stage();
    stage.world.net.set_weather(Weather::STORMY);
    let ran = run_in(
        &stage,
        "local l = net.listen('tcp', ':7')
         task.spawn(function() local c = net.dial('tcp', '127.0.0.1:7')
             for i = 0, 9 do task.spawn(function() c:send(tostring(i):rep(20000) .. '\\n') end) end task.sleep(1000) c:close() end)
         local seen = '' for line in l:accept():lines() do assert(line == line:sub(1, 1):rep(20000)) seen = seen .. line:sub(1, 1) end print(seen)",
    );
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("0123456789\n", ""));
}

#[test]
fn datagrams_come_and_go() {
    is(
        "local server = assert(net.listen('udp', ':53'))
         task.spawn(function() while true do local data, ip, port = server:receivefrom() if not data then return end
             server:sendto(data:upper(), ip, port) end end)
         local c = assert(net.dial('udp', '127.0.0.1:53')) print(c:send('hello')) print(c:receive()) print(c:send('')) print(#c:receive())
         c:settimeout(1) print(c:receive()) print(c:send(('x'):rep(70000))) c:close() print(c:send('x')) print(c:receive())
         print(server:sendto('x', 'localhost', 1)) server:close()",
        "5\nHELLO\n0\n0\nnil\ttimeout\nnil\tMessage too long\nnil\trefused\nnil\tclosed\n\
         nil\tName or service not known\n",
    );
}

#[test]
fn names_are_resolved() {
    let stage = stage();
    let both = vec!["10.0.0.5".parse().unwrap(), "fec0::5".parse().unwrap()];
    stage.world.net.name("db.internal", 2_000_000, Ok(both));
    let ran = run_in(
        &stage,
        "local function show(list, err) print(list and table.concat(list, ' '), err) end
         show(dns.resolve('db.internal')) show(dns.resolve('db.internal', 'A')) show(dns.resolve('db.internal', 'AAAA'))
         show(dns.resolve('nowhere.example')) show(dns.resolve('db.internal', 'MX')) show(dns.resolve('10.1.1.1'))
         show(dns.resolve('localhost', 'A')) show(dns.resolve('no name')) print(pcall(dns.resolve, 'a', 'XYZ'))
         print(net.dial('tcp', 'nowhere.example:80')) print(net.dial('tcp', '127.0.0.1:1')) print(pcall(net.dial, 'tcp', 'no port'))
         print(pcall(net.dial, 'sctp', 'a:1')) print(pcall(net.dial, 'tcp', 'a:1', { timeot = 1 }))",
    );
    let expected = "10.0.0.5 fec0::5\tnil\n10.0.0.5\tnil\nfec0::5\tnil\nnil\thost not found\nnil\tnot supported\n\
        10.1.1.1\tnil\n127.0.0.1\tnil\nnil\thost not found\n\
        false\tbad argument #2 to 'resolve' (\"A\" or \"AAAA\" expected, got \"XYZ\")\n\
        nil\thost not found\nnil\tconnection refused\n\
        false\tbad argument #2 to 'dial' (\"no port\" is no address: write \"host:port\" or \":port\")\n\
        false\tbad argument #1 to 'dial' (invalid option 'sctp')\n\
        false\tnet.dial: there is no option timeot; there are: timeout, max\n";
    assert_eq!(ran.out, expected, "{}", ran.err);
}

#[test]
fn a_name_with_several_addresses_is_tried_in_order() {
    let stage = stage();
    let all = ["10.0.0.8", "10.0.0.9"].map(|ip| ip.parse().unwrap()).to_vec();
    stage.world.net.name("two.example", 0, Ok(all));
    let good = stage.world.net.host("10.0.0.9".parse().unwrap());
    let listener = good.listen("10.0.0.9:80".parse().unwrap(), 4).unwrap();
    stage.world.net.host("10.0.0.8".parse().unwrap());
    let ran = run_in(&stage, "local c = assert(net.dial('tcp', 'two.example:80')) print(c:getpeername())");
    assert_eq!(ran.out, "10.0.0.9\t80\tinet\n", "{}", ran.err);
    drop(listener);
}

#[test]
fn what_is_not_granted_is_refused() {
    let mut stage = stage();
    stage.grants = Grants::default();
    let ran = run_in(
        &stage,
        "print(net.dial('tcp', '10.0.0.1:80')) print(net.listen('tcp', ':81')) print(dns.resolve('db.internal')) print(net.udp())
         print(require 'socket'.connect('10.0.0.1', 80)) print(require 'socket'.bind('*', 81))",
    );
    assert_eq!(ran.out, "nil\tpermission denied\n".repeat(6), "{}", ran.err);
}

#[test]
fn a_listener_that_was_there_is_taken_over_and_stays() {
    is(
        "local l = assert(net.listen('tcp', '0.0.0.0:80')) print(net.listen('tcp', ':80')) l:close()
         l = assert(net.listen('tcp', ':80')) task.spawn(function() l:accept():send('hi') end)
         print(net.dial('tcp', '127.0.0.1:80'):receive('*a'))",
        "nil\taddress already in use\nhi\tnil\tnil\n",
    );
}

#[test]
fn a_stop_ends_the_accepting() {
    let stage = stage();
    let net = stage.world.net.clone();
    let time = stage.time();
    let text = format!(
        "{NAMES} local l = net.listen('tcp', ':80') for c in l:conns() do end print('drained') print(l:accept())"
    );
    let ran = stage.run_beside(&text, |executor| {
        executor.spawn(async move {
            time.sleep(Duration::from_secs(3)).await;
            net.close_listeners();
            None
        });
    });
    let ran = ran.unwrap();
    assert_eq!((ran.ending, ran.out.as_str()), (Ending::Exited(0), "drained\nnil\tclosed\n"), "{}", ran.err);
}

#[test]
fn a_splice_passes_everything_on_both_ways() {
    let stage = stage();
    stage.world.net.set_weather(Weather::STORMY);
    let back = stage.world.net.host("10.0.0.5".parse().unwrap());
    let listener = back.listen("10.0.0.5:9".parse().unwrap(), 4).unwrap();
    let text = format!(
        "{NAMES} local l = net.listen('tcp', ':80')
         task.spawn(function() local c = l:accept() print(c:splice(assert(net.dial('tcp', '10.0.0.5:9')))) l:close() end)
         local c = net.dial('tcp', '127.0.0.1:80') task.spawn(function() c:send(('x'):rep(50000)) c:shutdown('send') end) local all = c:receive('*a') print(#all)"
    );
    let ran = stage.run_beside(&text, |executor| {
        executor.spawn(async move {
            let (stream, _) = until(&*listener, Interest::Read, || listener.accept()).await.unwrap();
            let mut buf = [0; 1000];
            loop {
                match until(&*stream, Interest::Read, || stream.read(&mut buf)).await.unwrap() {
                    0 => return None,
                    mut n => {
                        while n > 0 {
                            n -= until(&*stream, Interest::Write, || stream.write(&buf[..n])).await.unwrap();
                        }
                    }
                }
            }
        });
    });
    let ran = ran.unwrap();
    assert_eq!(ran.out, "50000\t50000\n50000\n", "{}", ran.err);
}

#[test]
fn what_the_main_chunk_opened_is_there_when_it_has_returned() {
    let text = "
        local l = assert(net.listen('tcp', ':80'))
        -- Both of main's: the listener, and what is accepted and used by another without being given to it.
        task.spawn(function()
            for c in l:conns() do task.spawn(function()
                task.sleep(1)
                c:send('late\\n') c:close()
                l:close()
            end) end
        end)
        local c = assert(net.dial('tcp', '127.0.0.1:80'))
        task.spawn(function() print((c:receive())) end)
        print 'returned'";
    is(text, "returned\nlate\n");
}
