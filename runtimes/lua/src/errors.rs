//! Errors as Lua programs know them.

use lunette_hostcalls::Errno;

/// LuaSocket's words for an error of the network (its `pierror.h` and `usocket.c`), to the byte.
pub(crate) fn words(errno: Errno) -> String {
    match errno {
        Errno::Timedout | Errno::Again => "timeout",
        Errno::Pipe | Errno::Connreset | Errno::Connaborted => "closed",
        Errno::Connrefused => "connection refused",
        Errno::Noent => "host not found",
        Errno::Addrinuse => "address already in use",
        Errno::Isconn => "already connected",
        Errno::Acces => "permission denied",
        // As Linux says them: what LuaSocket passes on.
        Errno::Hostunreach => "No route to host",
        Errno::Netunreach => "Network is unreachable",
        Errno::Addrnotavail => "Cannot assign requested address",
        Errno::Notconn => "Transport endpoint is not connected",
        Errno::Already => "Operation already in progress",
        Errno::Inval => "Invalid argument",
        Errno::Mfile => "Too many open files",
        Errno::Msgsize => "Message too long",
        Errno::Netdown => "Network is down",
        Errno::Nobufs => "No buffer space available",
        Errno::Nomem => "Cannot allocate memory",
        other => return other.to_string(),
    }
    .to_owned()
}

/// `nil, message`: what a call answers that failed in operation.
pub(crate) fn failure(message: impl Into<String>) -> (mlua::Value, Option<String>) {
    (mlua::Value::Nil, Some(message.into()))
}
