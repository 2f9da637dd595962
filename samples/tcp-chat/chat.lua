-- A chat: lines of text over TCP. The first line of a client is its name.
local net = require "net"
local task = require "task"

-- How many lines may wait for a client that does not read, before it is sent away.
local PATIENCE = 64
-- How long, in seconds, clients may take to read the last line when the chat ends.
local FAREWELL = 1
-- Who is in the chat: a channel of lines for each, and their connections.
local clients = {}

local function tell(line, except)
  for name, client in pairs(clients) do
    if name ~= except and not client.outbox:send(line, 0) then
      -- It reads too slowly for the others to wait.
      clients[name] = nil
      client.sock:close()
    end
  end
end

-- A name that nobody has, or nil when the client is gone.
local function welcome(sock)
  sock:send("name? ")
  while true do
    local name, err = sock:receive "*l"
    if not name then return nil, err end
    if not name:match "^%w+$" or #name > 20 then
      sock:send("1 to 20 letters and digits, please. name? ")
    elseif clients[name] then
      sock:send(name .. " is here already. name? ")
    else
      return name
    end
  end
end

local function serve(sock)
  local name = welcome(sock)
  if not name then return end
  local client = { sock = sock, outbox = task.channel(PATIENCE) }
  clients[name] = client
  -- What the others say goes out by a task of its own, so that reading never waits for writing.
  local writer = task.spawn(function()
    while true do
      local line = client.outbox:recv()
      if not line or not sock:send(line) then break end
    end
    sock:shutdown "both"
  end)
  tell("* " .. name .. " is here\n", name)
  while true do
    local line = sock:receive "*l"
    if not line then break end
    tell(name .. ": " .. line .. "\n", name)
  end
  if clients[name] == client then clients[name] = nil end
  client.outbox:close()
  writer:join(FAREWELL)
  sock:close()
  tell("* " .. name .. " is gone\n")
end

local serving = {}

local function connected(sock)
  local me = task.self()
  serving[me] = true
  serve(sock)
  serving[me] = nil
end

local listener = assert(net.listen("tcp", ":7000"))
print("tcp-chat: ready")
for sock in listener:conns() do
  task.spawn(connected, sock)
end
-- The VM is being stopped: the end of their outboxes ends the clients. Who does not take it is not waited for.
for _, client in pairs(clients) do
  client.outbox:send("* this chat ends\n", 0)
  client.outbox:close()
end
task.timeout(FAREWELL, function()
  for one in pairs(serving) do one:join() end
end)
for one in pairs(serving) do one:cancel() end
print("tcp-chat: done")
