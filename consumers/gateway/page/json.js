// JSON without loss: numbers that JavaScript cannot hold keep their digits, and a text is re-indented, not re-written.

const LONG_NUMBER = /[:[,]\s*-?[\d.eE+-]{16}/; // in a text it is one, too, which costs time only

/** A number that JavaScript would round; `source` is how it was sent, and how it is written again. */
export class ExactNumber {
  constructor(source) {
    this.source = source;
  }

  toJSON() {
    return JSON.rawJSON(this.source);
  }
}

function exact(_key, value, context) {
  if (typeof value !== "number" || context === undefined || context.source.length < 16) return value;
  return String(value) === context.source ? value : new ExactNumber(context.source);
}

/** The value in a JSON text, with ExactNumber where needed. Throws SyntaxError. */
export function parseJson(text) {
  try {
    return JSON.parse(text, exact);
  } catch (error) {
    if (error instanceof RangeError) return JSON.parse(text); // nested too deep for a reviver
    throw error;
  }
}

/** As parseJson, several times as fast for a text that needs no ExactNumber, as most do. */
export function parseQuickly(text) {
  return LONG_NUMBER.test(text) ? parseJson(text) : JSON.parse(text);
}

/** The JSON type of a value: object, array, string, integer, number, boolean or null. */
export function typeOf(value) {
  if (value === null) return "null";
  if (value instanceof ExactNumber) return /^-?\d+$/.test(value.source) ? "integer" : "number";
  if (Array.isArray(value)) return "array";
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : "number";
  return typeof value;
}

/** A scalar as it is written in JSON. */
export function scalarText(value) {
  return value instanceof ExactNumber ? value.source : JSON.stringify(value);
}

/** A JSON text indented by two spaces, every scalar left as it was written. */
export function indentJson(text) {
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g) ?? [];
  const out = [];
  let depth = 0;
  const line = () => `\n${"  ".repeat(depth)}`;
  tokens.forEach((token, index) => {
    const next = tokens[index + 1];
    if (token === "{" || token === "[") {
      depth += 1;
      out.push(token);
      if (next !== "}" && next !== "]") out.push(line());
    } else if (token === "}" || token === "]") {
      depth -= 1;
      const previous = tokens[index - 1];
      if (previous !== "{" && previous !== "[") out.push(line());
      out.push(token);
    } else if (token === ",") out.push(token, line());
    else out.push(token === ":" ? ": " : token);
  });
  return out.join("");
}

/** The JSON text of one member of an object's JSON text, exactly as written; undefined when it is absent. */
export function memberText(text, name) {
  const tokens = text.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g);
  let depth = 0;
  let key;
  let start = -1;
  for (const { 0: token, index } of tokens) {
    if (depth === 1 && start < 0 && token === ":" && key === name) {
      start = index + 1;
      continue;
    }
    if (token === "{" || token === "[") depth += 1;
    else if (token === "}" || token === "]") depth -= 1;
    if (start >= 0 && ((depth === 1 && token === ",") || depth === 0)) return text.slice(start, index).trim();
    if (depth === 1 && token.startsWith('"')) key = JSON.parse(token);
  }
  return undefined;
}
