// Requests to the gateway, with the page's CSRF token; errors carry the gateway's own sentence.

export const csrfToken = document.querySelector('meta[name="csrf-token"]')?.content ?? "";
const PATIENCE_MS = 40_000;
const UPLOAD_PATIENCE_MS = 600_000;
const base = document.documentElement.dataset.base; // the path of a proxy, or nothing

// The address here of a path of the gateway.
export function at(path) {
  return `${base}${path}`;
}

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
  if (answer.ok) return parsed(answer.text);
  throw refusal(answer);
}

// A file, as it is.
export async function upload(path, file, headers) {
  const type = { "Content-Type": file.type || "application/octet-stream" };
  const answer = await request(path, { method: "POST", headers: { ...type, ...headers }, body: file }, UPLOAD_PATIENCE_MS);
  if (answer.ok) return parsed(answer.text);
  throw refusal(answer);
}

// A part of the page as the server draws it now.
export async function part(path) {
  const answer = await request(path, { headers: { Accept: "text/html" } });
  if (answer.status === 401) {
    location.assign(at("/"));
    throw new Problem(401, "unauthorized", "Signed out.");
  }
  if (!answer.ok) throw refusal(answer);
  const drawn = new DOMParser().parseFromString(answer.text, "text/html");
  return document.adoptNode(drawn.body.firstElementChild);
}

// The whole answer: one that breaks off in its middle is none.
async function request(path, options, patience = PATIENCE_MS) {
  try {
    const signal = AbortSignal.timeout(patience);
    const answer = await fetch(at(path), { ...options, cache: "no-store", signal });
    return { ok: answer.ok, status: answer.status, text: await answer.text() };
  } catch {
    throw new Problem(0, "unreachable", "The gateway cannot be reached.");
  }
}

function refusal(answer) {
  const { code, error } = parsed(answer.text);
  return new Problem(answer.status, code ?? "", error ?? `The gateway answered ${answer.status}.`);
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}
