-- A page, and a WebSocket behind it: what one visitor says, all see.
local http = require "http"

local visitors = {}
local app = http.router()

app:ws("/live", function(ws)
  visitors[ws] = true
  for message, kind in ws:messages() do
    if kind == "text" then
      for other in pairs(visitors) do other:send(message) end
    end
  end
  visitors[ws] = nil
end, { max = "4K", ping = 30 })

app:static("/", "/public", { index = "index.html" })

local server = assert(http.serve { handler = app })
print("websocket-page: ready")
server:wait()
