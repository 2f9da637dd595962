//! A test image: a server without an engine, many tasks on one executor. What its peers see is the kernel and the stack
//! alone.
//!
//! | port | |
//! |---|---|
//! | 7 | sends back what it gets (RFC 862); by UDP too |
//! | 9 | throws it away (RFC 863) |
//! | 19 | sends without end (RFC 864) |
//!
//! Asked to stop, it takes no more connections, and ends with 0 once the last is closed.

use std::{rc::Rc, sync::Arc};

use lunette_hostcalls::{
    Errno, Interest, Net, Source, TcpListener, TcpStream, UdpSocket, Wait,
    farewell::Farewell,
    task::{Executor, Host, Timers, ready},
};
use lunette_kernel::{
    mm, network, platform,
    services::{KernelClock, KernelHost, KernelStdio},
};

#[global_allocator]
static HEAP: mm::Heap = mm::Heap;

#[derive(Clone, Copy)]
enum Service {
    Echo,
    Discard,
    Generate,
}

enum Done {
    Accepted(Result<Arc<dyn TcpStream>, Errno>, Arc<dyn TcpListener>, Service),
    Ended,
}

fn main() {
    std::panic::set_hook(Box::new(|info| lunette_kernel::report_panic(&format_args!("{info}"))));
    let net = network::raise().unwrap_or_else(|why| platform::refuse(format_args!("{why}")));
    println!("addresses {:?}", net.addresses());
    let timers = Rc::new(Timers::default());
    let mut executor = Executor::new(timers.clone());
    for (port, service) in [(7, Service::Echo), (9, Service::Discard), (19, Service::Generate)] {
        let listener = net.listen(([0_u16; 8], port).into(), 128).expect("the port is free");
        executor.spawn(accept(listener, service, timers.clone()));
    }
    let datagrams = net.bind(([0_u16; 8], 7).into()).expect("the port is free");
    executor.spawn(echo_datagrams(datagrams, timers.clone()));
    println!("serving");

    let mut open = 0;
    let mut stopping = false;
    let mut host = Stopping { host: KernelHost, net: net.clone() };
    while let Some(done) = executor.next(&KernelClock, &mut host) {
        match done {
            Done::Accepted(Ok(stream), listener, service) => {
                executor.spawn(accept(listener, service, timers.clone()));
                executor.spawn(serve(stream, service, timers.clone()));
                open += 1;
            }
            Done::Accepted(Err(errno), ..) => {
                assert_eq!(errno, Errno::Canceled);
                stopping = true;
            }
            Done::Ended => open -= 1,
        }
        if stopping && open == 0 {
            println!("drained");
            platform::end(&Farewell::Exit(0));
        }
    }
    platform::end(&Farewell::Stopped);
}

/// Closes the listeners when the VM is asked to stop.
struct Stopping {
    host: KernelHost,
    net: Arc<dyn Net>,
}

impl Host for Stopping {
    fn park(&mut self, idle: bool, until: Option<u64>) -> std::ops::ControlFlow<()> {
        let before = self.host.stopping();
        let flow = self.host.park(idle, until);
        if !before && self.host.stopping() {
            self.net.close_listeners();
        }
        flow
    }
}

async fn wait(source: Arc<dyn Source>, interest: Interest, timers: &Timers) {
    ready(&Wait::socket(source, interest), &KernelClock, &KernelStdio, timers).await;
}

async fn accept(listener: Arc<dyn TcpListener>, service: Service, timers: Rc<Timers>) -> Done {
    loop {
        match listener.accept() {
            Ok((stream, _)) => return Done::Accepted(Ok(stream), listener, service),
            Err(Errno::Again) => wait(listener.clone(), Interest::Read, &timers).await,
            Err(errno) => return Done::Accepted(Err(errno), listener, service),
        }
    }
}

async fn serve(stream: Arc<dyn TcpStream>, service: Service, timers: Rc<Timers>) -> Done {
    let mut buffer = vec![b'x'; 16 * 1024];
    let _ = match service {
        Service::Echo => echo(&stream, &mut buffer, &timers).await,
        Service::Discard => discard(&stream, &mut buffer, &timers).await,
        Service::Generate => generate(&stream, &buffer, &timers).await,
    };
    Done::Ended
}

async fn read(stream: &Arc<dyn TcpStream>, buffer: &mut [u8], timers: &Timers) -> Result<usize, Errno> {
    loop {
        match stream.read(buffer) {
            Err(Errno::Again) => wait(stream.clone(), Interest::Read, timers).await,
            done => return done,
        }
    }
}

async fn write_all(stream: &Arc<dyn TcpStream>, mut bytes: &[u8], timers: &Timers) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::Again) => wait(stream.clone(), Interest::Write, timers).await,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

async fn echo(stream: &Arc<dyn TcpStream>, buffer: &mut [u8], timers: &Timers) -> Result<(), Errno> {
    loop {
        let n = read(stream, buffer, timers).await?;
        if n == 0 {
            return Ok(());
        }
        write_all(stream, &buffer[..n], timers).await?;
    }
}

async fn discard(stream: &Arc<dyn TcpStream>, buffer: &mut [u8], timers: &Timers) -> Result<(), Errno> {
    while read(stream, buffer, timers).await? > 0 {}
    Ok(())
}

async fn generate(stream: &Arc<dyn TcpStream>, buffer: &[u8], timers: &Timers) -> Result<(), Errno> {
    loop {
        write_all(stream, buffer, timers).await?;
    }
}

async fn echo_datagrams(socket: Arc<dyn UdpSocket>, timers: Rc<Timers>) -> Done {
    let mut buffer = vec![0; 65536];
    loop {
        match socket.recv_from(&mut buffer) {
            Ok((took, _, from)) => drop(socket.send_to(&buffer[..took], from)),
            Err(Errno::Again) => wait(socket.clone(), Interest::Read, &timers).await,
            Err(errno) => panic!("{errno}"),
        }
    }
}
