local http = require "http"

local server = assert(http.serve { listen = ":80", handler = require "app" })
print("{name}: ready")
server:wait()
