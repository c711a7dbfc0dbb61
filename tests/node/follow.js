// Follows a gateway with a WebSocket that is given: 300 events, then with another filter 40, then again 300 from the last
// cursor, on another connection. Returns what came; `leave` ends a connection.
async function follow(url, WebSocket, leave) {
  const told = { before: [], filtered: [], after: [], cursor: "earliest", characters: 0, extensions: "" };

  function stream(part) {
    return new Promise((resolve, reject) => {
      const socket = new WebSocket(`${url}?deliveries=false&from=${told.cursor}`);
      socket.onerror = reject;
      socket.onclose = resolve;
      socket.onmessage = ({ data }) => {
        const message = JSON.parse(data);
        told.characters += data.length;
        told.extensions = socket.extensions;
        if (message.type === "subscription") {
          part = "filtered";
        } else if (message.type === "event") {
          told[part].push(Number(message.payload.eid));
        }
        if (part !== "after") {
          told.cursor = message.cursor;
        }
        if (part === "before" && told.before.length === 300 && message.type === "event") {
          socket.send(JSON.stringify({ type: "filter", filters: { user_id: "user-1" } }));
        } else if (told[part].length === { filtered: 40, after: 300 }[part]) {
          socket.onmessage = null;
          leave(socket);
        }
      };
    });
  }

  await stream("before");
  await stream("after");
  return told;
}

if (typeof module !== "undefined") {
  module.exports = follow;
}
