-- `require "compat51"`: what Lua 5.1 had and 5.4 has not, where it can be had. `setfenv`, `getfenv` and `module` can't.
local G = _G

G.unpack = G.unpack or table.unpack
G.loadstring = G.loadstring or load
math.pow = math.pow or function(x, y) return x ^ y end
math.log10 = math.log10 or function(x) return math.log(x, 10) end
math.ldexp = math.ldexp or function(m, e) return m * 2.0 ^ e end
math.cosh = math.cosh or function(x) return (math.exp(x) + math.exp(-x)) / 2 end
math.sinh = math.sinh or function(x) return (math.exp(x) - math.exp(-x)) / 2 end
math.tanh = math.tanh or function(x) return 1 - 2 / (math.exp(2 * x) + 1) end
math.mod = math.mod or math.fmod
math.frexp = math.frexp or function(x)
    if x == 0 or x ~= x or x == math.huge or x == -math.huge then return x, 0 end
    local e = 0
    while math.abs(x) >= 1 do x, e = x / 2, e + 1 end
    while math.abs(x) < 0.5 do x, e = x * 2, e - 1 end
    return x, e
end
string.gfind = string.gfind or string.gmatch
table.getn = table.getn or function(t) return #t end
table.maxn = table.maxn or function(t)
    local max = 0
    for key in pairs(t) do
        if type(key) == "number" and key > max then max = key end
    end
    return max
end
table.foreach = table.foreach or function(t, f)
    for key, value in pairs(t) do
        local result = f(key, value)
        if result ~= nil then return result end
    end
end
table.foreachi = table.foreachi or function(t, f)
    for index = 1, #t do
        local result = f(index, t[index])
        if result ~= nil then return result end
    end
end
package.loaders = package.loaders or package.searchers

return G
