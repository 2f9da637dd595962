-- memory: 256MiB
-- timeout: 60s
-- ends: 0
-- prints: 100000 tasks, 100000
local task = require "task"
local tasks, woken = {}, 0
for i = 1, 100000 do
    tasks[i] = task.spawn(function()
        task.sleep(0.001 + i % 10 / 1000)
        woken = woken + 1
    end)
end
for _, t in ipairs(tasks) do t:join() end
print(#tasks .. " tasks, " .. woken)
