// Prints which of the URLs in a JSON file `new URL(…)` takes: node urls.cjs FILE. A null is one that throws.
const { readFileSync } = require("node:fs");

const pathname = (url) => {
  try {
    return new URL(url).pathname;
  } catch {
    return null;
  }
};
console.log(JSON.stringify(JSON.parse(readFileSync(process.argv[2], "utf8")).map(pathname)));
