-- What is said more easily in Lua: told by its first argument which of it is wanted.
local what = ...

if what == "pull" then
  -- Sends the pieces of a body, as its iterator gives them.
  return function(write, pieces)
    while true do
      local piece, err = pieces()
      if piece == nil then
        if err ~= nil then error(err, 0) end
        return
      end
      if not write(piece) then return end
    end
  end
end

if what == "compose" then
  -- A handler behind one that runs before it.
  return function(before, next)
    return function(req)
      return before(req, function(other) return next(other or req) end)
    end
  end
end

if what == "events" then
  -- Server-sent events (HTML, 9.2).
  local Events = {}
  Events.__index = Events

  local function line(name, value)
    value = tostring(value)
    if value:find("[\r\n\0]") then
      error("es:send: " .. name .. " has a line end in it", 3)
    end
    return name .. ": " .. value .. "\n"
  end

  local known = { event = true, data = true, id = true, retry = true }

  function Events:send(event)
    if type(event) ~= "table" then event = { data = event } end
    local text = ""
    for name in pairs(event) do
      if not known[name] then
        error("es:send: there is no " .. tostring(name) .. "; there are: event, data, id, retry", 2)
      end
    end
    if event.event then text = text .. line("event", event.event) end
    if event.id then text = text .. line("id", event.id) end
    if event.retry then
      -- Seconds here as everywhere, milliseconds there.
      text = text .. line("retry", math.floor(event.retry * 1000))
    end
    if event.data ~= nil then
      local data = tostring(event.data):gsub("\r\n?", "\n")
      text = text .. "data: " .. data:gsub("\n", "\ndata: ") .. "\n"
    end
    return self.stream:write(text .. "\n")
  end

  -- Says nothing, and so that somebody is there.
  function Events:ping()
    return self.stream:write(":\n\n")
  end

  function Events:close()
    self.stream:close()
  end

  return function(handler)
    return function(req)
      local stream = req:respond(200, {
        ["content-type"] = "text/event-stream",
        ["cache-control"] = "no-cache",
      })
      local es = setmetatable({ stream = stream, last_id = req.headers["last-event-id"] }, Events)
      handler(es, req)
      stream:close()
    end
  end
end
