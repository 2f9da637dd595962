-- A zone file (RFC 1035, 5.1): `$ORIGIN`, `$TTL`, comments, `@`, names that are left out; A, AAAA, CNAME, MX, NS, SOA, TXT,
-- each on a line of its own (no parentheses).
local zone = {}
zone.__index = zone

local TYPES = { A = 1, NS = 2, CNAME = 5, SOA = 6, MX = 15, TXT = 16, AAAA = 28 }
local ANY = 255

-- A name as it is on the wire.
local function wire(name)
  local labels = {}
  for label in name:gmatch "[^.]+" do
    if #label > 63 then error("a label of more than 63 bytes: " .. label, 0) end
    labels[#labels + 1] = string.pack("s1", label)
  end
  return table.concat(labels) .. "\0"
end

local function ipv4(text)
  local bytes = { text:match "^(%d+)%.(%d+)%.(%d+)%.(%d+)$" }
  if #bytes ~= 4 then error("not an address of IPv4: " .. text, 0) end
  for i, byte in ipairs(bytes) do
    bytes[i] = tonumber(byte)
    if bytes[i] > 255 then error("not an address of IPv4: " .. text, 0) end
  end
  return string.char(table.unpack(bytes))
end

local function ipv6(text)
  local function groups(part)
    local list = {}
    for group in part:gmatch "[^:]+" do
      if not group:match "^%x%x?%x?%x?$" then error("not an address of IPv6: " .. text, 0) end
      list[#list + 1] = tonumber(group, 16)
    end
    return list
  end
  local head, tail = text:match "^(.-)::(.*)$"
  local before, after = groups(head or text), groups(tail or "")
  local missing = 8 - #before - #after
  if (head and missing < 1) or (not head and missing ~= 0) then error("not an address of IPv6: " .. text, 0) end
  for _ = 1, missing do before[#before + 1] = 0 end
  table.move(after, 1, #after, #before + 1, before)
  return string.pack(">I2I2I2I2I2I2I2I2", table.unpack(before))
end

-- How each type's words become bytes.
local DATA = {
  A = function(words) return ipv4(words[1]) end,
  AAAA = function(words) return ipv6(words[1]) end,
  NS = function(words, full) return wire(full(words[1])) end,
  CNAME = function(words, full) return wire(full(words[1])) end,
  MX = function(words, full) return string.pack(">I2", tonumber(words[1])) .. wire(full(words[2])) end,
  TXT = function(words)
    local texts = {}
    for i, word in ipairs(words) do texts[i] = string.pack("s1", word) end
    return table.concat(texts)
  end,
  SOA = function(words, full)
    local numbers = {}
    for i = 3, 7 do numbers[#numbers + 1] = assert(math.tointeger(tonumber(words[i])), "a SOA has five numbers") end
    return wire(full(words[1])) .. wire(full(words[2])) .. string.pack(">I4I4I4I4I4", table.unpack(numbers))
  end,
}

-- The words of a line: `"quoted text"` is one, `;` begins a comment.
local function words_of(line)
  local words, at = {}, 1
  while true do
    at = line:find("%S", at)
    if not at or line:sub(at, at) == ";" then return words end
    local word, after
    if line:sub(at, at) == '"' then
      word, after = line:match('^"([^"]*)"()', at)
      if not word then error("a quote does not end", 0) end
    else
      word, after = line:match("^([^%s;]+)()", at)
    end
    words[#words + 1], at = word, after
  end
end

-- Reads a file of the bundle: the zone, or nil and what is wrong in which line.
function zone.read(path)
  local file, err = io.open(path)
  if not file then return nil, err end
  local self = setmetatable({ origin = "", names = {}, count = 0 }, zone)
  local ttl, owner, number = 3600, nil, 0

  local function full(name)
    if name == "@" then return self.origin end
    if name:sub(-1) == "." then return name:sub(1, -2):lower() end
    return (name .. "." .. self.origin):lower()
  end

  local function take(line)
    local words = words_of(line)
    if words[1] == "$ORIGIN" then
      self.origin = assert(words[2], "$ORIGIN needs a name"):lower():gsub("%.$", "")
    elseif words[1] == "$TTL" then
      ttl = assert(math.tointeger(tonumber(words[2])), "$TTL needs a number")
    elseif words[1] then
      if not line:match "^%s" then owner = full(table.remove(words, 1)) end
      assert(owner, "the first record needs a name")
      local own_ttl = math.tointeger(tonumber(words[1]))
      if own_ttl then table.remove(words, 1) end
      if words[1] == "IN" then table.remove(words, 1) end
      local type = assert(table.remove(words, 1), "a record needs a type")
      local data = assert(DATA[type], "records of this type can't be: " .. type)(words, full)
      local records = self.names[owner] or {}
      self.names[owner] = records
      local target = type == "CNAME" and full(words[1]) or nil
      records[#records + 1] = { name = wire(owner), type = TYPES[type], ttl = own_ttl or ttl, data = data, target = target }
      self.count = self.count + 1
    end
  end

  for line in file:lines() do
    number = number + 1
    local ok, why = pcall(take, line)
    if not ok then return nil, ("%s:%d: %s"):format(path, number, why) end
  end
  return self
end

function zone:covers(name)
  return name == self.origin or name:sub(-#self.origin - 1) == "." .. self.origin
end

-- The records at a name; those of `*.rest` if there are none of its own (RFC 4592).
function zone:at(name)
  if self.names[name] then return self.names[name] end
  local rest = name:match "^[^.]+%.(.*)$"
  local wild = rest and self.names["*." .. rest]
  if not wild then return nil end
  local records = {}
  for i, record in ipairs(wild) do
    records[i] = { name = wire(name), type = record.type, ttl = record.ttl, data = record.data, target = record.target }
  end
  return records
end

-- Is there a name below this one? Then it exists, without records of its own.
function zone:has_below(name)
  for known in pairs(self.names) do
    if known:sub(-#name - 1) == "." .. name then return true end
  end
  return false
end

-- What answers a question: `{code, answers, authority}`.
function zone:find(name, type)
  local answers, seen = {}, {}
  local there = false
  -- A chain of CNAMEs is followed, but not in a circle.
  while name and not seen[name] and self:covers(name) do
    seen[name] = true
    local records = self:at(name)
    if not records then
      there = there or self:has_below(name)
      break
    end
    there = true
    local target
    for _, record in ipairs(records) do
      if record.type == type or type == ANY or record.type == TYPES.CNAME then answers[#answers + 1] = record end
      if record.type == TYPES.CNAME and type ~= TYPES.CNAME and type ~= ANY then target = record.target end
    end
    name = target
  end
  if #answers > 0 then return { code = "NOERROR", answers = answers } end
  -- Nothing of this type, or no such name: the SOA says for how long that is so (RFC 2308).
  local authority = {}
  for _, record in ipairs(self.names[self.origin] or {}) do
    if record.type == TYPES.SOA then authority[1] = record end
  end
  return { code = there and "NOERROR" or "NXDOMAIN", answers = {}, authority = authority }
end

return zone
