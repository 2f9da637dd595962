//! Clients of a script's server, on another host of the fake network: what they send is theirs to say, to the byte.

use std::{cell::RefCell, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use lunette_hostcalls::{
    Ending, Errno, Interest, Net, TcpStream,
    fake::FakeNet,
    task::{Time, until},
};

use crate::world::{Ran, Stage};

/// A connection to the script's port 80.
pub(crate) struct Peer {
    net: FakeNet,
    time: Time,
    socket: Arc<dyn TcpStream>,
    /// What came and is not read yet.
    came: RefCell<Vec<u8>>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| &value[..]).collect()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("text")
    }
}

impl Peer {
    pub(crate) async fn connect(net: FakeNet, time: Time) -> Self {
        let at: SocketAddr = "10.0.2.15:80".parse().expect("an address");
        let socket = loop {
            let socket = net.connect(at).expect("a way");
            match until(&*socket, Interest::Write, || socket.connected()).await {
                Ok(()) => break socket,
                // Not listening yet.
                Err(Errno::Connrefused) => time.sleep(Duration::from_millis(1)).await,
                Err(errno) => panic!("can't connect: {errno}"),
            }
        };
        Self { net, time, socket, came: RefCell::default() }
    }

    /// Another connection.
    pub(crate) async fn again(&self) -> Self {
        Self::connect(self.net.clone(), self.time.clone()).await
    }

    pub(crate) async fn wait(&self, seconds: f64) {
        self.time.sleep(Duration::from_secs_f64(seconds)).await;
    }

    pub(crate) async fn write(&self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match until(&*self.socket, Interest::Write, || self.socket.write(bytes)).await {
                Ok(took) => bytes = &bytes[took..],
                // Told by what is read.
                Err(_) => return,
            }
        }
    }

    pub(crate) fn abort(&self) {
        self.socket.abort();
    }

    /// Takes in more of what comes; `false`: there is no more.
    pub(crate) async fn read_some(&self) -> bool {
        let mut buf = [0; 16 << 10];
        match until(&*self.socket, Interest::Read, || self.socket.read(&mut buf)).await {
            Ok(0) | Err(_) => false,
            Ok(took) => {
                self.came.borrow_mut().extend_from_slice(&buf[..took]);
                true
            }
        }
    }

    pub(crate) async fn read_all(&self) -> Vec<u8> {
        while self.read_some().await {}
        self.came.take()
    }

    /// So much of what comes, to the byte.
    pub(crate) async fn exactly(&self, count: usize) -> Vec<u8> {
        while self.came.borrow().len() < count {
            assert!(self.read_some().await, "it ends early: {:?}", self.shown());
        }
        self.came.borrow_mut().drain(..count).collect()
    }

    pub(crate) fn shown(&self) -> String {
        String::from_utf8_lossy(&self.came.borrow()).into_owned()
    }

    async fn up_to(&self, end: &[u8]) -> Vec<u8> {
        loop {
            let at = self.came.borrow().windows(end.len()).position(|bytes| bytes == end);
            if let Some(at) = at {
                return self.exactly(at + end.len()).await;
            }
            assert!(self.read_some().await, "it ends early: {:?}", self.shown());
        }
    }

    pub(crate) async fn ask(&self, request: &str) -> Answer {
        self.write(request.as_bytes()).await;
        if request.starts_with("HEAD") { self.head().await } else { self.answer().await }
    }

    /// An answer's head, and no body.
    pub(crate) async fn head(&self) -> Answer {
        let head = String::from_utf8(self.up_to(b"\r\n\r\n").await).expect("text");
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().expect("a status line");
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let field =
            |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        Answer { status, headers: lines.filter_map(field).collect(), body: Vec::new() }
    }

    pub(crate) async fn answer(&self) -> Answer {
        let mut answer = self.head().await;
        if matches!(answer.status, 101 | 204 | 304) {
            return answer;
        }
        if let Some(length) = answer.header("content-length") {
            let length = length.parse().expect("a length");
            answer.body = self.exactly(length).await;
        } else if answer.header("transfer-encoding") == Some("chunked") {
            loop {
                let line = String::from_utf8(self.up_to(b"\r\n").await).expect("text");
                let length = usize::from_str_radix(line.trim(), 16).expect("a length");
                let piece = self.exactly(length + 2).await;
                if length == 0 {
                    break;
                }
                answer.body.extend_from_slice(&piece[..length]);
            }
        } else {
            answer.body = self.read_all().await;
        }
        answer
    }
}

/// Runs a script that serves port 80 until `talk` has ended.
#[track_caller]
pub(crate) fn talked<F: Future<Output = ()>>(
    stage: &Stage,
    script: &str,
    talk: impl FnOnce(Peer) -> F,
) -> Ran {
    let net = stage.world.net.host("10.0.0.9".parse().expect("an address"));
    let time = stage.time();
    let done = Rc::new(RefCell::new(false));
    let told = done.clone();
    let ran = stage.run_beside(script, |executor| {
        let peer = Peer::connect(net, time);
        let talk = async move {
            talk(peer.await).await;
            *told.borrow_mut() = true;
            Some(Ending::Exited(0))
        };
        // Nobody waits longer than the talk does.
        executor.spawn(talk);
    });
    let ran = ran.unwrap_or_else(|problem| panic!("{problem}"));
    assert!(*done.borrow(), "the script ended first: {}\n{}", ran.out, ran.err);
    ran
}

/// The same with this as the handler.
#[track_caller]
pub(crate) fn served<F: Future<Output = ()>>(handler: &str, talk: impl FnOnce(Peer) -> F) -> Ran {
    let mut stage = Stage::new();
    stage.listen = vec!["80"];
    let script = format!("assert(require('http').serve{{ handler = function(req) {handler}\nend }}):wait()");
    talked(&stage, &script, talk)
}
