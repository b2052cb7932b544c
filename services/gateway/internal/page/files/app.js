// The page of the last executions. Everything that comes from outside is written with textContent, never as markup.

import * as format from "/assets/format.js";

const refreshEvery = 2000;
const tokenKey = "workflow.token";
const $ = (id) => document.getElementById(id);

// A person is signed in with a token that the page holds, or with a session whose cookie it cannot read.
const page = { token: sessionStorage.getItem(tokenKey), session: false, titles: new Map(), shown: "", timer: 0, loading: false };

class CallError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

async function call(path, options = {}) {
  const headers = { ...options.headers };
  if (page.token) headers.Authorization = `Bearer ${page.token}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch {
    throw new CallError(0, "The gateway does not answer. Trying again.");
  }
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new CallError(response.status, body.error?.message ?? `Status ${response.status}`);
  return body;
}

function element(name, text, attributes = {}) {
  const e = document.createElement(name);
  if (text !== undefined) e.textContent = text;
  for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
  return e;
}

function say(text) {
  if ($("message").textContent !== text) $("message").textContent = text;
  $("message").hidden = !text;
}

// Signing in and out.

const signedIn = () => page.token !== null || page.session;

// start finds out how people sign in here, and whether this one has.
async function start() {
  if (page.token) return signIn(page.token);
  try {
    const session = await call("/auth/session");
    $("login").hidden = false;
    $("login-link").href = session.loginUrl;
    page.session = session.signedIn;
  } catch {
    page.session = false; // people do not sign in at an issuer here
  }
  return page.session ? signIn(null) : showSignIn();
}

async function signOut() {
  if (!page.session) return showSignIn();
  try {
    const { url } = await call("/auth/logout", { method: "POST" });
    if (url) return location.assign(url); // where the issuer's own session ends
  } catch (error) {
    return say(error.message);
  }
  return showSignIn();
}

async function showSignIn(text = "") {
  clearTimeout(page.timer);
  page.token = null;
  page.session = false;
  sessionStorage.removeItem(tokenKey);
  $("executions").hidden = $("who").hidden = true;
  $("sign-in").hidden = false;
  say(text);
  try {
    const { users } = await call("/dev/users");
    $("users").replaceChildren(...users.map(userButton));
    $("dev-users").hidden = false;
  } catch {
    $("dev-users").hidden = true; // not in development mode
  }
}

function userButton(user) {
  const item = element("li");
  const button = element("button", user.user, { type: "button", title: user.roles.join(", ") });
  button.addEventListener("click", async () => {
    try {
      const answer = await call("/dev/token", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ user: user.user }),
      });
      await signIn(answer.token);
    } catch (error) {
      say(error.message);
    }
  });
  item.append(button);
  return item;
}

async function signIn(token) {
  page.token = token;
  page.session = token === null;
  page.titles.clear();
  page.shown = "";
  try {
    const me = await call("/v1/access/me");
    if (token) sessionStorage.setItem(tokenKey, token);
    $("user").textContent = `${me.user} (${me.tenant})`;
  } catch (error) {
    if (error.code === 401) return showSignIn("The token was not accepted.");
    if (error.code !== 0 && error.code !== 503) return showSignIn(error.message);
    $("user").textContent = "";
    if (token) sessionStorage.setItem(tokenKey, token);
  }
  say("");
  $("sign-in").hidden = true;
  $("who").hidden = $("executions").hidden = false;
  await refresh();
}

// The list.

async function refresh() {
  clearTimeout(page.timer);
  if (page.loading || !signedIn()) return;
  page.loading = true;
  try {
    const { executions } = await call("/v1/executions?pageSize=50");
    await loadTitles(executions);
    showExecutions(executions);
    say("");
  } catch (error) {
    if (error.code === 401) return showSignIn("The session has ended. Sign in again.");
    say(error.code === 403 ? `You may not see executions: ${error.message}.` : error.message);
  } finally {
    page.loading = false;
    clearTimeout(page.timer);
    if (signedIn() && $("live").checked && !document.hidden) page.timer = setTimeout(refresh, refreshEvery);
  }
}

async function loadTitles(executions) {
  const missing = new Set(executions.map((e) => e.workflowId).filter((id) => !page.titles.has(id)));
  await Promise.all([...missing].map(async (id) => {
    try {
      page.titles.set(id, (await call(`/v1/workflows/${encodeURIComponent(id)}`)).title);
    } catch (error) {
      // A workflow that was deleted, or that this user may not see, keeps its id; a service that is away is asked again.
      if (error.code === 404 || error.code === 403) page.titles.set(id, id);
    }
  }));
}

const titleOf = (execution) => page.titles.get(execution.workflowId) ?? execution.workflowId;

function showExecutions(executions) {
  $("empty").hidden = executions.length > 0;
  $("table").hidden = executions.length === 0;
  $("updated").textContent = `Updated ${format.time(new Date())}`;
  // Rows are replaced only when something changed, so that focus and selection stay.
  const shown = JSON.stringify([executions, executions.map(titleOf)]);
  if (shown === page.shown) return;
  page.shown = shown;
  const focused = document.activeElement?.dataset?.execution;
  $("rows").replaceChildren(...executions.map(row));
  if (focused) $("rows").querySelector(`[data-execution="${CSS.escape(focused)}"]`)?.focus();
}

function row(execution) {
  const tr = element("tr");
  const open = element("button", format.time(execution.createTime), { type: "button", "data-execution": execution.id });
  open.setAttribute("aria-label", `Open the execution of ${titleOf(execution)} at ${format.time(execution.createTime)}`);
  open.addEventListener("click", () => showDetails(execution));
  const cells = [
    ["Time", ""],
    ["Workflow", titleOf(execution)],
    ["State", format.state(execution.state)],
    ["Cause", format.cause(execution.cause)],
    ["Duration", format.duration(execution.createTime, execution.endTime)],
    ["Error", format.failure(execution.error)],
  ].map(([label, text]) => element("td", text, { "data-label": label }));
  cells[0].append(open);
  cells[2].replaceChildren(stateText(execution.state));
  cells[5].classList.add("error");
  tr.append(...cells);
  return tr;
}

function stateText(value) {
  return element("span", format.state(value), { class: "state", "data-state": value });
}

// One execution.

async function showDetails({ id, workflowId }) {
  try {
    const execution = await call(`/v1/executions/${encodeURIComponent(id)}`);
    $("details-title").textContent = page.titles.get(workflowId) ?? workflowId;
    $("facts").replaceChildren(...facts([
      ["Execution", execution.id],
      ["State", format.state(execution.state)],
      ["Cause", format.cause(execution.cause)],
      ["Revision", execution.workflowRevision],
      ["Accepted", format.time(execution.createTime)],
      ["Started", format.time(execution.startTime)],
      ["Ended", format.time(execution.endTime)],
      ["Goes on", format.time(execution.wakeTime)],
      ["Error", format.failure(execution.error)],
    ]));
    $("input").textContent = format.json(execution.input ?? {});
    $("steps").replaceChildren(...(execution.steps.length ? execution.steps.map(step) : [element("li", "No step has begun.")]));
    if (!$("details").open) $("details").showModal();
  } catch (error) {
    if (error.code === 401) return showSignIn("The session has ended. Sign in again.");
    say(error.message);
  }
}

function facts(pairs) {
  return pairs.filter(([, text]) => text !== "" && text !== undefined).flatMap(([name, text]) => [element("dt", name), element("dd", String(text))]);
}

function step(result) {
  const item = element("li");
  const head = element("div");
  head.append(element("strong", result.path || result.stepId), " ", stateText(result.state));
  const attempts = result.attempts > 1 ? `${result.attempts} attempts` : "";
  const took = format.duration(result.startTime, result.endTime);
  const quiet = [took, attempts].filter(Boolean).join(", ");
  if (quiet) head.append(" ", element("span", quiet, { class: "quiet" }));
  item.append(head);
  if (result.error) item.append(element("p", format.failure(result.error), { class: "error" }));
  if (result.output !== undefined) item.append(element("pre", format.json(result.output), { tabindex: "0", "aria-label": "Output" }));
  return item;
}

$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const token = $("token").value.trim().replace(/^Bearer\s+/i, "");
  $("token").value = "";
  if (token) signIn(token);
});
$("sign-out").addEventListener("click", signOut);
$("close").addEventListener("click", () => $("details").close());
$("live").addEventListener("change", refresh);
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });

start();
