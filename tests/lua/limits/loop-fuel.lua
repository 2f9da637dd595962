-- fuel: 5000000
-- ends: fuel
-- prints: begins
print "begins"
local n = 0
while true do n = n + 1 end
