-- timeout: 60s
-- ends: 0
-- prints: a match: pattern too expensive
-- prints: a grammar: pattern too complex
-- prints: a size: pattern too big
local lpeg = require "lpeg"
local P, V = lpeg.P, lpeg.V

local function refused(what, f, ...)
    local ok, problem = pcall(f, ...)
    assert(not ok, what)
    print(what .. ": " .. problem:match "pattern too %w+")
end

local choices = P { V "a" * -1, a = "x" * V "a" * "y" + "x" * V "a" * "z" + "x" }
refused("a match", choices.match, choices, ("x"):rep(40) .. "!")
refused("a grammar", function()
    local rules = { V "r1", r61 = P "x" ^ -1 }
    for i = 1, 60 do rules["r" .. i] = V("r" .. i + 1) * V("r" .. i + 1) end
    return P(rules)
end)
refused("a size", function() return P "ab" ^ (1 << 30) end)
