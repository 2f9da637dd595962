---@meta log

--- One line for each event, on standard error.
local log = {}

---@alias log.Fields table<string, any>

---@param message string
---@param fields? log.Fields
function log.debug(message, fields) end

---@param message string
---@param fields? log.Fields
function log.info(message, fields) end

---@param message string
---@param fields? log.Fields
function log.warn(message, fields) end

---@param message string
---@param fields? log.Fields
function log.error(message, fields) end

--- From which level on lines are written.
---@param level? "debug"|"info"|"warn"|"error" to set it
---@return "debug"|"info"|"warn"|"error"
function log.level(level) end

---@class log.Logger
---@field debug fun(message: string, fields?: log.Fields)
---@field info fun(message: string, fields?: log.Fields)
---@field warn fun(message: string, fields?: log.Fields)
---@field error fun(message: string, fields?: log.Fields)
---@field with fun(fields: log.Fields): log.Logger

--- A logger whose lines have these fields too: a request's id.
---@param fields log.Fields
---@return log.Logger
function log.with(fields) end

return log
