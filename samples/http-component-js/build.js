// Makes http-component-js.wasm of handler.js: the engine SpiderMonkey, the script as it is once it was read, and the
// interfaces of wasi:http around both.
import { componentize } from "@bytecodealliance/componentize-js";
import { cpSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";

// The engine was built for this patch version of WASI 0.2; hosts of other patch versions take it as well.
const WASI = "0.2.10";

// jco, which the componentizer brings along, has WASI's WIT packages on board, of another patch version.
const require = createRequire(import.meta.resolve("@bytecodealliance/componentize-js"));
const jco = dirname(dirname(require.resolve("@bytecodealliance/jco")));
const shipped = "0.2.12";
const wit = "build/wit";
rmSync(wit, { recursive: true, force: true });
mkdirSync(wit, { recursive: true });
cpSync(join(jco, "lib/wit/builtin", shipped), join(wit, "deps"), { recursive: true });
for (const name of readdirSync(join(wit, "deps"))) {
  const file = join(wit, "deps", name, "package.wit");
  writeFileSync(file, readFileSync(file, "utf8").replaceAll(`@${shipped}`, `@${WASI}`));
}
writeFileSync(
  join(wit, "world.wit"),
  `package sample:handler;\nworld handler {\n  export wasi:http/incoming-handler@${WASI};\n}\n`,
);

const { component } = await componentize({ sourcePath: "handler.js", witPath: resolve(wit), worldName: "handler" });
writeFileSync("http-component-js.wasm", component);
