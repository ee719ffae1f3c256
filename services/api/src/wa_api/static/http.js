// Requests to the gateway, with the page's CSRF token; errors carry the gateway's own sentence.

const csrfToken = document.querySelector('meta[name="csrf-token"]')?.content ?? "";
const PATIENCE_MS = 40_000;

export class Problem extends Error {
  constructor(status, code, sentence) {
    super(sentence);
    this.status = status;
    this.code = code;
  }
}

export async function call(method, path, body, headers = {}) {
  const answer = await request(path, {
    method,
    headers: {
      "X-CSRF-Token": csrfToken,
      ...(body === undefined ? {} : { "Content-Type": "application/json" }),
      ...headers,
    },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const read = await answer.json().catch(() => ({}));
  if (answer.ok) return read;
  throw new Problem(answer.status, read.code ?? "", read.error ?? `The gateway answered ${answer.status}.`);
}

// A part of the page as the server draws it now.
export async function part(path) {
  const answer = await request(path, { headers: { Accept: "text/html" } });
  if (answer.status === 401) {
    location.assign("/");
    throw new Problem(401, "unauthorized", "Signed out.");
  }
  if (!answer.ok) {
    const read = await answer.json().catch(() => ({}));
    throw new Problem(answer.status, read.code ?? "", read.error ?? "The gateway cannot answer now.");
  }
  const drawn = new DOMParser().parseFromString(await answer.text(), "text/html");
  return document.adoptNode(drawn.body.firstElementChild);
}

async function request(path, options) {
  try {
    return await fetch(path, { ...options, cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
  } catch {
    throw new Problem(0, "unreachable", "The gateway cannot be reached.");
  }
}
