// node --stack-size=60000 run.mjs PYODIDE ROOT SITE PROGRAM [WORDS]
// Runs a Python program in Pyodide, with the checkout as /repo and a folder of packages as /site.
import { readFileSync } from "node:fs";
const [folder, root, site, program, ...words] = process.argv.slice(2);
const { loadPyodide } = await import(`${folder}/pyodide.mjs`);
const python = await loadPyodide({ env: { HOME: "/tmp", HYPOTHESIS_PROFILE: "dev", WORDS: words.join(" ") } });
for (const [at, from] of [["/repo", root], ["/site", site]]) {
  python.FS.mkdirTree(at);
  python.FS.mount(python.FS.filesystems.NODEFS, { root: from }, at);
}
process.exitCode = python.runPython(readFileSync(program, "utf-8"), { filename: program });
