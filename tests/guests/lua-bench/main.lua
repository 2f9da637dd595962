-- What the HTTP figures ask of (`cargo xtask bench http`). nginx, beside it, does the same.
local http = require "http"

local app = http.router()

app:get("/hello", function()
  return "Hello, world!\n"
end)

app:get("/json", function(req)
  return { json = { hello = req.query.name, list = { 1, 2, 3 }, ok = true } }
end)

app:static("/static", "/www/static")

local server = assert(http.serve { listen = ":80", handler = app })
print("listening")
server:wait()
