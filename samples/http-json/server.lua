-- A to-do list over HTTP: JSON in, JSON out.
local http = require "http"
local items = require "items"
local metrics = require "metrics"

local answered = metrics.counter("answers", "Answers by status.", { "status" })
local app = http.router()

-- Around every handler: counts what was answered.
app:use(function(req, next)
  local res = next(req)
  if type(res) == "table" and res.status then answered:inc({ status = tostring(res.status) }) end
  return res
end)

local function json(status, value)
  return { status = status, json = value }
end

local function problem(status, what)
  return json(status, { error = what })
end

-- What the client sent, if it is a JSON object.
local function object(req)
  local value, err = req:json()
  if type(value) ~= "table" then return nil, problem(400, err or "the body is no JSON object") end
  return value
end

app:get("/", function()
  return json(200, { items = "/items", metrics = "/metrics" })
end)

app:get("/items", function(req)
  return json(200, items.list(req.query.done))
end)

app:post("/items", function(req)
  local value, bad = object(req)
  if not value then return bad end
  local item, err = items.add(value.title)
  if not item then return problem(422, err) end
  return { status = 201, headers = { location = "/items/" .. item.id }, json = item }
end)

app:get("/items/:id", function(req)
  local item = items.get(req.params.id)
  if not item then return problem(404, "there is no item " .. req.params.id) end
  return json(200, item)
end)

app:put("/items/:id", function(req)
  local value, bad = object(req)
  if not value then return bad end
  local item, err = items.change(req.params.id, value)
  if not item then return problem(err and 422 or 404, err or "there is no item " .. req.params.id) end
  return json(200, item)
end)

app:delete("/items/:id", function(req)
  if not items.remove(req.params.id) then return problem(404, "there is no item " .. req.params.id) end
  return { status = 204 }
end)

app:get("/metrics", function()
  return { headers = { ["content-type"] = "text/plain; version=0.0.4" }, body = metrics.text() }
end)

local server = assert(http.serve { handler = app, limits = { body = "64K" } })
print("http-json: ready")
server:wait()
print("http-json: done")
