// Chat with the AI gateway, in plain TypeScript: no framework and no dependency.
//
// Copy what you need. The first part (log-in, event stream, errors) knows nothing of the page; the second part is the page,
// chat.html. Types can simply be erased: chat.html holds this file without them, and `scripts/chat.sh` checks that it does.

interface Envelope {
  // Body of every error of the API, and data of a stream's `event: error`.
  error: { code: string; message: string; details: Details; request_id?: string };
}

interface Details {
  field?: string;
  reason?: string;
  resets_at?: string | null;
  limit?: number;
}

interface Message {
  role: "system" | "user" | "assistant";
  content: string;
}

interface ServerEvent {
  name: string;
  data: string;
}

/** The server sends a comment every 15 s, so a connection that is silent for this long is dead. */
const SILENCE_MS = 45_000;

/** An error that the API answered, as an HTTP error or as an event of a stream. */
export class ApiError extends Error {
  status: number;
  code: string;
  details: Details;
  requestId: string | undefined;
  /** Seconds to wait before the next try, if the server knows. */
  retryAfter: number | undefined;

  constructor(status: number, envelope: Partial<Envelope>, retryAfter?: number) {
    super(envelope.error?.message ?? `The server answered with status ${status}`);
    this.status = status;
    this.code = envelope.error?.code ?? "";
    this.details = envelope.error?.details ?? {};
    this.requestId = envelope.error?.request_id;
    this.retryAfter = retryAfter;
  }
}

/** A stream that ended without `[DONE]`: the connection broke, and the text is not complete. */
export class Incomplete extends Error {}

/** Access to the API: its address, and the tokens of one user. Tokens are kept in memory only. */
export class Api {
  base: string;
  token: string;
  #refreshToken: string | undefined;

  constructor(base: string, token = "") {
    this.base = base.replace(/\/+$/, "");
    this.token = token;
  }

  /** Logs in with an account of the server itself (AUTH_PROVIDER=local). */
  async logIn(email: string, password: string): Promise<void> {
    const response = await this.#post("/public/auth/login", { email, password });
    if (!response.ok) throw await apiError(response);
    await this.#keepTokens(response);
  }

  /**
   * Streams an answer of `/app/ai/chat` or `/app/ai/completions`: calls `onText` with each piece. Returns when the answer is
   * complete. Throws `ApiError`, `Incomplete`, `AbortError` if `signal` was aborted, and `TypeError` if the API cannot be reached.
   */
  async stream(path: string, body: object, signal: AbortSignal, onText: (text: string) => void): Promise<void> {
    const send = () => this.#post(path, { ...body, stream: true }, signal);
    let response = await send();
    // An access token lives for minutes. Refresh it once; a second 401 means: log in again.
    if (response.status === 401 && (await this.#refresh())) response = await send();
    // Errors before the first piece are ordinary HTTP errors.
    if (!response.ok || !response.body) throw await apiError(response);
    for await (const event of readEvents(response.body)) {
      if (event.name === "error") throw new ApiError(502, parse(event.data));
      if (event.name !== "message") continue;
      if (event.data === "[DONE]") return;
      onText(event.data);
    }
    throw new Incomplete("The connection ended before the answer did");
  }

  #post(path: string, body: object, signal?: AbortSignal): Promise<Response> {
    const headers: Record<string, string> = { "Content-Type": "application/json" };
    if (this.token && path.startsWith("/app/")) headers["Authorization"] = `Bearer ${this.token}`;
    return fetch(this.base + path, { method: "POST", headers, body: JSON.stringify(body), signal: signal ?? null });
  }

  async #refresh(): Promise<boolean> {
    if (!this.#refreshToken) return false;
    const response = await this.#post("/public/auth/refresh", { refresh_token: this.#refreshToken });
    if (response.ok) await this.#keepTokens(response);
    return response.ok;
  }

  async #keepTokens(response: Response): Promise<void> {
    const session: { access_token: string; refresh_token: string } = await response.json();
    this.token = session.access_token;
    this.#refreshToken = session.refresh_token;
  }
}

/**
 * Reads server-sent events (WHATWG HTML, section 9.2.6). `EventSource` cannot be used: it sends neither POST nor headers.
 * Leaving the loop early closes the connection.
 */
