---@meta json

--- JSON (RFC 8259). Integers stay integers.
local json = {}

--- `null`, in a table.
---@type lightuserdata
json.null = nil

---@class json.EncodeOptions
---@field pretty? boolean
---@field empty_array? boolean empty tables are `[]`
---@field max_depth? integer

--- The text of a value; raises what can't be text, and where it is.
---@param value any
---@param options? json.EncodeOptions
---@return string
function json.encode(value, options) end

---@class json.DecodeOptions
---@field max_depth? integer 128 unless told otherwise

--- The value of a text, or what is wrong and where.
---@param text string
---@param options? json.DecodeOptions
---@return any value
---@return string|nil err
---@return integer|nil position
function json.decode(text, options) end

--- Makes a table an array even if it is empty.
---@generic T: table
---@param t T
---@return T
function json.array(t) end

return json
