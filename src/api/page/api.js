// Asks the API, and follows it live.

export class ApiError extends Error {}

export async function get(path) {
  let answer;
  try {
    answer = await fetch(`/api/v1${path}`, { headers: { accept: "application/json" }, credentials: "same-origin" });
  } catch {
    throw new ApiError("The engine does not answer. It may be stopped or restarting.");
  }
  if (answer.status === 401) {
    location.assign("/login");
    return new Promise(() => {}); // The page is left.
  }
  const body = await answer.json().catch(() => null);
  if (answer.ok && body !== null) return body;
  throw refused(answer, body);
}

function refused(answer, body) {
  const error = new ApiError(body?.detail ?? `The engine answered ${answer.status}.`);
  error.field = body?.field;
  return error;
}

// Changes something. The word of the session proves that this page asks, and no other site.
export async function send(method, path, value) {
  const { word } = await get("/session");
  const headers = { accept: "application/json" };
  if (word !== null) headers["x-engine-word"] = word;
  if (value !== undefined) headers["content-type"] = "application/json";
  const body = value === undefined ? undefined : JSON.stringify(value);
  const answer = await fetch(`/api/v1${path}`, { method, headers, body, credentials: "same-origin" }).catch(() => {
    throw new ApiError("The engine does not answer. It may be stopped or restarting.");
  });
  if (answer.status === 204) return null;
  const said = await answer.json().catch(() => null);
  if (answer.ok) return said;
  throw refused(answer, said);
}

// Calls `listeners` with what the engine tells; says in `state` whether it is heard.
export function follow(state, listeners) {
  let source;
  const open = () => {
    source = new EventSource("/api/v1/events");
    source.onopen = () => state(true);
    source.onerror = () => {
      state(false);
      // The browser tries again by itself, but not after an answer that was refused.
      if (source.readyState === EventSource.CLOSED) setTimeout(open, 5_000);
    };
    for (const name of ["overview", "changes"]) {
      source.addEventListener(name, (event) => listeners(name, JSON.parse(event.data)));
    }
  };
  open();
  addEventListener("pagehide", () => source.close());
}
