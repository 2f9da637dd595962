---@meta http

--- HTTP: a server with a router, bodies, files, WebSockets and events; a client.
local http = {}

---@alias http.Headers table<string, string|string[]>

--- What a handler answers: a body; a status and a body; a table; a response of the client's.
---@class http.Answer
---@field status? integer 200 unless told otherwise
---@field headers? http.Headers
---@field body? string|fun(): string? the whole of it, or an iterator of its pieces
---@field json? any
---@field file? string

---@alias http.Handler fun(req: http.Request, next?: fun(req?: http.Request): any): any, any

---@class http.Request
---@field id string
---@field method string
---@field path string
---@field target string
---@field query table<string, string|string[]>
---@field params table<string, string> of the pattern
---@field headers table<string, string> whatever the case; `headers:all(name)` is a list
---@field version string
---@field peer { ip: string, port: integer }
---@field tls? table
---@field ctx { cancelled: boolean } `cancelled`: the client went away
local Request = {}

--- All of the body.
---@async
---@param max? integer|string
---@return string|nil body
---@return string|nil err
function Request:body(max) end

---@async
---@param max? integer|string
---@return any value
---@return string|nil err
function Request:json(max) end

---@async
---@param max? integer|string
---@return table<string, string|string[]>|nil form
---@return string|nil err
function Request:form(max) end

--- Pieces of the body, as they come.
---@param max? integer|string
---@return fun(): string?, string?
function Request:chunks(max) end

---@return table<string, string>
function Request:cookies() end

--- Begins the answer; its body is written bit by bit.
---@param status integer
---@param headers? http.Headers
---@return http.Stream
function Request:respond(status, headers) end

---@class http.Stream
local Stream = {}

---@async
---@param data string
---@return true|nil ok
---@return "closed"|nil err
function Stream:write(data) end

---@async
---@return true|nil ok
---@return "closed"|nil err
function Stream:flush() end

function Stream:close() end

--- Which handler a request is for: `:name` is one part of the path, `*rest` all that is left; the most exact pattern wins.
---@class http.Router
local Router = {}

---@param pattern string
---@param ... http.Handler
function Router:get(pattern, ...) end

---@param pattern string
---@param ... http.Handler
function Router:head(pattern, ...) end

---@param pattern string
---@param ... http.Handler
function Router:post(pattern, ...) end

---@param pattern string
---@param ... http.Handler
function Router:put(pattern, ...) end

---@param pattern string
---@param ... http.Handler
function Router:patch(pattern, ...) end

---@param pattern string
---@param ... http.Handler
function Router:delete(pattern, ...) end

---@param pattern string
---@param ... http.Handler
function Router:options(pattern, ...) end

---@param pattern string
---@param ... http.Handler
function Router:any(pattern, ...) end

--- Runs before every handler.
---@param middleware fun(req: http.Request, next: fun(req?: http.Request): any): any
function Router:use(middleware) end

---@param prefix string
---@param fill? fun(group: http.Router)
---@return http.Router group
function Router:group(prefix, fill) end

--- For what nothing else is for.
---@param handler http.Handler
function Router:missing(handler) end

---@class http.StaticOptions
---@field index? string|false
---@field etag? boolean
---@field range? boolean
---@field gzip? boolean a file's `.gz` beside it
---@field max_age? number seconds

---@param prefix string
---@param dir string
---@param options? http.StaticOptions
function Router:static(prefix, dir, options) end

---@class http.WsOptions
---@field max? integer|string bytes of a message
---@field ping? number|false seconds

---@param pattern string
---@param handler fun(ws: http.WebSocket, req: http.Request)
---@param options? http.WsOptions
function Router:ws(pattern, handler, options) end

---@param pattern string
---@param handler fun(es: http.Events, req: http.Request)
function Router:sse(pattern, handler) end

---@class http.WebSocket
---@field code? integer why it ended
---@field reason? string
local WebSocket = {}

---@async
---@param timeout? number seconds
---@return string|nil message
---@return "text"|"binary"|string|nil kind or why there is none
function WebSocket:recv(timeout) end

--- `for message, kind in ws:messages() do`
---@return fun(): string?, string?
function WebSocket:messages() end

---@async
---@param data string
---@param kind? "text"|"binary"
---@return true|nil ok
---@return string|nil err
function WebSocket:send(data, kind) end

