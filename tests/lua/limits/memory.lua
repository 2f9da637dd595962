-- memory: 32MiB
-- ends: 0
-- prints: a table: not enough memory
-- prints: a string: not enough memory
-- prints: a task: not enough memory
-- prints: the rest goes on
local function last(what, ok, problem)
    assert(not ok)
    collectgarbage()
    print(what .. ": " .. tostring(problem):match "not enough memory")
end

last("a table", pcall(function()
    local all = {}
    while true do all[#all + 1] = { #all } end
end))
last("a string", pcall(function()
    local s = "x"
    while true do s = s .. s end
end))
local task = require "task"
local ok, problem = task.spawn(function()
    local all = {}
    while true do all[#all + 1] = ("x"):rep(1000) .. #all end
end):join()
last("a task", ok, problem)
print "the rest goes on"
