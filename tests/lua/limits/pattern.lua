-- timeout: 5s
-- ends: time
-- prints: begins
-- Hours, if nobody counts what a pattern costs.
print "begins"
while true do pcall(string.find, ("a"):rep(100000), ".-.-.-.-.-.-.-b$") end
