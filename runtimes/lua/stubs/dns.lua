---@meta dns

--- Names to addresses.
local dns = {}

---@class dns.Options
---@field timeout? number seconds

--- The addresses of a name. Other records than these answer `nil, "not supported"`.
---@async
---@param name string
---@param kind? "A"|"AAAA"
---@param options? dns.Options
---@return string[]|nil addresses
---@return string|nil err
function dns.resolve(name, kind, options) end

return dns
