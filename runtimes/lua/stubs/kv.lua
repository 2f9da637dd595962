---@meta kv

--- Stores outside of Lua's memory, shared by all tasks; they stay when the code is replaced.
local kv = {}

---@alias kv.Value string|number|boolean

---@class kv.Store
local Store = {}

---@param key string
---@return kv.Value|nil value
---@return string|nil err
function Store:get(key) end

---@class kv.SetOptions
---@field ttl? number seconds
---@field nx? boolean only what is not there
---@field xx? boolean only what is there

---@param key string
---@param value kv.Value
---@param options? kv.SetOptions
---@return true|nil ok
---@return string|nil err
function Store:set(key, value, options) end

--- Was it there?
---@param key string
---@return boolean
function Store:delete(key) end

---@param key string
---@param amount? number
---@param initial? number
---@return number|nil value
---@return string|nil err
function Store:incr(key, amount, initial) end

---@param key string
---@param seconds number `math.huge`: for ever
---@return true|nil ok
---@return string|nil err
function Store:expire(key, seconds) end

---@param key string
---@return number|nil seconds
---@return string|nil err
function Store:ttl(key) end

--- A list: first in, first out.
---@param key string
---@param value kv.Value
---@param where? "front"|"back"
---@return integer|nil length
---@return string|nil err
function Store:push(key, value, where) end

---@param key string
---@param where? "front"|"back"
---@return kv.Value|nil value
---@return string|nil err
function Store:pop(key, where) end

---@param key string
---@return integer|nil length
---@return string|nil err
function Store:len(key) end

--- In order.
---@param prefix? string
---@param limit? integer
---@return string[]
function Store:keys(prefix, limit) end

function Store:clear() end

---@class kv.Options
---@field max? integer|string bytes, or `"64K"`, `"8M"`

--- The store of this name.
---@param name string
---@param options? kv.Options
---@return kv.Store
function kv.open(name, options) end

return kv
