// The review page: a queue, one upload at a time, a decision. Words of others reach the page as text, never as HTML.
import { Heatmap, regionBoxes } from "/review/picture.js";
import { shown } from "/review/video.js";

const at = (id) => document.getElementById(id);
const made = (tag, text = "", more = {}) => Object.assign(document.createElement(tag), { textContent: text }, more);
const KEY = "imdl-review-key";
const [DRAWN, LISTED] = [9, 20]; // regions, the largest first; the record has all
const WORDS = { confirm: "confirmed", dismiss: "dismissed", unsure: "unsure" };
const state = { entries: [], index: -1, heatmaps: [], share: 0.6, last: 0.6, opened: 0, shown: "" };

async function ask(path, options = {}) {
  const key = sessionStorage.getItem(KEY);
  const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  const answer = await fetch(path, { ...options, headers });
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => null);
  throw Object.assign(new Error(said ? `${said.error.problem}: ${said.error.remedy}` : `status ${answer.status}`),
    { status: answer.status });
}

const say = (words) => { at("status").textContent = words; };

async function load() {
  let queue;
  try {
    queue = await (await ask("/v1/review/queue?limit=200")).json();
  } catch (error) {
    at("login").hidden = false;
    at("desk").hidden = true;
    if (sessionStorage.getItem(KEY)) say(error.message);
    sessionStorage.removeItem(KEY);
    at("key").focus();
    return;
  }
  at("login").hidden = true;
  at("desk").hidden = false;
  state.entries = queue.entries.map((entry) => ({ ...entry, decided: "" }));
  say(`${queue.total} waiting`);
  list();
  at("empty").hidden = state.entries.length > 0;
  at("case").hidden = state.entries.length === 0;
  if (state.entries.length) await open(0);
}

function list() {
  at("entries").replaceChildren(...state.entries.map((entry, index) => {
    const button = made("button", "", { type: "button" });
    button.append(made("span", `${entry.action}, ${entry.content}`));
    button.append(made("small", entry.decided ? WORDS[entry.decided] : entry.finished.slice(0, 16).replace("T", " ")));
    button.setAttribute("aria-current", String(index === state.index));
    button.addEventListener("click", () => open(index));
    const item = made("li");
    item.append(button);
    return item;
  }));
  at("entries").children[state.index]?.scrollIntoView({ block: "nearest", inline: "nearest" });
}

async function open(index) {
  const turn = ++state.opened; // a later upload that was asked for must not be overtaken by this one
  state.index = index;
  list();
  const id = state.entries[index].id;
  const review = await (await ask(`/v1/review/${id}`)).json();
  const frame = review.pictures ? await picture(`/v1/review/${id}/frame.jpg`) : null;
  const models = await Promise.all(review.job.record.results.map((result, place) => model(id, review.job.record, result, place, frame)));
  if (turn !== state.opened) return URL.revokeObjectURL(frame?.url);
  URL.revokeObjectURL(state.shown);
  state.shown = frame?.url;
  at("action").textContent = review.job.action;
  at("action").dataset.action = review.job.action;
  at("content").textContent = `${review.job.content}, ${review.job.finished.slice(0, 19).replace("T", " ")} UTC`;
  at("reasons").replaceChildren(...review.job.reasons.map((reason) => made("li", reason)));
  at("gone").hidden = review.pictures;
  at("video").hidden = !review.job.video;
  at("frames").replaceChildren(...(review.job.video ? shown(review.job.video) : []));
  at("models").replaceChildren(...models.map(({ panel }) => panel));
  state.heatmaps = models.map(({ heatmap }) => heatmap).filter(Boolean);
  at("facts").replaceChildren(...said(review.job.record.metadata).flatMap(([name, value]) => [made("dt", name), made("dd", value)]));
  at("record").textContent = JSON.stringify(review.job.record, null, 1);
  at("made").hidden = review.decisions.length === 0;
  at("decisions").replaceChildren(...review.decisions.map((each) =>
    made("li", `${WORDS[each.decision]} by ${each.reviewer}${each.note ? `: ${each.note}` : ""}`)));
  at("note").value = "";
  show();
  at("case").dataset.id = id;
  at("case").focus({ preventScroll: true });
  return undefined;
}

// What the file says about itself, as pairs of a name and words.
function said(metadata) {
  if (!metadata) return [["Metadata", "not read"]];
  if (metadata.problem) return [["Metadata", `cannot be read: ${metadata.problem}`]];
  const { exif, c2pa } = metadata;
  const list = (words) => words.join(", ");
  const camera = exif ? [
    ["Camera", [exif.maker, exif.camera].filter(Boolean).join(" ")], ["Lens", exif.lens], ["Software", exif.software],
    ["Taken", exif.taken], ["Modified", exif.modified], ["Size in EXIF", exif.width && exif.height && `${exif.width} x ${exif.height} px`],
    ["Place", exif.has_place ? "has coordinates, which are not shown" : "none"],
  ] : [["Metadata", "no EXIF"]];
  const manifest = c2pa ? [
    ["C2PA manifest", c2pa.state], ["Problems", list(c2pa.problems)], ["Made by", c2pa.generator], ["Signed by", c2pa.issuer],
    ["Signed at", c2pa.signed], ["Actions", list([...c2pa.actions, ...c2pa.source_types])],
  ] : [["C2PA manifest", metadata.reader.c2pa ? "none" : "not looked for"]];
  return [...camera, ...manifest].filter(([, value]) => value);
}

async function picture(path) {
  const blob = await (await ask(path)).blob();
  return createImageBitmap(blob).then((bitmap) => ({ bitmap, url: URL.createObjectURL(blob) }));
}

