// An HTTP handler for wasi:http, by the `fetch` event that service workers have: one event, one request, one answer.

const INDEX = `\
/              this page
/hello/NAME    a greeting
/echo          POST: the body comes back
/json          POST: a JSON object, with its keys in order
/headers       the request as it came
/stream?n=&ms= n lines, and ms milliseconds before each
`;

addEventListener("fetch", (event) => event.respondWith(serve(event.request)));

async function serve(request) {
  const url = new URL(request.url);
  const reads = request.method === "GET" || request.method === "HEAD";
  const hello = url.pathname.match(/^\/hello\/(.*)$/);
  try {
    if (reads && url.pathname === "/") return text(INDEX);
    if (reads && hello) return text(`Hello, ${decodeURIComponent(hello[1])}!\n`);
    if (reads && url.pathname === "/stream") return stream(url.searchParams);
    if (url.pathname === "/headers") return headers(request, url);
    if (request.method === "POST" && url.pathname === "/echo") return echo(request);
    if (request.method === "POST" && url.pathname === "/json") return await json(request);
  } catch (error) {
    // Of a name or a body that is none; what we did wrong ourselves looks the same, so the log has it.
    console.error(`http: ${url.pathname}: ${error}`);
    return text(`${error.message}\n`, 400);
  }
  return text("no such page\n", 404);
}

function text(body, status = 200) {
  return new Response(body, { status, headers: { "content-type": "text/plain; charset=utf-8" } });
}

// What came is on its way back before all of it is there.
function echo(request) {
  const type = request.headers.get("content-type") ?? "application/octet-stream";
  return new Response(request.body, { headers: { "content-type": type } });
}

async function json(request) {
  const value = await request.json();
  const sorted = Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)));
  return new Response(`${JSON.stringify(sorted)}\n`, { headers: { "content-type": "application/json" } });
}

function headers(request, url) {
  const lines = [`${request.method} ${url.pathname}${url.search}`];
  for (const [name, value] of request.headers) lines.push(`${name}: ${value}`);
  return text(`${lines.join("\n")}\n`);
}

function stream(query) {
  const lines = Number(query.get("n") ?? 5);
  const pause = Number(query.get("ms") ?? 200);
  const encoder = new TextEncoder();
  let line = 0;
  const body = new ReadableStream({
    async pull(controller) {
      if (line === lines) return controller.close();
      await new Promise((resolve) => setTimeout(resolve, pause));
      line += 1;
      controller.enqueue(encoder.encode(`line ${line} of ${lines}\n`));
    },
  });
  return new Response(body, { headers: { "content-type": "text/plain; charset=utf-8" } });
}
