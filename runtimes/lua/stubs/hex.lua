---@meta hex

--- Bytes as hexadecimal digits.
local hex = {}

---@param s string
---@return string
function hex.encode(s) end

---@param text string
---@return string|nil s
---@return string|nil err
function hex.decode(text) end

return hex
