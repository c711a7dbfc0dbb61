// One event, taken apart for reading: its data, its entities with their schemas, and each error at its place. Pure.

import { parseJson } from "./json.js";
import { asObject, asText, schemaOf } from "./messages.js";
import { columnOf, decodeBase64 } from "./parameters.js";

const ENTITY = /^contexts\[(\d+)\]/;

/** Everything the details show of one message's text. */
export function eventModel(text) {
  const message = asObject(parseJson(text));
  const event = asObject(message.event);
  const payload = asObject(message.payload);
  const fields = {};
  let data;
  for (const [name, value] of Object.entries(event)) {
    if (name.startsWith("unstruct_event_")) data = { column: name, schema: schemaOf(event), value, errors: [] };
    else if (!name.startsWith("contexts_")) fields[name] = value;
  }
  const entities = entitiesOf(event, payload);
  const validation = asObject(message.validation);
  const errors = (Array.isArray(validation.errors) ? validation.errors : []).map(readError);
  const fieldErrors = new Map();
  for (const error of errors) place(error, { fields, data, entities, fieldErrors });
  return {
    message,
    event,
    payload,
    fields,
    data,
    entities,
    errors,
    fieldErrors,
    source: asObject(message.source),
    status: asText(validation.status) || "unchecked",
  };
}

function readError(value) {
  const error = asObject(value);
  const read = (name) => asText(error[name]);
  const path = read("path");
  return {
    field: read("field"),
    schema: read("schema"),
    path: path === "" || path.startsWith("/") ? path : `/${path}`,
    expected: read("expected"),
    got: read("got"),
    schemaPath: read("schema_path"),
    tab: "event",
  };
}

function place(error, { fields, data, entities, fieldErrors }) {
  const entity = erroneousEntity(error, entities);
  if (entity) {
    error.tab = "entities";
    entity.errors.push(error);
  } else if (data && belongsToData(error, fields, data)) {
    data.errors.push(error);
  } else {
    if (error.field.startsWith("contexts")) error.tab = "entities";
    fieldErrors.set(error.field, [...(fieldErrors.get(error.field) ?? []), error]);
  }
}

function erroneousEntity(error, entities) {
  const position = ENTITY.exec(error.field);
  if (position) return entities[Number(position[1])];
  if (!error.field.startsWith("contexts")) return undefined;
  return (
    entities.find(
      ({ column, schema }) => error.field.startsWith(column) && (!error.schema || error.schema === schema),
    ) ?? entities.find(({ schema }) => schema === error.schema)
  );
}

function belongsToData(error, fields, data) {
  if (error.field.startsWith("unstruct_event")) return true;
  return !Object.hasOwn(fields, error.field) && error.schema !== "" && error.schema === data.schema;
}

/** The entities in the order they were sent; the payload knows their schemas, the canonical view only their columns. */
function entitiesOf(event, payload) {
  const taken = new Map();
  const entities = sentEntities(payload).map(({ schema, data }) => {
    const column = columnOf("contexts", schema);
    const index = taken.get(column) ?? 0;
    taken.set(column, index + 1);
    const seen = Array.isArray(event[column]) ? event[column][index] : undefined;
    return { column, schema, value: seen === undefined ? data : seen, errors: [] };
  });
  for (const [column, values] of Object.entries(event)) {
    if (!column.startsWith("contexts_") || !Array.isArray(values)) continue;
    for (const value of values.slice(taken.get(column) ?? 0)) entities.push({ column, schema: "", value, errors: [] });
  }
  return entities;
}

function sentEntities(payload) {
  try {
    const text = asText(payload.co) || decodeBase64(asText(payload.cx));
    const { data } = asObject(parseJson(text));
    return (Array.isArray(data) ? data : []).map((item) => {
      const { schema, data: value } = asObject(item);
      return typeof schema === "string" && value !== undefined ? { schema, data: value } : { schema: "", data: item };
    });
  } catch {
    return [];
  }
}

/**
 * Errors by the JSON pointer of the node they stand at. What a pointer names but the value lacks becomes a `missing`
 * name at the parent that exists. Returns a Map from pointer to `{errors, missing: Map(name → errors), within}`.
 */
export function placeInTree(value, errors) {
  const places = new Map();
  const at = (pointer) => {
    if (!places.has(pointer)) places.set(pointer, { errors: [], missing: new Map(), within: false });
    return places.get(pointer);
  };
  for (const error of errors) {
    const steps = error.path.split("/").slice(1).map(unescapePointer);
    let node = value;
    let pointer = "";
    let missing;
    for (const step of steps) {
      at(pointer).within = true;
      const holds = node !== null && typeof node === "object" && Object.hasOwn(node, step);
      if (!holds) {
        missing = step;
        break;
      }
      node = node[step];
      pointer += `/${escapePointer(step)}`;
    }
    if (missing === undefined) at(pointer).errors.push(error);
    else at(pointer).missing.set(missing, [...(at(pointer).missing.get(missing) ?? []), error]);
  }
  return places;
}

/** One step of a JSON pointer (RFC 6901) as it is written. */
export function escapePointer(step) {
  return String(step).replaceAll("~", "~0").replaceAll("/", "~1");
}

function unescapePointer(step) {
  return step.replaceAll("~1", "/").replaceAll("~0", "~");
}
