-- memory: 256MiB
-- timeout: 60s
-- vm: 20000
-- ends: 0
-- prints: all were woken
local task = require "task"
local count = tonumber(arg[1]) or 100000
local tasks, woken = {}, 0
for i = 1, count do
    tasks[i] = task.spawn(function()
        task.sleep(0.001 + i % 10 / 1000)
        woken = woken + 1
    end)
end
for _, t in ipairs(tasks) do t:join() end
print(woken == count and "all were woken" or woken .. " were woken")
