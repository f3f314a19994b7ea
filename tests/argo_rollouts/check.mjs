// Holds manifests against Argo Rollouts: the values of fields by its schemas, the names of fields by its types, since a schema of Kubernetes
// takes fields that it does not know, and the cluster then drops them without a word.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { parseAllDocuments } from "yaml";

const OPTIONS = {
  noEmit: true,
  strict: true,
  skipLibCheck: true,
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  target: ts.ScriptTarget.ES2022,
};

// What is wrong with the values of a manifest.
async function values(manifest) {
  const models = await import(`@kubernetes-models/argo-rollouts/${manifest.apiVersion}`);
  try {
    new models[manifest.kind](manifest).validate();
    return [];
  } catch (error) {
    return [error.message];
  }
}

// What is wrong with the names of the fields of manifests: each is the argument of its kind's constructor, and types know all fields of
// a literal.
function names(manifests) {
  const source = manifests
    .map(({ apiVersion, kind, ...fields }, i) => {
      const from = `@kubernetes-models/argo-rollouts/${apiVersion}`;
      return `import { ${kind} as Kind${i} } from "${from}";\nnew Kind${i}(${JSON.stringify(fields, null, 1)});`;
    })
    .join("\n");
  const name = fileURLToPath(new URL("manifests.mts", import.meta.url));
  const host = ts.createCompilerHost(OPTIONS);
  const { fileExists, readFile } = host;
  host.fileExists = (file) => file === name || fileExists(file);
  host.readFile = (file) => (file === name ? source : readFile(file));
  const found = ts.getPreEmitDiagnostics(ts.createProgram([name], OPTIONS, host));
  return found.map((one) => {
    const line = one.file?.getLineAndCharacterOfPosition(one.start).line;
    return `${ts.flattenDiagnosticMessageText(one.messageText, "\n")} ${source.split("\n")[line] ?? ""}`;
  });
}

const manifests = process.argv
  .slice(2)
  .flatMap((file) => parseAllDocuments(readFileSync(file, "utf8")))
  .map((document) => document.toJS());
const wrong = [...(await Promise.all(manifests.map(values))).flat(), ...names(manifests)];

// That nothing is found says nothing where nothing would be.
const broken = (change) => manifests.map((one) => (change((one = structuredClone(one)).spec.metrics.at(-1)), one));
const mistyped = broken((metric) => (metric.failureLimit = { of: 1 }));
for (const one of mistyped) {
  if ((await values(one)).length === 0) wrong.push(`${one.metadata.name}: a limit that is no number was taken`);
}
const misspelt = broken((metric) => (metric.failureLimt = 1));
if (names(misspelt).length !== misspelt.length) wrong.push("a field that there is not was taken");

for (const { kind, metadata } of manifests) console.log(`${kind} ${metadata.name}`);
for (const one of wrong) console.error(`error: ${one}`);
process.exit(manifests.length > 0 && wrong.length === 0 ? 0 : 1);
