//! A server on one host, whoever asks it on another: time passes when all of them wait.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    task::Poll,
};

use lunette_component::serve::{Front, Handler, Routes, Server, Settings};
use lunette_hostcalls::{
    Ctx, Ending, Errno, Grants, Interest, Listening, Log, Nanos, Net, TcpListener, TcpStream,
    fake::{FakeHost, FakeNet, FakeWorld},
    task::{Executor, Local, Spawner, Time, Timers, until},
};
use lunette_native::{Engine, Variant};

use crate::common::{Program, Ticks, passing, still, ticks};

pub(crate) const AT: &str = "10.0.2.15:80";

/// What passes while all have a go: the network needs a few of these for a request, a limit of a second has room for
/// twenty thousand ...
pub(crate) const SLOW: Nanos = 50_000;
/// ... and this much brings it about.
pub(crate) const FAST: Nanos = 100_000_000;

pub(crate) struct Stage {
    pub(crate) world: FakeWorld,
    /// The host that asks.
    pub(crate) peers: FakeNet,
    pub(crate) time: Time,
    timers: Arc<Timers>,
    /// How the server ended, if it has.
    pub(crate) ended: RefCell<Option<Ending>>,
    ticks: Option<Ticks>,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let world = FakeWorld::new(1);
        let peers = world.net.host("10.0.2.77".parse().unwrap());
        let timers = Arc::<Timers>::default();
        let time = Time::new(world.clock.clone(), timers.clone());
        Self { world, peers, time, timers, ended: RefCell::default(), ticks: None }
    }

    /// Where handlers that run on are interrupted.
    pub(crate) fn ticking() -> Self {
        Self { ticks: Some(ticks()), ..Self::new() }
    }

    /// A world in which the server listens.
    pub(crate) fn ctx(&self, grants: Option<Grants>) -> Ctx {
        let mut ctx = self.world.ctx(&["app"], &[("GREETING", "hello")]);
        let socket = self.world.net.listen(AT.parse().unwrap(), 2000).unwrap();
        ctx.listeners.push(Listening { name: "80".into(), socket });
        if let Some(grants) = grants {
            ctx.network = self.world.network(grants);
        }
        ctx
    }

    pub(crate) fn log(&self) -> Arc<dyn Log> {
        self.world.log.clone()
    }

    pub(crate) fn handler(&self, program: &Program, ctx: Ctx, settings: Settings) -> Handler {
        let engine = Engine::of(Variant::default()).unwrap();
        Handler::new(&engine, program.component(), ctx, self.time.clone(), self.log(), settings).unwrap()
    }

    /// Runs `client` before a server with these routes, until `client` ends.
    #[track_caller]
    pub(crate) fn serve_routes<T: 'static>(
        self: &Rc<Self>,
        routes: Routes,
        front: Front,
        client: impl AsyncFnOnce(Rc<Self>, Spawner) -> T + 'static,
    ) -> T {
        let _still = self.ticks.is_none().then(still);
        let mut server = Server::new(routes, self.time.clone(), self.log(), front).unwrap();
        let mut local = Local::default();
        let spawner = local.spawner().clone();
        let stage = self.clone();
        spawner.spawn(async move {
            let ending = server.run().await;
            stage.ended.replace(Some(ending));
        });
        let result = Rc::new(RefCell::new(None));
        let (place, stage, spawn) = (result.clone(), self.clone(), spawner.clone());
        spawner.spawn(async move {
            let value = client(stage, spawn).await;
            place.replace(Some(value));
        });
        let ended = result.clone();
        let mut executor = Executor::new(self.timers.clone());
        executor.spawn(poll_fn(move |cx| {
            let _ = local.poll(cx);
            if ended.borrow().is_some() { Poll::Ready(()) } else { Poll::Pending }
        }));
        let over = executor.next(&*self.world.clock, &mut FakeHost::new(&self.world));
        assert!(over.is_some(), "it waits for ever; the log: {:#?}", self.world.log.lines());
        drop(executor);
        result.take().unwrap()
    }

    #[track_caller]
    pub(crate) fn serve<T: 'static>(
        self: &Rc<Self>,
        program: &Program,
        settings: Settings,
        client: impl AsyncFnOnce(Rc<Self>, Spawner) -> T + 'static,
    ) -> T {
        let handler = self.handler(program, self.ctx(None), settings);
        self.serve_routes(Routes::all(handler), Front::default(), client)
    }

    /// Has time pass though a handler runs on: [`SLOW`], and as it is told.
    pub(crate) fn time_passes(&self, spawner: &Spawner) -> Rc<Cell<Nanos>> {
        let step = Rc::new(Cell::new(SLOW));
        let told = step.clone();
        spawner.spawn(passing::<()>(self.world.clock.clone(), move || told.get()));
        step
    }

    /// One request on a connection of its own; what came, to the end.
    pub(crate) async fn ask(&self, request: &str) -> String {
        let stream = self.connect().await;
        send(&stream, request.as_bytes()).await;
        rest(&stream).await
    }

    pub(crate) async fn get(&self, path: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")).await
    }

    pub(crate) async fn connect(&self) -> Arc<dyn TcpStream> {
        let stream = self.peers.connect(AT.parse().unwrap()).unwrap();
        until(&*stream, Interest::Write, || stream.connected()).await.unwrap();
        stream
    }

    #[track_caller]
    pub(crate) fn assert_logged(&self, words: &str) {
        let lines = self.world.log.lines();
        assert!(lines.iter().any(|line| line.contains(words)), "{words:?} is not in {lines:#?}");
    }
}

pub(crate) async fn accept(listener: &Arc<dyn TcpListener>) -> Arc<dyn TcpStream> {
    until(&**listener, Interest::Read, || listener.accept()).await.unwrap().0
}

pub(crate) async fn send(stream: &Arc<dyn TcpStream>, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let sent = until(&**stream, Interest::Write, || stream.write(bytes)).await.unwrap();
        bytes = &bytes[sent..];
    }
}

/// What comes next; empty at the end.
pub(crate) async fn some(stream: &Arc<dyn TcpStream>) -> Result<Vec<u8>, Errno> {
    let mut buf = [0; 4096];
    let took = until(&**stream, Interest::Read, || stream.read(&mut buf)).await?;
    Ok(buf[..took].to_vec())
}

pub(crate) async fn rest(stream: &Arc<dyn TcpStream>) -> String {
    let mut got = Vec::new();
    while let Ok(piece) = some(stream).await {
        if piece.is_empty() {
            break;
        }
        got.extend(piece);
    }
    String::from_utf8_lossy(&got).into_owned()
}

/// Reads until what came ends in `end`.
pub(crate) async fn read_until(stream: &Arc<dyn TcpStream>, end: &str) -> String {
    let mut got = Vec::new();
    let mut buf = [0; 1];
    while !got.ends_with(end.as_bytes()) {
        let took = until(&**stream, Interest::Read, || stream.read(&mut buf)).await.unwrap_or(0);
        assert!(took > 0, "the end after {:?}", String::from_utf8_lossy(&got));
        got.push(buf[0]);
    }
    String::from_utf8_lossy(&got).into_owned()
}
