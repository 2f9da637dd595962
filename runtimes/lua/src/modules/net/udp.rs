//! The socket object of UDP: LuaSocket's `udp{unconnected}` and `udp{connected}`, and what `net.udp` gives.
//!
//! Answers and messages are LuaSocket's (`udp.c`), but one: a closed socket says `closed`, and not for ever that an empty
//! datagram came.

use std::{
    cell::{Cell, RefCell},
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
    task::Poll,
};

use lunette_hostcalls::{Errno, Interest, UdpSocket};
use mlua::{
    AnyUserData, IntoLuaMulti, Lua, MetaMethod, MultiValue, UserData, UserDataFields, UserDataMethods,
    UserDataRef,
};

use super::{
    address::{self, Family},
    args::{Args, bad_self},
    descriptor::{Descriptor, Kind, Sockets},
    fault::Fault,
    sockopt,
    tcp::{NO_DESCRIPTOR, name_of, set_timeout},
    wait::{Patience, Timeouts},
};
use crate::errors;
use crate::methods::Methods as _;

/// `socket._DATAGRAMSIZE`.
pub(crate) const DATAGRAM: usize = 8192;
/// The largest there is.
const MAX_DATAGRAM: usize = 65_535;
/// How many datagrams of others are passed over before the other tasks have their go.
const MAX_OTHERS: usize = 64;

pub(crate) struct Udp {
    sockets: Rc<Sockets>,
    descriptor: RefCell<Option<Rc<Descriptor>>>,
    family: Cell<Family>,
    /// The only one that is heard and sent to.
    peer: Cell<Option<SocketAddr>>,
    timeouts: Timeouts,
}

impl Udp {
    pub(crate) fn new(sockets: &Rc<Sockets>, family: Family) -> Self {
        let this = Self {
            sockets: sockets.clone(),
            descriptor: RefCell::default(),
            family: Cell::new(family),
            peer: Cell::default(),
            timeouts: Timeouts::default(),
        };
        if family != Family::Any {
            this.descriptor.replace(Some(sockets.open(Kind::New)));
        }
        this
    }

    pub(crate) fn descriptor(&self) -> Option<Rc<Descriptor>> {
        self.descriptor.borrow().clone()
    }

    pub(crate) fn number(&self) -> i64 {
        self.descriptor().filter(|descriptor| descriptor.is_open()).map_or(-1, |one| one.number().into())
    }

