-- memory: 256MiB
-- timeout: 60s
-- ends: 0
-- prints: 100000 coroutines, 5000050000
local all = {}
for i = 1, 100000 do
    all[i] = coroutine.wrap(function()
        coroutine.yield()
        return i
    end)
end
for i = 1, #all do all[i]() end
local sum = 0
for i = 1, #all do sum = sum + all[i]() end
print(#all .. " coroutines, " .. sum)
