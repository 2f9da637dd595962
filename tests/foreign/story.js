// What a script does on an ordinary day: arithmetic, strings, files, time. Nothing here may depend on
// the hour or the host, for the transcript is compared with another host's. `std` and `os` are globals
// (`qjs --std`).

const say = (...words) => print(words.join(" "));

// Arithmetic, whole and floating and big.
let primes = 0;
const sieve = new Uint8Array(20000);
for (let i = 2; i < sieve.length; i++) {
  if (sieve[i]) continue;
  primes++;
  for (let j = i * i; j < sieve.length; j += i) sieve[j] = 1;
}
say("primes below 20000:", primes);
say("floats:", 0.1 + 0.2, Math.sqrt(2), 1 / 3, Math.sin(1).toFixed(12), 5e-324, 2 ** 53 + 1);
say("big:", (2n ** 127n - 1n).toString(), 100n ** 20n);

// Strings.
const text = "Der Mond ist aufgegangen, die goldnen Sternlein prangen 🌙";
say("length:", text.length, "upper:", text.toUpperCase());
say("words:", text.split(/\s+/).map((w) => [...w].reverse().join("")).sort().join("|"));
say("replaced:", text.replace(/(\p{Lu})/gu, "<$1>"));
say("json:", JSON.stringify({ b: [1, null, "ü"], a: { nested: true } }));

// Files.
const dir = "/tmp/story";
say("mkdir:", os.mkdir(dir));
const out = std.open(`${dir}/notes.txt`, "w");
for (let i = 0; i < 1000; i++) out.puts(`line ${i}\n`);
out.close();
say("size:", os.stat(`${dir}/notes.txt`)[0].size);
say("rename:", os.rename(`${dir}/notes.txt`, `${dir}/kept.txt`));
const file = std.open(`${dir}/kept.txt`, "r+");
file.seek(-9, std.SEEK_END);
say("tail:", JSON.stringify(file.readAsString()));
file.close();
say("list:", os.readdir(dir)[0].sort().join(" "));
say("missing:", std.loadFile(`${dir}/notes.txt`));
say("rmdir while full:", os.remove(dir) < 0);
say("unlink:", os.remove(`${dir}/kept.txt`));
say("rmdir:", os.remove(dir));

// Time: that it passes, not which it is.
const begun = Date.now();
os.sleep(20);
const slept = Date.now() - begun;
say("slept at least 19 ms:", slept >= 19, "and less than 10 s:", slept < 10000);
say("a day:", new Date(86400000 * 365.25 * 30).toISOString());
let order = [];
os.setTimeout(() => order.push("second"), 20);
os.setTimeout(() => order.push("first"), 5);
os.setTimeout(() => say("timers:", order.join(", ")), 40);
