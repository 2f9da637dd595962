//! Whole servers on a network in memory: the engine, the executor, and peers who send and read as they like, in good
//! weather and in bad.

#[path = "stock/build.rs"]
mod build;

use std::{net::SocketAddr, sync::Arc};

use lunette_hostcalls::{
    Clock, Ctx, Ending, Errno, Guest as _, Interest, Listening, Net, Shutdown, Stdio, Step, TcpStream, Wait,
    fake::{FakeHost, FakeNet, FakeRandom, FakeWorld, Weather},
    task::{Executor, Timers, ready},
};
use lunette_wasm::Limits;

/// What a task comes to.
#[derive(Debug, PartialEq)]
enum End {
    Server(Ending),
    Client(Result<(), Errno>),
}

/// A world with a server and so many clients, each of which has so many bytes echoed.
struct Run {
    seed: u64,
    weather: Weather,
    clients: u64,
    bytes: usize,
    limits: Limits,
}

impl Run {
    /// Lets the clients be served, then stops the VM: how the server ended, and the host that waited.
    fn go(&self, module: &[u8]) -> (Ending, FakeHost) {
        let world = FakeWorld::new(self.seed);
        world.net.set_weather(self.weather.clone());
        let at: SocketAddr = "10.0.2.15:7".parse().unwrap();
        let listener = world.net.listen(at, 64).unwrap();
        let mut ctx = world.ctx(&["echo"], &[("LISTEN_FDS", "1"), ("LISTEN_FDNAMES", "7")]);
        ctx.listeners.push(Listening { name: "7".into(), socket: listener });

        let (timers, mut host) = (Arc::new(Timers::default()), FakeHost::new(&world));
        let (clock, stdio) = (world.clock.clone(), world.stdio.clone());
        let mut executor = Executor::new(timers.clone());
        executor.spawn(serve(module, ctx, self.limits, &timers));
        let peers = world.net.host("10.0.2.77".parse().unwrap());
        for n in 0..self.clients {
            let random = FakeRandom::new(self.seed ^ (n << 32));
            let net = peers.clone();
            let (clock, stdio, timers) = (&*clock, &*stdio, &*timers);
            let bytes = self.bytes;
            executor.spawn(async move {
                let wait = async |stream: &Arc<dyn TcpStream>, interest| {
                    ready(&Wait::socket(stream.clone(), interest), clock, stdio, timers).await;
                };
                End::Client(client(&net, at, &random, bytes, wait).await)
            });
        }
        for _ in 0..self.clients {
            assert_eq!(executor.next(&*clock, &mut host), Some(End::Client(Ok(()))), "seed {}", self.seed);
        }
        world.net.close_listeners();
        let Some(End::Server(ending)) = executor.next(&*clock, &mut host) else {
            panic!("seed {}", self.seed)
        };
        drop(executor);
        // Nothing is held by anybody; what is still on its way comes to its end.
        while let Some(next) = world.net.next() {
            clock.advance(next.saturating_sub(clock.monotonic()));
            world.net.poll();
        }
        assert_eq!(world.net.open(), 0, "all is closed");
        (ending, host)
    }
}

async fn serve(module: &[u8], ctx: Ctx, limits: Limits, timers: &Timers) -> End {
    let (clock, stdio): (Arc<dyn Clock>, Arc<dyn Stdio>) = (ctx.clock.clone(), ctx.stdio.clone());
    let mut guest = lunette_wasm::start(module, ctx, limits).unwrap();
    loop {
        match guest.step() {
            Step::Wait(wait) => ready(&wait, &*clock, &*stdio, timers).await,
            Step::Ended(ending) => return End::Server(ending),
        }
    }
}

/// Sends bytes in pieces of any size and its end after them, and reads what comes back, both at once.
async fn client(
    net: &FakeNet,
    at: SocketAddr,
    random: &FakeRandom,
    bytes: usize,
    wait: impl AsyncFn(&Arc<dyn TcpStream>, Interest),
) -> Result<(), Errno> {
    let stream = net.connect(at)?;
    while stream.connected() == Err(Errno::Again) {
        wait(&stream, Interest::Write).await;
    }
    stream.connected()?;
    let text: Vec<u8> = (0..bytes).map(|_| random.next() as u8).collect();
    let (mut sent, mut back) = (0, Vec::new());
    let mut buf = [0; 3000];
    loop {
        let mut moved = false;
        if sent < text.len() {
            let piece = (1 + random.below(5000) as usize).min(text.len() - sent);
            match stream.write(&text[sent..sent + piece]) {
                Ok(n) => {
                    sent += n;
                    moved = true;
                    if sent == text.len() {
                        stream.shutdown(Shutdown::Write)?;
                    }
                }
                Err(Errno::Again) => {}
                Err(error) => return Err(error),
            }
        }
        match stream.read(&mut buf) {
            Ok(0) => break,
            Ok(n) => {
                back.extend_from_slice(&buf[..n]);
                moved = true;
            }
            Err(Errno::Again) => {}
            Err(error) => return Err(error),
        }
        if !moved {
            // An echo: what can't be sent is held up by what is not read.
            wait(&stream, Interest::Read).await;
        }
    }
    assert!(back == text, "{} bytes came back of {}", back.len(), text.len());
    Ok(())
}

fn weathers() -> [Weather; 3] {
    [Weather::CALM, Weather::STORMY, Weather { window: 7, short: true, ..Weather::CALM }]
}

#[test]
fn a_loop_in_wat_echoes_in_any_weather() {
    let module = wat::parse_str(include_str!("stock/loop.wat")).unwrap();
    for (n, weather) in weathers().into_iter().enumerate() {
        for limits in [Limits::default(), Limits { slices: true, ..Limits::default() }] {
            let bytes = if weather.window < 100 { 500 } else { 50_000 };
            let run = Run { seed: 1 + n as u64, weather: weather.clone(), clients: 5, bytes, limits };
            let (ending, _) = run.go(&module);
            assert_eq!(ending, Ending::Exited(Errno::Canceled.code().into()));
        }
    }
}

#[test]
fn the_echo_server_in_c_serves_many_at_once_in_any_weather() {
    let Some(module) = build::clang("../../samples/tcp-echo-c/echo.c") else { return };
    for (n, weather) in weathers().into_iter().enumerate() {
        let bytes = if weather.window < 100 { 500 } else { 50_000 };
        let run = Run { seed: 10 + n as u64, weather, clients: 40, bytes, limits: Limits::default() };
        let (ending, host) = run.go(&module);
        assert_eq!(ending, Ending::Exited(0));
        assert!(host.parks <= host.idle + 10, "{} of {}: it does not spin", host.idle, host.parks);
    }
}