---@async
---@param code? integer
---@param reason? string
function WebSocket:close(code, reason) end

---@class http.Event
---@field event? string
---@field data? string
---@field id? string
---@field retry? number seconds

---@class http.Events
---@field last_id? string what the client had last
local Events = {}

---@async
---@param event http.Event|string
---@return true|nil ok
---@return "closed"|nil err
function Events:send(event) end

---@async
---@return true|nil ok
---@return "closed"|nil err
function Events:ping() end

function Events:close() end

---@class http.ServeLimits
---@field body? integer|string bytes
---@field header? integer|string bytes
---@field connections? integer
---@field time? number seconds of a request
---@field cpu? number seconds of a request

---@class http.ServeTls
---@field cert string PEM, or the name of a file of it
---@field key string PEM, or the name of a file of it

---@class http.ServeOptions
---@field listen? string|integer `":80"`
---@field handler http.Handler|http.Router
---@field tls? http.ServeTls
---@field h2? boolean
---@field keepalive? number seconds
---@field name? string
---@field access_log? boolean|fun(fields: table)
---@field limits? http.ServeLimits

---@class http.Server
local Server = {}

--- Accepts no more, and ends when what is under way has been answered.
---@param grace? number seconds
function Server:stop(grace) end

--- Waits until it has ended.
---@async
---@return true
function Server:wait() end

---@return string address
---@return integer port
function Server:addr() end

---@return integer
function Server:connections() end

--- Has another certificate from now on.
---@param tls http.ServeTls
---@return true|nil ok
---@return string|nil err
function Server:tls(tls) end

--- Serves, in tasks of its own.
---@param options http.ServeOptions
---@return http.Server|nil server
---@return string|nil err
function http.serve(options) end

---@return http.Router
function http.router() end

---@class http.RequestOptions
---@field url? string of `http.request`
---@field method? string of `http.request`; `GET` unless told otherwise
---@field headers? http.Headers
---@field body? string|fun(): string?
---@field json? any instead of a body
---@field timeout? number seconds
---@field redirect? integer how many to follow
---@field verify? boolean `false`: whoever it is
---@field ca? string whom to trust instead of the usual roots: PEM, or the name of a file of it
---@field max? integer|string bytes of the answer's body
---@field stream? boolean its body is read by `response:chunks()`

---@class http.Response
---@field status integer
---@field headers http.Headers
---@field body? string
local Response = {}

---@return fun(): string?, string?
function Response:chunks() end

--- Asks, over connections that are kept. What fails says how: `timeout`, `tls: …`, `http: …`.
---@async
---@param options http.RequestOptions
---@return http.Response|nil response
---@return string|nil err
function http.request(options) end

---@async
---@param url string
---@param options? http.RequestOptions
---@return http.Response|nil response
---@return string|nil err
function http.get(url, options) end

---@async
---@param url string
---@param options? http.RequestOptions
---@return http.Response|nil response
---@return string|nil err
function http.head(url, options) end

---@async
---@param url string
---@param options? http.RequestOptions
---@return http.Response|nil response
---@return string|nil err
function http.post(url, options) end

---@async
---@param url string
---@param options? http.RequestOptions
---@return http.Response|nil response
---@return string|nil err
function http.put(url, options) end

---@async
---@param url string
---@param options? http.RequestOptions
---@return http.Response|nil response
---@return string|nil err
function http.patch(url, options) end

---@async
---@param url string
---@param options? http.RequestOptions
---@return http.Response|nil response
---@return string|nil err
function http.delete(url, options) end

---@class http.WsConnectOptions: http.WsOptions
---@field headers? http.Headers
---@field timeout? number seconds, until it is open
---@field verify? boolean `false`: whoever it is
---@field ca? string whom to trust instead of the usual roots: PEM, or the name of a file of it

---@async
---@param url string `ws://host/path`, or `wss://`
---@param options? http.WsConnectOptions
---@return http.WebSocket|nil ws
---@return string|nil err
function http.ws_connect(url, options) end

---@class http.ProxyOptions: http.RequestOptions
---@field keep_host? boolean

--- A handler that passes requests on.
---@param url string
---@param options? http.ProxyOptions
---@return http.Handler
function http.proxy(url, options) end

--- One component of a URL, escaped.
---@param s string
---@return string
function http.escape(s) end

---@param s string
---@return string
function http.unescape(s) end

return http
