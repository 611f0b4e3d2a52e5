// Prints docs/examples/chat.html with the code of chat.ts, types erased, as its script. See chat.sh.
const { readFileSync } = require("node:fs");
const { transform } = require("sucrase");

const source = readFileSync("docs/examples/chat.ts", "utf8");
const erased = transform(source, { transforms: ["typescript"], disableESTransforms: true }).code;
const code = erased.replace(/\n{3,}/g, "\n\n");
if (code.includes("</script")) throw new Error("chat.ts must not contain the end of a script element");
const parts = readFileSync("docs/examples/chat.html", "utf8").split(/(?<=<script type="module">\n)[^]*?(?=^ *<\/script>)/m);
if (parts.length !== 2) throw new Error("chat.html must have one module script");
process.stdout.write(parts[0] + code + parts[1]);