export async function* readEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerEvent> {
  const reader = body.getReader();
  const decoder = new TextDecoder(); // keeps the first bytes of a character that is cut between two chunks
  let line = "";
  let afterCr = false;
  let name = "";
  let data: string[] = [];
  try {
    while (true) {
      const silence = setTimeout(() => reader.cancel(), SILENCE_MS);
      const chunk = await reader.read().catch(endIfCut).finally(() => clearTimeout(silence));
      if (chunk.done) return; // an event without the blank line at its end is not complete
      let text = decoder.decode(chunk.value, { stream: true });
      if (text === "") continue;
      if (afterCr && text.startsWith("\n")) text = text.slice(1); // second half of a CRLF
      afterCr = text.endsWith("\r");
      const lines = (line + text).split(/\r\n|\n|\r/);
      line = lines.pop() ?? "";
      for (const complete of lines) {
        if (complete === "") {
          if (data.length > 0) yield { name: name || "message", data: data.join("\n") };
          name = "";
          data = [];
          continue;
        }
        // A comment begins with a colon, so its field has no name.
        const colon = complete.indexOf(":");
        const field = colon < 0 ? complete : complete.slice(0, colon);
        const value = colon < 0 ? "" : complete.slice(colon + 1).replace(/^ /, ""); // one blank, further ones are text
        if (field === "data") data.push(value);
        if (field === "event") name = value;
      }
    }
  } finally {
    await reader.cancel().catch(() => {}); // fails if the stream has failed already
  }
}

/** A connection that breaks ends the events like one that is closed: either way `[DONE]` is missing. */
function endIfCut(error: unknown): { done: true; value: undefined } {
  if (error instanceof TypeError) return { done: true, value: undefined };
  throw error; // AbortError: the user stopped
}

async function apiError(response: Response): Promise<ApiError> {
  const seconds = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  return new ApiError(response.status, parse(await response.text()), Number.isNaN(seconds) ? undefined : seconds);
}

/** A proxy between here and the server may answer with something else than the envelope. */
function parse(text: string): Partial<Envelope> {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
}

const REASONS: Record<string, string> = {
  invalid_request: "The model's vendor did not accept this request. Change the prompt or the options.",
  model_not_found: "The vendor does not know this model, or it has retired. Choose another model.",
  context_too_long: "The conversation is too long for this model. Start a new one.",
  quota: "The vendor's limit is reached.",
  unavailable: "The model's vendor has a problem.",
  timeout: "The model did not answer in time.",
};

/** Says what went wrong and what to do, in words for the user. */
export function explain(error: unknown, base: string): string {
  if (error instanceof Incomplete) return `${error.message}.`;
  // The browser does not tell the two apart.
  if (error instanceof TypeError) return `Cannot reach ${base}: no server there, or its BACKEND_CORS_ORIGINS does not list ${origin}.`;
  if (!(error instanceof ApiError)) return String(error);
  const wait = error.retryAfter === undefined ? "" : ` Try again in ${error.retryAfter} s.`;
  switch (error.status) {
    case 401:
      return `${error.message}. Please log in.`;
    case 403: {
      if (error.code !== "PLAN_LIMIT_EXCEEDED") return error.message;
      const reset = error.details.resets_at;
      const until = reset ? ` You can go on from ${new Date(reset).toLocaleString()}.` : "";
      return `The ${error.details.limit} AI requests of your plan are used up.${until}`;
    }
    case 422:
      return error.details.field ? `${error.details.field}: ${error.message}` : error.message;
    case 429:
      return `Too many requests.${wait}`;
    case 502:
      return `${REASONS[error.details.reason ?? ""] ?? error.message}${wait}`;
    case 503:
      return `AI is not available at the moment.${wait}`;
    default:
      return `${error.message}${wait}`;
  }
}

// The page.

function byId<T extends HTMLElement>(id: string, type: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`the page has no ${type.name} #${id}`);
  return found;
}

const connection = byId("connection", HTMLFormElement);
const apiField = byId("api", HTMLInputElement);
const emailField = byId("email", HTMLInputElement);
const passwordField = byId("password", HTMLInputElement);
const tokenField = byId("token", HTMLInputElement);
const log = byId("log", HTMLOListElement);
const composer = byId("composer", HTMLFormElement);
const promptField = byId("prompt", HTMLTextAreaElement);
const mode = byId("mode", HTMLSelectElement);
const systemField = byId("system", HTMLTextAreaElement);
const modelField = byId("model", HTMLInputElement);
const sendButton = byId("send", HTMLButtonElement);
const stopButton = byId("stop", HTMLButtonElement);
const status = byId("status", HTMLElement);
const alertBox = byId("alert", HTMLElement);

let api = new Api(apiField.value);
let conversation: Message[] = [];
let running: AbortController | undefined;

