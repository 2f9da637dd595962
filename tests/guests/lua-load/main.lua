-- What the crowds of the stories ask for (tests/stories/clients.rs), in Lua.
local http = require "http"
local task = require "task"

-- 0 to 250, and again, as far as anybody asks.
local cycle = {}
for byte = 0, 250 do cycle[#cycle + 1] = string.char(byte) end
local pattern = table.concat(cycle):rep(5000)

local requests = 0
local app = http.router()

app:use(function(req, next)
  requests = requests + 1
  return next(req)
end)

app:get("/bytes/:length", function(req)
  local length = math.tointeger(tonumber(req.params.length))
  if not length or length < 0 or length > #pattern then return 400, "how many?\n" end
  return pattern:sub(1, length)
end)

app:post("/echo", function(req)
  local body, err = req:body()
  if not body then return 400, err end
  return body
end)

app:get("/slow", function(req)
  task.sleep(tonumber(req.query.ms) / 1000)
  return "at last\n"
end)

app:get("/stats", function()
  collectgarbage()
  return ("requests %d\nmemory %.0f\n"):format(requests, collectgarbage "count")
end)

app:get("/fails", function(req)
  error("on purpose: " .. req.query.why)
end)

app:get("/nonsense", function(req)
  if req.query.what == "table" then return { statsu = 200 } end
  if req.query.what == "status" then return 2000, "?" end
  if req.query.what == "function" then return print end
  if req.query.what == "nothing" then return end
  return true
end)

app:get("/leaks", function()
  leaked = true
  return "not reached"
end)

local server = assert(http.serve { handler = app, limits = { body = "1M" } })
print("lua-load: ready")
server:wait()
print(("lua-load: done after %d requests"):format(requests))
