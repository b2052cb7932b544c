// Turns what the API says into text for people. No function here touches the page.

const timeFormat = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

export function time(value) {
  return value ? timeFormat.format(new Date(value)) : "";
}

export function duration(from, to) {
  if (!from || !to) return "";
  const ms = Date.parse(to) - Date.parse(from);
  if (!Number.isFinite(ms) || ms < 0) return "";
  if (ms < 1000) return `${ms} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 60) return `${minutes} min ${Math.floor((ms % 60_000) / 1000)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export function state(value) {
  const text = String(value ?? "").toLowerCase().replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

export function cause(value) {
  if (value?.event) return value.event.id ? `${value.event.type} (${value.event.id})` : value.event.type;
  if (value?.schedule) return `Schedule, ${time(value.schedule.nominalTime)}`;
  if (value?.manual) return `By hand, ${value.manual.user}`;
  if (value?.parent) return `Step ${value.parent.step} of ${value.parent.executionId}`;
  return "";
}

export function failure(error) {
  if (!error) return "";
  const where = error.stepId ? `${error.stepId}: ` : "";
  return where + (error.message || error.reason || "failed");
}

export function json(value) {
  return value === undefined ? "" : JSON.stringify(value, null, 2);
}
