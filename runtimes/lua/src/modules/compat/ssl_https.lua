-- HTTPS for LuaSocket's `socket.http`, in the shape of LuaSec's `ssl.https`. Other than there, whoever answers has to be
-- who was asked for, unless `verify = "none"` is given.
local socket = require("socket")
local ssl = require("ssl")
local ltn12 = require("ltn12")
local http = require("socket.http")
local url = require("socket.url")

local _M = { _VERSION = "1.2.0", PORT = 443, TIMEOUT = 60 }

-- What of a request's table is TLS'.
local function config(params)
    params = params or {}
    return {
        mode = "client",
        protocol = params.protocol or "any",
        verify = params.verify or "peer",
        cafile = params.cafile,
        certificate = params.certificate,
        key = params.key,
        alpn = params.alpn,
    }
end

-- A function that makes what `socket.http` takes for a connection.
function _M.tcp(params)
    return function()
        local conn = { sock = socket.try(socket.tcp()) }
        function conn:connect(host, port)
            self.sock:settimeout(_M.TIMEOUT)
            socket.try(self.sock:connect(host, port))
            self.sock = socket.try(ssl.wrap(self.sock, config(params)))
            self.sock:sni(host)
            self.sock:settimeout(_M.TIMEOUT)
            socket.try(self.sock:dohandshake())
            return 1
        end
        return setmetatable(conn, {
            __index = function(_, name)
                return function(self, ...) return self.sock[name](self.sock, ...) end
            end,
        })
    end
end

local function with_port(u) return url.build(url.parse(u, { port = _M.PORT })) end

-- As `socket.http`'s: a URL (and a body) or a table.
function _M.request(request, body)
    local chunks
    if type(request) == "string" then
        chunks = {}
        request = { url = request, method = body and "POST" or "GET", sink = ltn12.sink.table(chunks) }
        if body then
            request.source = ltn12.source.string(body)
            request.headers = {
                ["content-length"] = #body,
                ["content-type"] = "application/x-www-form-urlencoded",
            }
        end
    end
    if http.PROXY or request.proxy then return nil, "proxy not supported" end
    if request.redirect then return nil, "redirect not supported" end
    if request.create then return nil, "create function not permitted" end
    request.url = with_port(request.url)
    request.create = _M.tcp(request)
    local res, code, headers, status = http.request(request)
    if res and chunks then res = table.concat(chunks) end
    return res, code, headers, status
end

return _M
