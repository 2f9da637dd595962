-- memory: 32MiB
-- timeout: 30s
-- ends: 0
-- prints: rep: too large
-- prints: format: too large
-- prints: concat: too large
-- prints: gsub: too large
-- prints: pack: too large
-- prints: unpack: too many results to unpack
-- What would take more than there is says so, before it takes time.
local function refused(what, f, ...)
    local ok, problem = pcall(f, ...)
    assert(not ok, what)
    collectgarbage()
    problem = tostring(problem)
    print(what .. ": " .. (problem:match "too many results to unpack" or "too large"))
    assert(problem:find "too " or problem:find "not enough memory" or problem:find "invalid" or problem:find "large", problem)
end

refused("rep", string.rep, "x", 1 << 40)
local s = ("x"):rep(1 << 20)
refused("format", function()
    local args = {}
    for i = 1, 100 do args[i] = s end
    return string.format(("%s"):rep(100), table.unpack(args))
end)
refused("concat", function()
    local parts = {}
    for i = 1, 100 do parts[i] = s end
    return table.concat(parts)
end)
refused("gsub", string.gsub, s, "x", ("y"):rep(1000))
refused("pack", function() return string.pack(("s4"):rep(100), table.unpack((function()
    local args = {}
    for i = 1, 100 do args[i] = s end
    return args
end)())) end)
refused("unpack", table.unpack, {}, 1, 1e8)
