---@meta service

--- What the script knows of itself, and of its host.
local service = {}

---@class service.Config
---@field name string
---@field args string[]
---@field env table<string, string>
---@field listen string[] what listens already: ports of the manifest, and of `-p`

---@type service.Config
service.config = {}

---@class service.Limits
---@field memory integer bytes
---@field memory_used integer
---@field time? number seconds
---@field fuel? integer instructions
---@field fuel_used integer
---@field tasks integer
---@field tasks_used integer
---@field timers integer
---@field timers_used integer

--- What it may use, and does.
---@return service.Limits
function service.limits() end

--- Ends the service, as when its host is stopped: listeners close, what is under way is finished.
function service.stop() end

--- Calls a function when new code is about to take over from this.
---@param f function
function service.on_reload(f) end

return service
