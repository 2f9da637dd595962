-- Exceptions of LuaSocket (its except.c): in Lua, so that what is protected can wait.
local error, pcall, setmetatable = error, pcall, setmetatable

-- What was thrown by a try.
local thrown = setmetatable({}, { __mode = "k" })

local function newtry(finalizer)
    return function(...)
        local ok, message = ...
        if ok then return ... end
        if finalizer then finalizer() end
        local exception = setmetatable({ message }, { __metatable = false })
        thrown[exception] = true
        error(exception, 0)
    end
end

local function finish(ok, ...)
    if ok then return ... end
    local exception = ...
    if exception ~= nil and thrown[exception] then return nil, exception[1] end
    error(exception, 0)
end

local function protect(func)
    return function(...) return finish(pcall(func, ...)) end
end

return newtry, protect