    fn class(&self) -> &'static str {
        if self.peer.get().is_some() { CONNECTED } else { UNCONNECTED }
    }

    fn class_is(&self, call: &str, class: &str) -> mlua::Result<()> {
        if self.class() == class { Ok(()) } else { Err(bad_self(call, class)) }
    }

    pub(crate) fn bind(&self, at: SocketAddr) -> Result<(), Fault> {
        let old = self.descriptor().filter(|descriptor| descriptor.is_open());
        if old.as_ref().is_some_and(|old| !old.with(|kind| matches!(kind, Kind::New))) {
            return Err(Errno::Inval.into());
        }
        let kind = Kind::Udp(self.sockets.world.ctx.network.bind(at)?);
        match old {
            Some(old) => drop(old.become_(kind)),
            None => drop(self.descriptor.replace(Some(self.sockets.open(kind)))),
        }
        // All addresses of IPv6 are those of IPv4 as well, unless it was made for IPv6 alone.
        let both = self.family.get() == Family::Any && at.is_ipv6() && at.ip().is_unspecified();
        self.family.set(if both { Family::Any } else { Family::of(at.ip()) });
        Ok(())
    }

    /// The socket, made with a port of the host's choice if there was none yet. One that was closed stays so.
    fn socket(&self, family: Family) -> Result<(Rc<Descriptor>, Arc<dyn UdpSocket>), Fault> {
        let none = match self.descriptor() {
            None => family != Family::Any,
            Some(descriptor) => descriptor.with(|kind| matches!(kind, Kind::New)),
        };
        if none {
            self.bind(SocketAddr::new(family.unspecified(), 0))?;
        }
        let descriptor = self.descriptor().ok_or(Fault::Closed)?;
        let socket = descriptor.with(|kind| match kind {
            Kind::Udp(socket) => Ok(socket.clone()),
            Kind::Closed => Err(Fault::Closed),
            _ => Err(Errno::Inval.into()),
        })?;
        Ok((descriptor, socket))
    }

    async fn send(&self, data: &mlua::LuaString, to: SocketAddr) -> Result<usize, Fault> {
        let patience = self.timeouts.begin(self.sockets.time());
        let (descriptor, socket) = self.socket(Family::of(to.ip()))?;
        let sent = patience.wait(self.sockets.time(), |cx| match descriptor.is_open() {
            true => descriptor.ask(&*socket, Interest::Write, cx, || socket.send_to(&data.as_bytes(), to)),
            false => Poll::Ready(Err(Fault::Closed)),
        });
        sent.await?;
        Ok(data.as_bytes().len())
    }

    async fn receive(&self, most: usize) -> Result<(Vec<u8>, SocketAddr), Fault> {
        let patience = self.timeouts.begin(self.sockets.time());
        let (descriptor, socket) = self.socket(self.family.get())?;
        let mut buf = vec![0; most.min(MAX_DATAGRAM)];
        let received = patience.wait(self.sockets.time(), |cx| {
            if !descriptor.is_open() {
                return Poll::Ready(Err(Fault::Closed));
            }
            for _ in 0..MAX_OTHERS {
                let got = descriptor.ask(&*socket, Interest::Read, cx, || socket.recv_from(&mut buf));
                match got {
                    Poll::Ready(Ok((_, _, from))) if self.peer.get().is_some_and(|peer| peer != from) => {}
                    got => return got,
                }
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        let (took, _, from) = received.await?;
        buf.truncate(took);
        Ok((buf, from))
    }

    async fn connect(&self, host: &str, port: &str) -> Result<(), String> {
        let port = address::port(port).ok_or(address::BAD_SERVICE)?;
        let addresses =
            address::addresses(&self.sockets, host, port, self.family.get(), Patience::ENDLESS).await;
        let addresses = addresses.map_err(|fault| address::lookup_words(&fault))?;
        self.connect_to(&addresses).map_err(|fault| fault.words())
    }

    /// Hears and sends to the first of these that there is a way to.
    pub(crate) fn connect_to(&self, addresses: &[SocketAddr]) -> Result<(), Fault> {
        let mut last = Fault::Closed;
        for to in addresses {
            match self.socket(Family::of(to.ip())) {
                Ok(_) => {
                    self.peer.set(Some(*to));
                    return Ok(());
                }
                Err(fault) => last = fault,
            }
        }
        Err(last)
    }
}

const CONNECTED: &str = "udp{connected}";
const UNCONNECTED: &str = "udp{unconnected}";

fn failed(lua: &Lua, fault: &Fault) -> mlua::Result<MultiValue> {
    errors::failure(fault.words()).into_lua_multi(lua)
}

fn sent(lua: &Lua, result: Result<usize, Fault>) -> mlua::Result<MultiValue> {
    match result {
        Ok(sent) => sent.into_lua_multi(lua),
        // LuaSocket's word: what does not listen has not taken it.
        Err(Fault::Closed) => errors::failure("refused").into_lua_multi(lua),
        Err(fault) => failed(lua, &fault),
    }
}

fn wanted(args: &Args<'_>) -> mlua::Result<usize> {
    Ok(args.opt_number(1)?.map_or(DATAGRAM, |most| most.max(0.0) as usize))
}

impl UserData for Udp {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_field_method_get("class", |_, this| Ok(this.class()));
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_function(MetaMethod::ToString, |_, object: AnyUserData| {
            Ok(format!("{}: {:p}", object.borrow::<Self>()?.class(), object.to_pointer()))
        });
        methods.add_meta_method(MetaMethod::Close, |_, this, _: MultiValue| {
            close(this);
            Ok(())
        });
        methods.method("close", |_, this, ()| {
            close(this);
            Ok(1)
        });
        methods.waiting_method("send", |lua, this: UserDataRef<Self>, values| async move {
            this.class_is("send", CONNECTED)?;
            let data = Args::new(&lua, "send", values).string(1)?;
            let Some(peer) = this.peer.get() else { return failed(&lua, &Fault::Closed) };
            sent(&lua, this.send(&data, peer).await)
        });
        methods.waiting_method("sendto", |lua, this: UserDataRef<Self>, values| async move {
            this.class_is("sendto", UNCONNECTED)?;
            let args = Args::new(&lua, "sendto", values);
            let (data, ip, port) = (args.string(1)?, args.text(2)?, args.text(3)?);
            // No names here: as in C, where a lookup would hold up everybody.
            let ip = ip.parse::<IpAddr>().ok().filter(|ip| this.family.get().takes(*ip));
            let (Some(ip), Some(port)) = (ip, address::port(&port)) else {
                return errors::failure("Name or service not known").into_lua_multi(&lua);
            };
            sent(&lua, this.send(&data, SocketAddr::new(ip, port)).await)
        });
        methods.waiting_method("receive", |lua, this: UserDataRef<Self>, values| async move {
            let most = wanted(&Args::new(&lua, "receive", values))?;
            match this.receive(most).await {
                Ok((data, _)) => lua.create_string(data)?.into_lua_multi(&lua),
                Err(fault) => failed(&lua, &fault),
            }
        });
        methods.waiting_method("receivefrom", |lua, this: UserDataRef<Self>, values| async move {
            this.class_is("receivefrom", UNCONNECTED)?;
            let most = wanted(&Args::new(&lua, "receivefrom", values))?;
            match this.receive(most).await {
                Ok((data, from)) => {
                    (lua.create_string(data)?, from.ip().to_string(), from.port()).into_lua_multi(&lua)
                }
                Err(fault) => failed(&lua, &fault),
            }
        });
        methods.waiting_method("setpeername", |lua, this: UserDataRef<Self>, values| async move {
            let args = Args::new(&lua, "setpeername", values);
            let host = args.text(1)?;
            if host == "*" {
                this.peer.set(None);
                return 1.into_lua_multi(&lua);
            }
            let port = args.text(2)?;
            match this.connect(&host, &port).await {
                Ok(()) => 1.into_lua_multi(&lua),
                Err(words) => errors::failure(words).into_lua_multi(&lua),
            }
        });
        methods.waiting_method("setsockname", |lua, this: UserDataRef<Self>, values| async move {
            this.class_is("setsockname", UNCONNECTED)?;
            let args = Args::new(&lua, "setsockname", values);
            let (host, port) = (args.text(1)?, args.text(2)?);
            match bind_by_name(&this, &host, &port).await {
                Ok(()) => 1.into_lua_multi(&lua),
                Err(words) => errors::failure(words).into_lua_multi(&lua),
            }
        });
        telling_methods(methods);
    }
}

async fn bind_by_name(this: &Udp, host: &str, port: &str) -> Result<(), String> {
    let port = address::port(port).ok_or(address::BAD_SERVICE)?;
    let addresses = match host {
        "*" => vec![SocketAddr::new(this.family.get().unspecified(), port)],
        host => address::addresses(&this.sockets, host, port, this.family.get(), Patience::ENDLESS)
            .await
            .map_err(|fault| address::lookup_words(&fault))?,
    };
    let mut last = Fault::Closed;
    for at in addresses {
        match this.bind(at) {
            Ok(()) => return Ok(()),
            Err(fault) => last = fault,
        }
    }
    Err(last.words())
}

fn close(this: &Udp) {
    if let Some(descriptor) = this.descriptor() {
        descriptor.close();
    }
}

fn telling_methods<M: UserDataMethods<Udp>>(methods: &mut M) {
    methods.method("dirty", |_, _, ()| Ok(false));
    methods.method("getfamily", |_, this, ()| {
        Ok(if this.family.get() == Family::V6 { "inet6" } else { "inet4" })
    });
    methods.method("getfd", |_, this, ()| Ok(this.number()));
    methods.method("setfd", |lua, this, values| {
        let number = Args::new(lua, "setfd", values).number(1)?;
        this.descriptor.replace((number >= 0.0).then(|| this.sockets.find(number as u32)).flatten());
        Ok(())
    });
    methods.method("getpeername", |lua, this, ()| {
        this.class_is("getpeername", CONNECTED)?;
        match this.peer.get() {
            Some(peer) if this.number() >= 0 => name_of(lua, peer, false),
            _ => errors::failure(NO_DESCRIPTOR).into_lua_multi(lua),
        }
    });
    methods.method("getsockname", |lua, this, ()| {
        let Some(descriptor) = this.descriptor().filter(|one| one.is_open()) else {
            return errors::failure(NO_DESCRIPTOR).into_lua_multi(lua);
        };
        let local = descriptor.with(|kind| match kind {
            Kind::Udp(socket) => socket.local(),
            _ => SocketAddr::new(this.family.get().unspecified(), 0),
        });
        name_of(lua, local, true)
    });
    methods.method("settimeout", |lua, this, values| set_timeout(lua, &this.timeouts, values));
    methods.method("gettimeout", |_, this, ()| Ok((this.timeouts.block.get(), this.timeouts.total.get())));
    methods.method("getoption", |lua, this, values| {
        let descriptor = this.descriptor().filter(|one| one.is_open());
        sockopt::get(lua, false, descriptor.as_deref(), values)
    });
    methods.method("setoption", |lua, this, values| {
        let descriptor = this.descriptor().filter(|one| one.is_open());
        sockopt::set(lua, false, descriptor.as_deref(), values)
    });
    methods.add_function("detach", |_, object: AnyUserData| {
        if let Some(descriptor) = object.borrow::<Udp>()?.descriptor() {
            descriptor.detach();
        }
        Ok(object)
    });
}
