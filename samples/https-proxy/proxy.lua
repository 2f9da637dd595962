-- A reverse proxy that speaks TLS to its clients, and sends those who come without to https.
local http = require "http"
local log = require "log"

local upstream = assert(os.getenv "UPSTREAM", "UPSTREAM is to be the URL of the server behind")
local cert, key = "/certs/cert.pem", "/certs/key.pem"

local pass = http.proxy(upstream, { timeout = 30 })

local secure, err = http.serve {
  listen = ":443",
  tls = { cert = cert, key = key },
  handler = pass,
  access_log = true,
}
if not secure then
  log.error("can't serve", { error = err })
  os.exit(1)
end

local plain = assert(http.serve {
  listen = ":80",
  handler = function(req)
    local host = (req.headers.host or ""):gsub(":%d+$", "")
    if host == "" then return 400, "which host?\n" end
    return { status = 308, headers = { location = "https://" .. host .. req.target }, body = "" }
  end,
})

print("https-proxy: ready, for " .. upstream)
secure:wait()
plain:wait()
