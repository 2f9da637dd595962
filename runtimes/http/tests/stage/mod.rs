//! Two hosts on a network in memory, and tasks on both: time passes when all of them wait.

use std::{cell::RefCell, future::poll_fn, net::SocketAddr, rc::Rc, sync::Arc, task::Poll, time::Duration};

use lunette_hostcalls::{
    Clock, Errno, Grants, Interest, Nanos, Net, Network, TcpListener, TcpStream,
    fake::{FakeHost, FakeNet, FakeWorld},
    task::{Executor, Local, Spawner, Time, Timers, until},
};
use lunette_http::tls;

pub(crate) const AT: &str = "10.0.2.15:80";

/// A world, and the host that asks.
pub(crate) struct Stage {
    pub(crate) world: FakeWorld,
    pub(crate) peers: FakeNet,
    pub(crate) time: Time,
    timers: Arc<Timers>,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self::seeded(1)
    }

    pub(crate) fn seeded(seed: u64) -> Self {
        let world = FakeWorld::new(seed);
        let peers = world.net.host("10.0.2.77".parse().unwrap());
        let timers = Arc::<Timers>::default();
        Self { time: Time::new(world.clock.clone(), timers.clone()), world, peers, timers }
    }

    /// Runs `main`, and whatever it spawns, until `main` ends.
    #[track_caller]
    pub(crate) fn run<T: 'static>(&self, main: impl AsyncFnOnce(Spawner) -> T + 'static) -> T {
        let mut local = Local::default();
        let spawner = local.spawner().clone();
        let result = Rc::new(RefCell::new(None));
        let place = result.clone();
        local.spawner().spawn(async move {
            let value = main(spawner).await;
            *place.borrow_mut() = Some(value);
        });
        let ended = result.clone();
        let mut executor = Executor::new(self.timers.clone());
        executor.spawn(poll_fn(move |cx| {
            let _ = local.poll(cx);
            if ended.borrow().is_some() { Poll::Ready(()) } else { Poll::Pending }
        }));
        let mut host = FakeHost::new(&self.world);
        let over = executor.next(&*self.world.clock, &mut host);
        assert!(over.is_some(), "it waits for ever");
        drop(executor);
        result.take().unwrap()
    }

    pub(crate) fn now(&self) -> Nanos {
        self.world.clock.monotonic()
    }

    pub(crate) fn listen(&self, at: &str) -> Arc<dyn TcpListener> {
        self.world.net.listen(at.parse().unwrap(), 2000).unwrap()
    }

    /// The network of whoever asks: all is granted.
    pub(crate) fn network(&self) -> Network {
        let mut grants = Grants::default();
        grants.connect.push("*:*".parse().unwrap());
        grants.resolve.push("*".parse().unwrap());
        Network::new("test".into(), Arc::new(self.peers.clone()), grants, self.world.log.clone())
    }
}

pub(crate) async fn accept(listener: &Arc<dyn TcpListener>) -> Arc<dyn TcpStream> {
    until(&**listener, Interest::Read, || listener.accept()).await.unwrap().0
}

pub(crate) async fn connect(net: &FakeNet, at: &str) -> Arc<dyn TcpStream> {
    let stream = net.connect(at.parse::<SocketAddr>().unwrap()).unwrap();
    until(&*stream, Interest::Write, || stream.connected()).await.unwrap();
    stream
}

pub(crate) async fn send(stream: &Arc<dyn TcpStream>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let sent = until(&**stream, Interest::Write, || stream.write(bytes)).await?;
        bytes = &bytes[sent..];
    }
    Ok(())
}

/// What comes next; empty at the end.
pub(crate) async fn some(stream: &Arc<dyn TcpStream>) -> Result<Vec<u8>, Errno> {
    let mut buf = [0; 4096];
    let took = until(&**stream, Interest::Read, || stream.read(&mut buf)).await?;
    Ok(buf[..took].to_vec())
}

/// All that comes, to the end.
pub(crate) async fn all(stream: &Arc<dyn TcpStream>) -> Vec<u8> {
    let mut got = Vec::new();
    while let Ok(piece) = some(stream).await {
        if piece.is_empty() {
            break;
        }
        got.extend(piece);
    }
    got
}

/// Reads until what came ends in `end`.
pub(crate) async fn read_until(stream: &Arc<dyn TcpStream>, end: &str) -> String {
    let mut got = Vec::new();
    let mut buf = [0; 1];
    while !got.ends_with(end.as_bytes()) {
        let took = until(&**stream, Interest::Read, || stream.read(&mut buf)).await.unwrap_or(0);
        if took == 0 {
            panic!("the end after {:?}", String::from_utf8_lossy(&got));
        }
        got.push(buf[0]);
    }
    String::from_utf8(got).unwrap()
}

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// Certificates for tests, by an issuer of their own.
pub(crate) struct Issuer {
    params: rcgen::CertificateParams,
    key: rcgen::KeyPair,
    pub(crate) pem: String,
}

/// In PEM.
pub(crate) struct Issued {
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl Issued {
    pub(crate) fn identity(&self) -> tls::Identity<'_> {
        tls::Identity { chain: self.chain.as_bytes(), key: self.key.as_bytes() }
    }
}

impl Issuer {
    pub(crate) fn new() -> Self {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2040, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let name = format!("issuer {:x?}", &key.public_key_raw()[..8]);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { params, key, pem }
    }

    pub(crate) fn issue(&self, names: &[&str]) -> Issued {
        self.issue_until(names, 2020, 2040)
    }

    pub(crate) fn issue_until(&self, names: &[&str], from: i32, until: i32) -> Issued {
        let names: Vec<String> = names.iter().map(|name| (*name).into()).collect();
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let issuer = rcgen::Issuer::from_params(&self.params, &self.key);
        let chain = params.signed_by(&key, &issuer).unwrap().pem();
        Issued { chain, key: key.serialize_pem() }
    }
}
