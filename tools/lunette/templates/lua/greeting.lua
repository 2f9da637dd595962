local greeting = {}

--- What to say to somebody.
function greeting.to(name)
  return "Hello, " .. name .. "!"
end

return greeting
