// Reads the log once, apart from the stream: a subscription that ends when enough of it came.

import { eventsAddress } from "./connection.js";
import { readMessage } from "./messages.js";

/**
 * Hands each message of a subscription to `take(message)`, until that returns true; then it resolves to true. It resolves
 * to false after `longestMs`, when nothing came for `quietMs` after the first message, or when it is refused.
 */
export function readOnce(query, { token, take, longestMs, quietMs = Infinity }) {
  const asked = new URLSearchParams(query);
  if (token) asked.set("token", token);
  const socket = new WebSocket(`${eventsAddress()}?${asked}`);
  return new Promise((resolve) => {
    let quiet;
    const finish = (isEnough) => {
      clearTimeout(quiet);
      clearTimeout(longest);
      socket.onmessage = socket.onclose = null;
      socket.close();
      resolve(isEnough);
    };
    const longest = setTimeout(() => finish(false), longestMs);
    socket.onclose = () => finish(false);
    socket.onmessage = ({ data }) => {
      clearTimeout(quiet);
      if (quietMs < Infinity) quiet = setTimeout(() => finish(false), quietMs);
      if (take(readMessage(data))) finish(true);
    };
  });
}

export const LONGEST_LOOK_MS = 10_000;

/** The message of one event by its id, or undefined when it is not found in time. Deliveries are handed on. */
export async function lookUp(eventId, { token, onDelivery }) {
  let found;
  const take = (message) => {
    if (message.type === "delivery") onDelivery(message);
    if (message.type === "event" && message.eventId === eventId) found = message;
    return found !== undefined;
  };
  await readOnce({ from: "earliest", event_id: eventId }, { token, take, longestMs: LONGEST_LOOK_MS });
  return found;
}
