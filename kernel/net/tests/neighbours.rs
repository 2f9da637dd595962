//! Three stacks on one wire: two that ask one, all at once and as strangers; and two that have one address.

mod wire;

use std::{net::SocketAddr, sync::Arc};

use lunette_hostcalls::{Errno, Interest, Net, Shutdown, TcpListener, TcpStream};
use lunette_net::{Config, Stack, V4, V6};
use wire::{Faults, MS, Nanos, Port, SECOND, Waits, World, program, v4, v6};

/// Answers each connection with what it said, until the listener is closed.
async fn echo(waits: &Waits, listener: Arc<dyn TcpListener>) {
    let mut open = futures_util::stream::FuturesUnordered::new();
    loop {
        use futures_util::{FutureExt as _, StreamExt as _};
        futures_util::select_biased! {
            came = waits.accept(&listener).fuse() => match came {
                Ok(stream) => open.push(echo_one(waits, stream)),
                Err(Errno::Canceled) => break,
                Err(error) => panic!("accept: {error}"),
            },
            _ = open.select_next_some() => {}
        }
    }
    use futures_util::StreamExt as _;
    while open.next().await.is_some() {}
}

async fn echo_one(waits: &Waits, stream: Arc<dyn TcpStream>) {
    let mut buf = [0; 4096];
    while let Ok(length @ 1..) = waits.read(&stream, &mut buf).await {
        if waits.write_all(&stream, &buf[..length]).await.is_err() {
            return;
        }
    }
    let _ = stream.shutdown(Shutdown::Write);
}

/// Says something and hears it again.
async fn ask(waits: &Waits, net: &Stack<Port>, to: SocketAddr, length: usize) -> Result<(), Errno> {
    let stream = waits.connect(net, to).await?;
    let said: Vec<u8> = (0..length).map(|at| (at * 7 + usize::from(to.port())) as u8).collect();
    waits.write_all(&stream, &said).await?;
    stream.shutdown(Shutdown::Write)?;
    let (mut heard, mut buf) = (Vec::new(), [0; 4096]);
    loop {
        match waits.read(&stream, &mut buf).await? {
            0 => break,
            length => heard.extend_from_slice(&buf[..length]),
        }
    }
    assert_eq!(heard, said);
    Ok(())
}

#[test]
fn two_clients_and_one_server_meet_for_the_first_time() {
    for seed in 0..30 {
        let bad = Faults {
            loss: 50_000,
            duplicate: 100_000,
            reorder: 100_000,
            jitter: 3 * MS,
            ..Faults::default()
        };
        let faults = if seed % 3 == 0 { Faults::default() } else { bad };
        let mut world = World::new("three", seed, faults);
        let (server, one, two) = (world.stack(), world.stack(), world.stack());
        let listeners = [server.listen(v4(1, 80), 64).unwrap(), server.listen(v6(1, 81), 64).unwrap()];
        let waits = world.waits();
        let clients = async {
            let asks = [&one, &two].into_iter().flat_map(|net| (0..20).map(move |n| (net, n)));
            let asks = asks.map(|(net, n)| {
                let to = if n % 2 == 0 { v4(1, 80) } else { v6(1, 81) };
                ask(&waits, net, to, 1 + n * 500)
            });
            for result in futures_util::future::join_all(asks).await {
                assert_eq!(result, Ok(()));
            }
            server.close_listeners();
        };
        let [first, second] = listeners;
        world.run([program(echo(&waits, first)), program(echo(&waits, second)), program(clients)]);
    }
}

