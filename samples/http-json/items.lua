-- The list itself: kept in `kv`, which all requests share and which outlives a reload of the code.
local json = require "json"
local kv = require "kv"

local store = assert(kv.open "items")
local items = {}

local function valid_title(title)
  return type(title) == "string" and #title > 0 and #title <= 200
end

local function save(item)
  assert(store:set("item:" .. item.id, json.encode(item)))
  return item
end

function items.add(title)
  if not valid_title(title) then return nil, "title is to be 1 to 200 bytes of text" end
  local id = assert(store:incr("last", 1, 0))
  return save { id = id, title = title, done = false }
end

function items.get(id)
  local text = store:get("item:" .. id)
  return text and json.decode(text)
end

function items.change(id, value)
  local item = items.get(id)
  if not item then return nil end
  if value.title ~= nil then
    if not valid_title(value.title) then return nil, "title is to be 1 to 200 bytes of text" end
    item.title = value.title
  end
  if value.done ~= nil then
    if type(value.done) ~= "boolean" then return nil, "done is to be true or false" end
    item.done = value.done
  end
  return save(item)
end

function items.remove(id)
  return store:delete("item:" .. id)
end

-- All of them in the order of their numbers; `done`: "true" or "false" picks.
function items.list(done)
  local list = json.array {}
  for _, key in ipairs(store:keys "item:") do
    local item = json.decode(store:get(key))
    if done == nil or tostring(item.done) == done then list[#list + 1] = item end
  end
  table.sort(list, function(a, b) return a.id < b.id end)
  return list
end

return items
