---@meta net

--- Connections and datagrams. Failure is `nil, message` with LuaSocket's words: `timeout`, `closed`, `connection refused`,
--- `host not found`, `address already in use`, `permission denied`, … A socket is its task's and is closed with it;
--- those of the main chunk are the script's.
local net = {}

---@class net.Address
---@field ip string
---@field port integer

--- A connection or a listener: LuaSocket's methods, and some more.
---@class net.Socket
local Socket = {}

--- Waits for data: `"*l"` a line without its end (this unless told otherwise), `"*a"` all until the end, or so many bytes.
---@async
---@param pattern? "*l"|"*a"|integer
---@param prefix? string what the result is to begin with
---@return string|nil data
---@return string|nil err
---@return string|nil partial what came before the error
function Socket:receive(pattern, prefix) end

--- Waits for whatever comes next.
---@async
---@param max? integer bytes
---@return string|nil data
---@return string|nil err
function Socket:readany(max) end

--- Waits for all until a text, which is left out.
---@async
---@param text string
---@param max? integer bytes
---@return string|nil data
---@return string|nil err
---@return string|nil partial
function Socket:readuntil(text, max) end

--- Lines, until the end: `for line in sock:lines() do`.
---@return fun(): string?, string?
function Socket:lines() end

---@async
---@param data string
---@param from? integer
---@param to? integer
---@return integer|nil last index of the last byte that was sent
---@return string|nil err
---@return integer|nil last_sent with an error: the last byte before it
function Socket:send(data, from, to) end

--- The next connection of a listener.
---@async
---@return net.Socket|nil connection
---@return string|nil err
function Socket:accept() end

--- Connections, as long as there are any: `for conn in listener:conns() do`.
---@return fun(): net.Socket?
function Socket:conns() end

--- How long its calls wait.
---@param seconds? number for ever if `nil` or negative
---@param mode? "b"|"t" each wait (this unless told otherwise), or the whole call
---@return 1
function Socket:settimeout(seconds, mode) end

---@param how? "both"|"send"|"receive"
---@return 1|nil ok
---@return string|nil err
function Socket:shutdown(how) end

--- Makes it TLS: a server if there is a certificate among the options, else a client.
---@async
---@param options? net.TlsOptions
---@return net.Socket|nil self
---@return string|nil err
function Socket:tls(options) end

--- Copies both ways until both have ended.
---@async
---@param other net.Socket
---@return integer|nil sent bytes that went to the other
---@return integer|string received bytes that came from it; or why it failed
function Socket:splice(other) end

--- It is no longer its task's: it lives until it is closed.
---@return net.Socket self
function Socket:detach() end

---@return string|nil ip
---@return integer|string port
function Socket:getpeername() end

---@return string|nil ip
---@return integer|string port
function Socket:getsockname() end

---@param name string
---@param value? any
---@return 1|nil ok
---@return string|nil err
function Socket:setoption(name, value) end

---@param name string
---@return any value
---@return string|nil err
function Socket:getoption(name) end

---@return 1
function Socket:close() end

--- Datagrams.
---@class net.Udp
local Udp = {}

---@async
---@param max? integer bytes
---@return string|nil datagram
---@return string ip_or_error
---@return integer|nil port
function Udp:receivefrom(max) end

---@async
---@param datagram string
---@param ip string
---@param port integer
---@return 1|nil ok
---@return string|nil err
function Udp:sendto(datagram, ip, port) end

--- With a peer that was set.
---@async
---@param max? integer bytes
---@return string|nil datagram
---@return string|nil err
function Udp:receive(max) end

--- With a peer that was set.
---@async
---@param datagram string
---@return 1|nil ok
---@return string|nil err
function Udp:send(datagram) end

---@async
---@param host string `"*"`: nobody
---@param port? integer
---@return 1|nil ok
---@return string|nil err
function Udp:setpeername(host, port) end

---@param seconds? number
---@return 1
function Udp:settimeout(seconds) end

---@return string|nil ip
---@return integer|string port
function Udp:getsockname() end

--- It is no longer its task's.
---@return net.Udp self
function Udp:detach() end

---@return 1
function Udp:close() end

---@class net.TlsOptions
---@field cert? string PEM, or the name of a file of it
---@field key? string PEM, or the name of a file of it
---@field ca? string whom to trust instead of the usual roots
---@field sni? string the name that the other end must have, if it is not that of the address
---@field alpn? string[]
---@field verify? boolean `false`: whoever it is

---@class net.DialOptions: net.TlsOptions
---@field timeout? number seconds, of connecting and of what follows
---@field max? integer bytes that one read may gather

---@class net.ListenOptions: net.TlsOptions
---@field backlog? integer
---@field max? integer bytes that one read may gather

--- Connects.
---@async
---@param kind "tcp"|"udp"|"tls"
---@param address string `"host:port"`
---@param options? net.DialOptions
---@return net.Socket|net.Udp|nil socket
---@return string|nil err
function net.dial(kind, address, options) end

--- Listens. A port that the manifest listens on is taken over.
---@param kind "tcp"|"udp"|"tls"
---@param address string `":80"`, `"127.0.0.1:80"`, `"80"`
---@param options? net.ListenOptions
---@return net.Socket|net.Udp|nil listener
---@return string|nil err
function net.listen(kind, address, options) end

--- A socket for datagrams.
---@param address? string where it listens; without one, a port of the host's choice
---@return net.Udp|nil socket
---@return string|nil err
function net.udp(address) end

return net
