---@meta url

--- RFC 3986, and the arguments of forms.
local url = {}

---@class url.Parts
---@field scheme? string
---@field user? string
---@field password? string
---@field host? string
---@field port? integer
---@field path? string
---@field query? string
---@field fragment? string

---@param text string
---@return url.Parts|nil parts
---@return string|nil err
function url.parse(text) end

---@param parts url.Parts
---@return string
function url.build(parts) end

--- One component, escaped.
---@param s string
---@return string
function url.encode(s) end

--- What `url.encode` was given.
---@param s string
---@return string|nil text
---@return string|nil err
function url.decode(s) end

--- `a=1&b=2`.
---@param args table<string, string|number|boolean|(string|number|boolean)[]>
---@return string
function url.encode_args(args) end

--- A name that comes again has a list.
---@param text string
---@param max? integer arguments
---@return table<string, string|string[]>|nil args
---@return string|nil err
function url.decode_args(text, max) end

return url
