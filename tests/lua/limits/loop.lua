-- timeout: 1s
-- ends: time
-- prints: begins
-- says: loop.lua:8:
print "begins"
while true do
    -- Nobody catches that the time is up.
    pcall(function() while true do end end)
end
