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
        other => return other.to_string(),
    }
    .to_owned()
}

/// `nil, message`: what a call answers that failed in operation.
pub(crate) fn failure(message: impl Into<String>) -> (mlua::Value, Option<String>) {
    (mlua::Value::Nil, Some(message.into()))
}
