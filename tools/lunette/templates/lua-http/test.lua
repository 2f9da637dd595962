-- lunette run --host --listen 8099 --connect '127.0.0.1:8099' test.lua

local http = require "http"
local json = require "json"

local server = assert(http.serve { listen = ":8099", handler = require "app" })

local res = assert(http.get "http://127.0.0.1:8099/")
assert(res.status == 200 and res.body == "Hello from {name}!\n", res.body)

res = assert(http.get "http://127.0.0.1:8099/hello/moon")
assert(json.decode(res.body).hello == "moon", res.body)

res = assert(http.get "http://127.0.0.1:8099/nowhere")
assert(res.status == 404, res.status)

server:stop()
print("ok")
