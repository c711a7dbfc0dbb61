// Where ingest is: the gateway tells it where it knows, else it is guessed.

const GUESSED_PORT = 8080; // where ingest listens unless it was told otherwise
const EVERY_ADDRESS = new Set(["0.0.0.0", "[::]"]); // then it listens at this page's host, too
const ORIGIN = /^https?:\/\/[\w.:[\]-]+$/;

let known;

/** Ask the gateway. */
export async function askForIngest() {
  try {
    const answer = await fetch("/v1/ingest", { signal: AbortSignal.timeout(5000) });
    const url = new URL((await answer.json()).url);
    if (EVERY_ADDRESS.has(url.hostname)) url.hostname = window.location.hostname;
    if (ORIGIN.test(url.origin)) known = url.origin;
  } catch {
    // a gateway that does not know it
  }
}

/** `{url, isGuess}`, the URL without a path. */
export function ingest() {
  return { url: known ?? `http://${window.location.hostname}:${GUESSED_PORT}`, isGuess: known === undefined };
}