/// Two machines with one address, and a third that talks with it. What they get is not defined; but each asking ends,
/// and when one of the two is gone the other is found again.
#[test]
fn two_with_one_address() {
    for seed in 0..6 {
        let mut world = World::new("conflict", seed, Faults { jitter: MS, ..Faults::default() });
        world.set_limit(3600 * SECOND);
        let client = world.stack();
        let twin = || Config {
            ipv4: V4::Static { address: ([10, 0, 0, 9].into(), 24), gateway: None },
            ipv6: V6::Static { address: ([0xfd00, 0, 0, 0, 0, 0, 0, 9].into(), 64), gateway: None },
            ..Config::default()
        };
        let twins = [world.stack_with(twin()), world.stack_with(twin())];
        let listeners =
            twins.iter().flat_map(|twin| [twin.listen(v4(9, 80), 16), twin.listen(v6(9, 81), 16)]);
        let listeners: Vec<_> = listeners.map(Result::unwrap).collect();
        let (waits, wire) = (world.waits(), world.wire.clone());
        let talk = async {
            for n in 0..20 {
                let to = if n % 2 == 0 { v4(9, 80) } else { v6(9, 81) };
                let began = waits.now();
                match ask(&waits, &client, to, 3000).await {
                    Ok(())
                    | Err(
                        Errno::Connreset
                        | Errno::Connrefused
                        | Errno::Timedout
                        | Errno::Hostunreach
                        | Errno::Pipe,
                    ) => {}
                    Err(error) => panic!("{error:?}"),
                }
                assert!(waits.now() - began < 300 * SECOND);
                waits.sleep(SECOND).await;
            }
            for port in [0, 1] {
                wire.set_cut(port, 2, true);
                wire.set_cut(2, port, true);
            }
            // A neighbour is believed for a minute.
            waits.sleep(70 * SECOND).await;
            for to in [v4(9, 80), v6(9, 81)] {
                assert_eq!(ask(&waits, &client, to, 3000).await, Ok(()), "{to}");
            }
            twins.iter().for_each(|twin| twin.close_listeners());
        };
        let echoes = listeners.into_iter().map(|listener| program(echo(&waits, listener)));
        let programs: Vec<_> = echoes.chain([program(talk)]).collect();
        world.run(programs);
    }
}

/// Datagrams arrive whole, or not, or twice, or late; never changed, and with the right sender.
#[test]
fn datagrams_arrive_whole_or_not_at_all() {
    for seed in 0..20 {
        let faults = Faults {
            loss: 100_000,
            duplicate: 100_000,
            corrupt: 100_000,
            reorder: 100_000,
            ..Faults::default()
        };
        let mut world = World::new("datagrams", seed, faults);
        let (one, two) = (world.stack(), world.stack());
        let to = if seed % 2 == 0 { v4 } else { v6 };
        let (from, at) = (one.bind(to(2 - 1, 1000)).unwrap(), two.bind(to(2, 53)).unwrap());
        let waits = world.waits();
        const COUNT: u16 = 300;
        let content = |n: u16| -> Vec<u8> {
            n.to_be_bytes().into_iter().cycle().take(2 + usize::from(n) * 4).collect()
        };
        let send = program(async {
            for n in 0..COUNT {
                waits
                    .until(from.clone(), Interest::Write, || from.send_to(&content(n), to(2, 53)))
                    .await
                    .unwrap();
                waits.sleep(MS).await;
            }
        });
        let mut heard = Vec::new();
        let hear = program(async {
            let until: Nanos = waits.now() + 5 * SECOND;
            let mut buf = [0; 2000];
            while waits.now() < until {
                match at.recv_from(&mut buf) {
                    Ok((took, length, from)) => {
                        assert_eq!((took, from), (length, to(1, 1000)));
                        let n = u16::from_be_bytes([buf[0], buf[1]]);
                        assert_eq!(buf[..took], content(n));
                        heard.push(n);
                    }
                    Err(Errno::Again) => {
                        let mut wait = lunette_hostcalls::Wait::socket(at.clone(), Interest::Read);
                        wait.until = Some(until);
                        waits.ready(&wait).await;
                    }
                    Err(error) => panic!("{error:?}"),
                }
            }
        });
        world.run([send, hear]);
        let all = heard.len();
        heard.sort_unstable();
        heard.dedup();
        assert!(heard.len() > 150 && heard.len() < 300 && all > heard.len(), "{} {all}", heard.len());
    }
}