function showError(error: unknown): void {
  const id = error instanceof ApiError && error.requestId ? ` (request ${error.requestId})` : "";
  alertBox.textContent = explain(error, api.base) + id;
  if (error instanceof ApiError && error.status === 401) showConnection(true); // the conversation stays
}

function showConnection(shown: boolean): void {
  connection.hidden = !shown;
  composer.hidden = shown;
  (shown ? emailField : promptField).focus();
}

function scrollToEnd(): void {
  scrollTo(0, document.documentElement.scrollHeight);
}

/** Adds a message to the list. Text of a model goes into text nodes only, never into markup. */
function addMessage(role: Message["role"], content: string): Text {
  const item = document.createElement("li");
  item.className = role;
  const who = document.createElement("strong");
  who.textContent = role === "user" ? "You" : "Assistant";
  const body = document.createElement("div");
  const text = document.createTextNode(content);
  body.append(text);
  item.append(who, body);
  log.append(item);
  scrollToEnd();
  return text;
}

function addNote(answer: Text, note: string): void {
  const small = document.createElement("small");
  small.textContent = ` (${answer.data === "" ? "no answer" : note})`;
  answer.after(small);
}

function setRunning(controller: AbortController | undefined): void {
  running = controller;
  sendButton.disabled = controller !== undefined;
  stopButton.disabled = controller === undefined;
  // Screen readers wait until the answer is complete instead of reading every word twice.
  log.ariaBusy = String(controller !== undefined);
}

async function send(prompt: string): Promise<void> {
  const controller = new AbortController();
  const messages = conversation; // may be replaced by a new one meanwhile
  const system = systemField.value.trim();
  const question: Message = { role: "user", content: prompt };
  const model = modelField.value.trim() || null;
  let path = "/app/ai/chat";
  let body: object = { prompt, system: system || null, model };
  if (mode.value === "completions") {
    path = "/app/ai/completions";
    const instructions: Message[] = system ? [{ role: "system", content: system }] : [];
    body = { messages: [...instructions, ...messages, question], model };
  }
  alertBox.textContent = "";
  status.textContent = "Waiting for the answer …";
  addMessage("user", prompt);
  const answer = addMessage("assistant", "");
  setRunning(controller);
  try {
    await api.stream(path, body, controller.signal, (text) => {
      const atEnd = innerHeight + scrollY >= document.documentElement.scrollHeight - 40;
      status.textContent = "Answering …";
      answer.appendData(text);
      if (atEnd) scrollToEnd();
    });
    status.textContent = "Answer complete.";
  } catch (error) {
    const stopped = error instanceof DOMException && error.name === "AbortError";
    status.textContent = stopped ? "Stopped." : "Failed.";
    addNote(answer, stopped ? "stopped" : "not complete");
    if (!stopped) showError(error);
  } finally {
    setRunning(undefined);
  }
  if (answer.data === "") {
    promptField.value ||= prompt; // to try again
  } else {
    messages.push(question, { role: "assistant", content: answer.data }); // parts too: the user has read them
  }
}

connection.addEventListener("submit", async (event) => {
  event.preventDefault();
  alertBox.textContent = "";
  api = new Api(apiField.value, tokenField.value.trim());
  try {
    if (!api.token) await api.logIn(emailField.value, passwordField.value);
  } catch (error) {
    showError(error);
    return;
  }
  passwordField.value = "";
  tokenField.value = "";
  showConnection(false);
  status.textContent = "Ready.";
});

composer.addEventListener("submit", (event) => {
  event.preventDefault();
  const prompt = promptField.value;
  if (running || prompt.trim() === "") return;
  promptField.value = "";
  promptField.focus();
  void send(prompt);
});

promptField.addEventListener("keydown", (event) => {
  // While an input method composes, Enter chooses a character.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  composer.requestSubmit();
});

function stop(): void {
  promptField.focus(); // the button is about to be disabled
  running?.abort();
}

stopButton.addEventListener("click", stop);

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && running) stop();
});

byId("new", HTMLButtonElement).addEventListener("click", () => {
  running?.abort();
  conversation = [];
  log.replaceChildren();
  alertBox.textContent = "";
  status.textContent = "New conversation.";
  promptField.focus();
});

byId("leave", HTMLButtonElement).addEventListener("click", () => {
  running?.abort();
  api = new Api(apiField.value);
  conversation = [];
  log.replaceChildren();
  status.textContent = "";
  showConnection(true);
});

if (location.protocol === "file:") {
  alertBox.textContent = "This page was opened as a file, so its origin is “null” and the API refuses it. See the comment in its source.";
}
