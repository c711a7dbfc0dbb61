// Tracks events with the official Node tracker: node track.cjs ADDRESS get|post COUNT. Prints the payloads that it sent.
const { newTracker, buildPagePing, buildPageView, buildSelfDescribingEvent, buildStructEvent } = require("@snowplow/node-tracker");

const [endpoint, eventMethod, count] = process.argv.slice(2);
const sent = [];
const failures = [];
const recorder = {
  input: async (payload) => {
    sent.push(Object.fromEntries(Object.entries(payload).map(([code, value]) => [code, String(value)])));
  },
  flush: async () => {},
  setCollectorUrl: () => {},
  setAnonymousTracking: () => {},
  setBufferSize: () => {},
};

async function main() {
  const tracker = newTracker({ namespace: "ns", appId: "shop", encodeBase64: eventMethod === "post" }, [
    { endpoint, eventMethod, bufferSize: 3, onRequestFailure: (failure) => failures.push(failure) },
    { customEmitter: () => recorder },
  ]);
  tracker.setUserId("u-ü");
  tracker.setSessionIndex(3);
  tracker.setScreenResolution("1920", "1080");
  const entities = [{ schema: "iglu:com.acme/product/jsonschema/1-0-0", data: { sku: "A-1", note: 'ünïcode "+&=% 🧀' } }];
  for (let number = 0; number < Number(count); number += 1) {
    tracker.track(buildPageView({ pageUrl: `https://shop.example/?n=${number}&q=a+b`, pageTitle: "Käse" }), entities);
    tracker.track(buildPagePing({ pageUrl: "https://shop.example/", minXOffset: 0, maxXOffset: number }));
    tracker.track(buildStructEvent({ category: "cart", action: "add", value: 1.5 }));
    tracker.track(
      buildSelfDescribingEvent({ event: { schema: "iglu:com.acme/added/jsonschema/1-0-0", data: { number } } }),
      entities,
    );
  }
  await tracker.flush();
  if (failures.length > 0) {
    throw new Error(JSON.stringify(failures));
  }
  console.log(JSON.stringify(sent));
}

main();
