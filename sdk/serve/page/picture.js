// A heatmap over a frame: colours that grow lighter with probability, and the mask's edge in white on black, so that
// nothing is told by colour alone.

const STOPS = [[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]]; // inferno, at quarters

export function colour(level) {
  const place = (level / 255) * (STOPS.length - 1);
  const low = Math.min(Math.floor(place), STOPS.length - 2);
  return STOPS[low].map((value, channel) => Math.round(value + (STOPS[low + 1][channel] - value) * (place - low)));
}

export class Heatmap {
  constructor(grey, threshold) {
    this.canvas = Object.assign(document.createElement("canvas"), { width: grey.width, height: grey.height });
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", "Heatmap");
    const pen = this.canvas.getContext("2d");
    pen.drawImage(grey, 0, 0);
    const image = pen.getImageData(0, 0, grey.width, grey.height);
    const levels = Uint8Array.from({ length: grey.width * grey.height }, (_, pixel) => image.data[4 * pixel]);
    paint(image.data, levels);
    edge(image.data, levels, { width: grey.width, height: grey.height, least: Math.round(255 * threshold) });
    pen.putImageData(image, 0, 0);
  }
}

function paint(data, levels) {
  const table = Array.from({ length: 256 }, (_, level) => [...colour(level), level]);
  levels.forEach((level, pixel) => data.set(table[level], 4 * pixel));
}

function edge(data, levels, { width, height, least }) {
  const thick = Math.max(1, Math.round(Math.min(width, height) / 300));
  const inside = (x, y) => x >= 0 && y >= 0 && x < width && y < height && levels[y * width + x] >= least;
  const dot = (x, y, value) => {
    for (let dy = 0; dy < thick; dy += 1) {
      for (let dx = 0; dx < thick; dx += 1) {
        if (x + dx < width && y + dy < height) data.set([value, value, value, 255], 4 * ((y + dy) * width + x + dx));
      }
    }
  };
  for (const value of [0, 255]) { // black around white: seen on any picture
    const reach = value ? 1 : 1 + thick;
    for (let y = 0; y < height; y += 1) {
      for (let x = 0; x < width; x += 1) {
        if (inside(x, y)) continue;
        if (inside(x - reach, y) || inside(x + reach, y) || inside(x, y - reach) || inside(x, y + reach)) dot(x, y, value);
      }
    }
  }
}

export function regionBoxes(regions, { width, height }) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("aria-hidden", "true"); // the table says the same in words
  const size = Math.max(width, height) / 30;
  regions.forEach((region, index) => {
    for (const name of ["under", "over"]) {
      const box = { x: region.x0, y: region.y0, width: region.x1 - region.x0, height: region.y1 - region.y0, class: name };
      svg.append(element("rect", box));
    }
    const label = element("text", { transform: `translate(${region.x0 + size / 6} ${region.y0 + size}) scale(${size})` });
    label.textContent = String(index + 1);
    svg.append(label);
  });
  return svg;
}

function element(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  return made;
}
