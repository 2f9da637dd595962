---@meta html

local html = {}

--- As text in HTML.
---@param value any
---@return string
function html.escape(value) end

return html
