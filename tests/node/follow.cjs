// Follows a gateway as follow.js does: node follow.cjs URL ws|plain|own, with the package `ws`, without compression, or
// with Node's own WebSocket. Prints what came, or null where Node has none.
const ws = require("ws");
const follow = require("./follow.js");

class Plain extends ws {
  constructor(url) {
    super(url, { perMessageDeflate: false });
  }
}

const [url, which] = process.argv.slice(2);
const WebSocket = { ws, plain: Plain, own: globalThis.WebSocket }[which];
const leave = (socket) => (socket.terminate ? socket.terminate() : socket.close());

async function main() {
  console.log(JSON.stringify(WebSocket ? await follow(url, WebSocket, leave) : null));
}

main();
