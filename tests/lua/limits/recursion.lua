-- ends: 0
-- prints: Lua: stack overflow
-- prints: a comparison: C stack overflow
-- prints: source: C stack overflow
-- prints: a tail call has no end of stack
local function overflow(what, ok, problem)
    assert(not ok, what)
    print(what .. ": " .. (tostring(problem):match "C stack overflow" or tostring(problem):match "stack overflow" or problem))
end

local function deep(n) return 1 + deep(n + 1) end
overflow("Lua", pcall(deep, 1))

local meta = {}
meta.__lt = function(a, b)
    table.sort { a, b }
    return false
end
local a, b = setmetatable({}, meta), setmetatable({}, meta)
overflow("a comparison", pcall(function() return a < b end))

overflow("source", load("return " .. ("("):rep(10000) .. "1" .. (")"):rep(10000)))

local function loop(n) if n > 0 then return loop(n - 1) end return "a tail call has no end of stack" end
print(loop(1000000))
