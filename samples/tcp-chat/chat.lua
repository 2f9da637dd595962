-- A chat: lines of text over TCP. The first line of a client is its name.
local net = require "net"
local task = require "task"

-- How many lines may wait for a client that does not read, before it is sent away.
local PATIENCE = 64
local clients = {}

local function tell(line, except)
  for name, outbox in pairs(clients) do
    if name ~= except and not outbox:send(line, 0) then
      -- It reads too slowly for the others to wait.
      outbox:close()
      clients[name] = nil
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
  local outbox = task.channel(PATIENCE)
  clients[name] = outbox
  -- What the others say goes out by a task of its own, so that reading never waits for writing.
  local writer = task.spawn(function()
    while true do
      local line = outbox:recv()
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
  if clients[name] == outbox then clients[name] = nil end
  outbox:close()
  writer:join()
  tell("* " .. name .. " is gone\n")
end

local listener = assert(net.listen("tcp", ":7000"))
print("tcp-chat: ready")
for sock in listener:conns() do
  task.spawn(serve, sock)
end
-- The VM is being stopped: the end of their outboxes ends the clients.
for _, outbox in pairs(clients) do
  outbox:send("* this chat ends\n", 0)
  outbox:close()
end
print("tcp-chat: done")
