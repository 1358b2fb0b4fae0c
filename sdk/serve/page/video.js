// What was found in a video: how many frames, the most suspicious ones, and what each model said when.

const LISTED = 50; // spans of each model; the record has all
const made = (tag, text = "") => Object.assign(document.createElement(tag), { textContent: text });
const time = (seconds) => (seconds === null ? "no time" : `${seconds.toFixed(2)} s`);
const top = (still) => Math.max(...Object.values(still.scores));

export function shown(video) {
  const counts = Object.entries(video.actions).map(([action, frames]) => `${frames} lead to ${action}`);
  const worst = made("ol");
  worst.append(...video.worst.map((still) =>
    made("li", `${time(still.time_s)}, frame ${still.frame}: score ${top(still).toFixed(3)}, ${still.action}`)));
  const spans = Object.entries(video.models).flatMap(([name, found]) => [made("h3", name), table(found.spans.slice(0, LISTED))]);
  return [
    made("p", `${video.frames} frames, of which by themselves ${counts.join(", ")}.`),
    made("p", `The picture below is frame ${video.worst[0].frame}, the most suspicious of them:`), worst, ...spans,
  ];
}

function table(spans) {
  const rows = made("table");
  const line = (cells, tag) => {
    const row = made("tr");
    row.append(...cells.map((cell) => made(tag, cell)));
    return row;
  };
  rows.append(line(["From", "To", "Verdict", "Frames", "Highest score"], "th"));
  rows.append(...spans.map((span) => line(
    [time(span.start_s), time(span.end_s), span.verdict.replace("_", " "), String(span.frames), span.peak_score.toFixed(3)], "td")));
  return rows;
}
