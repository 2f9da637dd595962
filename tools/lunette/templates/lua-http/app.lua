-- What the server answers: a router, apart from the port that it is served at, so that tests can have it too.

local http = require "http"

local app = http.router()

app:get("/", function()
  return "Hello from {name}!\n"
end)

app:get("/hello/:name", function(req)
  return { json = { hello = req.params.name } }
end)

return app
