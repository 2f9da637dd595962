---@meta base64

--- Bytes as text (RFC 4648).
local base64 = {}

---@param s string
---@return string
function base64.encode(s) end

---@param text string padding may be left out
---@return string|nil s
---@return string|nil err
function base64.decode(text) end

--- With the alphabet for URLs and names of files, without padding.
---@param s string
---@return string
function base64.encode_url(s) end

---@param text string
---@return string|nil s
---@return string|nil err
function base64.decode_url(text) end

return base64
