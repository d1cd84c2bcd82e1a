// Pictures: what the server sent as data URLs becomes canvases to draw and values to read.
"use strict";
const DRAWN = 640; // pixels, the least long side that labels are drawn at, so that the edges of few pixels are sharp

function make(tag, name, words) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (words !== undefined) made.textContent = words; // text whatever it holds
  return made;
}

async function decoded(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  return image;
}

function canvasOf(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return [canvas, canvas.getContext("2d", {willReadFrequently: true})];
}

// {width, height, labels, scores} of a PNG whose red is the label, and green and blue the score from low to high.
async function valuesOf({url, low, high}) {
  const image = await decoded(url);
  const {naturalWidth: width, naturalHeight: height} = image;
  const [, context] = canvasOf(width, height);
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, width, height).data;
  const labels = new Uint8Array(width * height);
  const scores = new Float32Array(width * height);
  for (let place = 0; place < labels.length; place++) {
    labels[place] = pixels[4 * place];
    scores[place] = low + ((pixels[4 * place + 1] * 256 + pixels[4 * place + 2]) / 65535) * (high - low);
  }
  return {width, height, labels, scores};
}

// Index of the value at a place, fractions of the picture.
function placeOf({width, height}, x, y) {
  return Math.min(height - 1, Math.floor(y * height)) * width + Math.min(width - 1, Math.floor(x * width));
}

function drawnSize({width, height}) {
  const scale = Math.max(1, Math.ceil(DRAWN / Math.max(width, height)));
  return [width * scale, height * scale];
}

// The labels as opaque colours, those of one class alone if it is given; the background has none.
function tint(values, colours, background, only) {
  const [canvas, context] = canvasOf(values.width, values.height);
  const image = context.createImageData(values.width, values.height);
  const pixels = new Uint32Array(image.data.buffer);
  const packed = Uint32Array.from(colours, (colour, index) => {
    const [red, green, blue] = [1, 3, 5].map((start) => parseInt(colour.slice(start, start + 2), 16));
    const hidden = index === background || (only !== undefined && only !== index);
    return hidden ? 0 : ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
  });
  values.labels.forEach((label, place) => { pixels[place] = packed[label]; });
  context.putImageData(image, 0, 0);
  return canvas;
}

// White where a pixel has another label to its right or below.
function contours(values, width, height) {
  const [canvas, context] = canvasOf(width, height);
  const image = context.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  const scale = width / values.width;
  const labelAt = (x, y) => values.labels[Math.floor(y / scale) * values.width + Math.floor(x / scale)];
  const thickness = Math.max(1, Math.round(Math.max(width, height) / 700));
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const label = labelAt(x, y);
      const right = x + thickness < width && labelAt(x + thickness, y) !== label;
      if (right || (y + thickness < height && labelAt(x, y + thickness) !== label)) pixels[y * width + x] = 0xffffffff;
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

// A picture that is pointed at: calls `point(x, y)` with fractions of it, or with nothing when it is left.
function track(frame, point) {
  const place = (event) => {
    const box = frame.getBoundingClientRect();
    const inside = (value) => Math.min(0.999999, Math.max(0, value));
    point(inside((event.clientX - box.left) / box.width), inside((event.clientY - box.top) / box.height));
  };
  frame.addEventListener("pointermove", place);
  frame.addEventListener("pointerdown", place);
  frame.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") point(); });
}

function putCross(cross, x, y) {
  cross.hidden = x === undefined;
  if (!cross.hidden) Object.assign(cross.style, {left: `${100 * x}%`, top: `${100 * y}%`});
}

const shown = (score) => (Math.abs(score) < 10 ? score.toFixed(3) : score.toFixed(2));
const percent = (share) => (share >= 0.001 ? `${(100 * share).toFixed(1)} %` : "< 0.1 %");
