-- What busted asks of lua-system, a module in C: the time.
return { gettime = os.time, monotime = os.clock, sleep = function() end }
