---@meta template

--- etlua's dialect: `<% code %>`, `<%= expression %>` escaped for HTML, `<%- expression %>` as it is; `-%>` takes the line end
--- after it away.
local template = {}

---@param source string
---@param name? string what errors call it
---@return (fun(env?: table): string)|nil render
---@return string|nil err
function template.compile(source, name) end

---@param source string
---@param env? table
---@return string|nil text
---@return string|nil err
function template.render(source, env) end

--- As text in HTML.
---@param value any
---@return string
function template.escape(value) end

return template
