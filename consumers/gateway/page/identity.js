// Who did it, on which side, and when by the server's clock: what joins the events of one person. Pure.

import { asObject, asText } from "./messages.js";

const SERVER_TRACKER = /^(py|java|node|php|rb|ruby|go|golang|net|dotnet|scala|rust|lua|cpp|perl|srv)-/i;
const PLATFORMS = new Map([["mob", "mobile"], ["pc", "desktop"], ["headset", "headset"]]);
const CLIENT_SESSION = /^contexts_com_snowplowanalytics_snowplow_client_session_\d+$/;
const LONGEST = 400;

/** What an event says of who it is of: `[name, value]` of `user_id`, `domain_userid` and `session`. */
export function identitiesOf(event) {
  const session = asText(event.domain_sessionid) || asText(clientSession(event).sessionId);
  const all = [
    ["user_id", asText(event.user_id)],
    ["domain_userid", asText(event.domain_userid)],
    ["session", session],
  ];
  return all.filter(([, value]) => value !== "" && value.length <= LONGEST);
}

/** The gateway's query for the events of an identity; a session has no filter of its own, and is searched as text. */
export function queryOf([name, value]) {
  return new URLSearchParams([[name === "session" ? "q" : name, value], ["deliveries", "false"]]);
}

/** Where an event was tracked: `browser`, `server`, or another platform's name; server trackers say `pc` by default. */
export function sideOf(event) {
  const tracker = asText(event.v_tracker);
  const platform = asText(event.platform);
  if (platform === "web") return "browser";
  if (platform === "srv" || (["pc", ""].includes(platform) && SERVER_TRACKER.test(tracker))) return "server";
  return PLATFORMS.get(platform) ?? (platform.slice(0, 20) || "unknown");
}

/**
 * When an event happened, in ms by the server's clock: what its tracker said, less what the tracker's clock is wrong by.
 * Without that, when it was received.
 */
export function happenedAt(event, otherwise) {
  const [created, sent, received] = ["dvce_created_tstamp", "dvce_sent_tstamp", "collector_tstamp"].map((name) =>
    Date.parse(asText(event[name])),
  );
  if (Number.isFinite(received - (sent - created)) && sent >= created) return received - (sent - created);
  return Number.isFinite(received) ? received : otherwise;
}

function clientSession(event) {
  const column = Object.keys(event).find((name) => CLIENT_SESSION.test(name));
  return column && Array.isArray(event[column]) ? asObject(event[column][0]) : {};
}
