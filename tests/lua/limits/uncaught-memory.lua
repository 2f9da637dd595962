-- memory: 32MiB
-- ends: 1
-- says: not enough memory
local all = {}
while true do all[#all + 1] = ("x"):rep(1 << 16) .. #all end
