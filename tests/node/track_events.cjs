// Tracks events with the official Node tracker: node track_events.cjs ADDRESS APP USER EVENTS, a JSON list of
// self-describing {event, entities} and of page views {url}.
const { newTracker, buildPageView, buildSelfDescribingEvent } = require("@snowplow/node-tracker");

const [endpoint, appId, userId, events] = process.argv.slice(2);
const failures = [];

async function main() {
  const onRequestFailure = (failure) => failures.push(failure);
  const tracker = newTracker({ namespace: "ns", appId }, { endpoint, onRequestFailure });
  tracker.setUserId(userId);
  for (const { url, event, entities } of JSON.parse(events)) {
    tracker.track(url ? buildPageView({ pageUrl: url }) : buildSelfDescribingEvent({ event }), entities);
  }
  await tracker.flush();
  console.log(JSON.stringify(failures));
}

main();
