//! A test image: a server without an engine, many tasks on one executor. What its peers see is the kernel and the stack
//! alone.
//!
//! | port | |
//! |---|---|
//! | 7 | sends back what it gets (RFC 862) |
//! | 7/udp | says how many KiB are free |
//! | 9 | throws it away (RFC 863) |
//! | 19 | sends without end (RFC 864) |
//!
//! Asked to stop, it takes no more connections, and ends with 0 once the last is closed.

use std::sync::Arc;

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
    let timers = Arc::new(Timers::default());
    let mut executor = Executor::new(timers.clone());
    for (port, service) in [(7, Service::Echo), (9, Service::Discard), (19, Service::Generate)] {
        let listener = net.listen(([0_u16; 8], port).into(), 128).expect("the port is free");
        executor.spawn(accept(listener, service, timers.clone()));
    }
    let datagrams = net.bind(([0_u16; 8], 7).into()).expect("the port is free");
    executor.spawn(tell(datagrams, timers.clone()));
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

    fn begin_interruptible(&mut self) -> bool {
        self.host.begin_interruptible()
    }

    fn end_interruptible(&mut self) {
        self.host.end_interruptible();
    }
}

async fn wait(source: Arc<dyn Source>, interest: Interest, timers: &Timers) {
    ready(&Wait::socket(source, interest), &KernelClock, &KernelStdio, timers).await;
}

async fn accept(listener: Arc<dyn TcpListener>, service: Service, timers: Arc<Timers>) -> Done {
    loop {
        match listener.accept() {
            Ok((stream, _)) => return Done::Accepted(Ok(stream), listener, service),
            Err(Errno::Again) => wait(listener.clone(), Interest::Read, &timers).await,
            Err(errno) => return Done::Accepted(Err(errno), listener, service),
        }
    }
}

async fn serve(stream: Arc<dyn TcpStream>, service: Service, timers: Arc<Timers>) -> Done {
    let _ = match service {
        Service::Echo => echo(&stream, &timers).await,
        Service::Discard => discard(&stream, &timers).await,
        Service::Generate => generate(&stream, &timers).await,
    };
    Done::Ended
}

/// What is there, into a buffer that nobody holds while there is nothing.
async fn read(stream: &Arc<dyn TcpStream>, timers: &Timers) -> Result<Vec<u8>, Errno> {
    loop {
        let bytes = stream.ready(Interest::Read).bytes.clamp(1, 64 * 1024);
        let mut buffer = vec![0; bytes as usize];
        match stream.read(&mut buffer) {
            Err(Errno::Again) => {}
            Ok(n) => {
                buffer.truncate(n);
                return Ok(buffer);
            }
            Err(errno) => return Err(errno),
        }
        drop(buffer);
        wait(stream.clone(), Interest::Read, timers).await;
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

async fn echo(stream: &Arc<dyn TcpStream>, timers: &Timers) -> Result<(), Errno> {
    loop {
        let bytes = read(stream, timers).await?;
        if bytes.is_empty() {
            return Ok(());
        }
        write_all(stream, &bytes, timers).await?;
    }
}

async fn discard(stream: &Arc<dyn TcpStream>, timers: &Timers) -> Result<(), Errno> {
    while !read(stream, timers).await?.is_empty() {}
    Ok(())
}

async fn generate(stream: &Arc<dyn TcpStream>, timers: &Timers) -> Result<(), Errno> {
    let bytes = [b'x'; 16 * 1024];
    loop {
        write_all(stream, &bytes, timers).await?;
    }
}

async fn tell(socket: Arc<dyn UdpSocket>, timers: Arc<Timers>) -> Done {
    loop {
        match socket.recv_from(&mut []) {
            Ok((.., from)) => drop(socket.send_to((mm::free_bytes() / 1024).to_string().as_bytes(), from)),
            Err(Errno::Again) => wait(socket.clone(), Interest::Read, &timers).await,
            Err(errno) => panic!("{errno}"),
        }
    }
}