async function model(id, record, result, place, frame) {
  const terms = record.models[place];
  const panel = made("article", "", { className: "model" });
  panel.append(made("h3", `${terms.name} ${terms.version}${terms.status === "preview" ? " (preview weights)" : ""}`));
  let heatmap = null;
  if (frame) {
    const laid = made("div", "", { className: "laid" });
    laid.append(made("img", "", { src: frame.url, alt: "The upload", width: frame.bitmap.width, height: frame.bitmap.height }));
    if (result.heatmap_sha256) {
      const grey = await picture(`/v1/review/${id}/heatmap.png?model=${encodeURIComponent(result.model)}`);
      heatmap = new Heatmap(grey.bitmap, result.mask_threshold);
      URL.revokeObjectURL(grey.url);
      laid.append(heatmap.canvas, regionBoxes(result.regions.slice(0, DRAWN), record.input));
    }
    panel.append(laid);
  }
  const facts = made("dl");
  const levels = Object.entries(terms.thresholds).map(([rate, level]) => `${level.toFixed(4)} (${100 * rate} % of authentic frames reach it)`);
  for (const [name, value] of [
    ["Verdict", `${result.verdict.name.replace("_", " ")}: ${result.verdict.reason}`],
    ["Score", result.score.toFixed(4)],
    ["Thresholds", levels.join(", ") || "not measured"],
    ["Mask", result.mask_share === null ? "none" : `${(100 * result.mask_share).toFixed(2)} % of the frame`],
  ]) facts.append(made("dt", name), made("dd", value));
  panel.append(facts, table(result.regions.slice(0, LISTED)));
  return { panel, heatmap };
}

function table(regions) {
  if (!regions.length) return made("p", "No region.");
  const rows = made("table");
  const line = (cells, tag) => {
    const row = made("tr");
    row.append(...cells.map((cell) => made(tag, cell)));
    return row;
  };
  rows.append(line(["Region", "Area, px", "Mean probability"], "th"));
  rows.append(...regions.map((each, index) =>
    line([String(index + 1), each.area.toLocaleString("en"), each.probability.toFixed(3)], "td")));
  return rows;
}

function show() {
  at("opacity").value = String(Math.round(100 * state.share));
  at("share").textContent = `${Math.round(100 * state.share)} %`;
  for (const heatmap of state.heatmaps) heatmap.canvas.style.opacity = String(state.share);
  for (const svg of document.querySelectorAll(".laid svg")) svg.style.display = at("boxes").checked ? "" : "none";
}

function fade(share) {
  state.share = Math.min(1, Math.max(0, share));
  if (state.share > 0) state.last = state.share;
  show();
}

async function decide(word) {
  const entry = state.entries[state.index];
  const body = JSON.stringify({ decision: word, note: at("note").value });
  await ask(`/v1/review/${entry.id}`, { method: "POST", body, headers: { "Content-Type": "application/json" } });
  entry.decided = word;
  const left = state.entries.filter((each) => !each.decided).length;
  say(`${WORDS[word]}; ${left} waiting here`);
  const next = state.entries.findIndex((each, index) => index > state.index && !each.decided);
  const other = next >= 0 ? next : state.entries.findIndex((each) => !each.decided);
  if (other >= 0) await open(other);
  else await load();
}

async function save(name) {
  const url = URL.createObjectURL(await (await ask(`/v1/review/export/${name}`)).blob());
  made("a", "", { href: url, download: name }).click();
  URL.revokeObjectURL(url);
}

const tried = (deed) => (...given) => Promise.resolve(deed(...given)).catch((error) => say(error.message));
const step = tried((by) => {
  const index = state.index + by;
  return index >= 0 && index < state.entries.length ? open(index) : undefined;
});
const decided = tried(decide);
const KEYS = {
  j: () => step(1), k: () => step(-1), c: () => decided("confirm"), d: () => decided("dismiss"), u: () => decided("unsure"),
  n: () => at("note").focus(), h: () => fade(state.share > 0 ? 0 : state.last),
  r: () => { at("boxes").checked = !at("boxes").checked; show(); },
  v: () => { at("video").open = !at("video").open; },
  m: () => { at("said").open = !at("said").open; },
  e: () => { at("evidence").open = !at("evidence").open; },
  ArrowLeft: () => fade(state.share - 0.1), ArrowRight: () => fade(state.share + 0.1), "?": () => at("keys").showModal(),
};

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input:not([type=range]):not([type=checkbox])");
  if (typing && event.key === "Escape") at("case").focus();
  if (typing || event.ctrlKey || event.metaKey || event.altKey || at("keys").open) return;
  if (event.target.matches("input[type=range]") && event.key.startsWith("Arrow")) return;
  const deed = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!deed || (at("case").hidden && event.key !== "?")) return;
  event.preventDefault();
  deed();
});
at("login").addEventListener("submit", tried((event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, at("key").value.trim());
  at("key").value = "";
  return load();
}));
at("decide").addEventListener("submit", (event) => {
  event.preventDefault();
  if (event.submitter) decided(event.submitter.value);
});
at("note").addEventListener("keydown", (event) => { if (event.key === "Enter") event.preventDefault(); });
at("opacity").addEventListener("input", () => fade(Number(at("opacity").value) / 100));
at("boxes").addEventListener("change", show);
at("help").addEventListener("click", () => at("keys").showModal());
at("csv").addEventListener("click", tried(() => save("decisions.csv")));
at("jsonl").addEventListener("click", tried(() => save("decisions.jsonl")));
tried(load)();
