// The viewer: three views of one run. `element`, `props`, `watch` and `trigger` are the page's framework's.
const find = (selector) => element.querySelector(selector);
const state = {run: null, picture: null, panes: [], maps: [], opacity: 0.6, patch: null, pointed: null, asked: {}};
const messages = {run: showRun, scores: showScores, patch: showPatch, error: ({text}) => trouble(text)};

// One after the other: a picture that takes long to decode must not come after a newer one.
let turn = Promise.resolve();
watch("value", () => {
  const message = props.value;
  turn = turn.then(() => message && messages[message.kind](message)).catch((error) => {
    console.warn(error);
    trouble(`the browser could not show the answer (${error.message}): try again`);
  });
});

function trouble(words) {
  if (words) state.asked = {};
  find(".trouble").hidden = !words;
  find(".trouble").textContent = words;
  element.classList.remove("busy");
}

function ask(name, data) {
  element.classList.add("busy");
  trigger(name, data);
}

async function showRun(run) {
  const values = await Promise.all(run.systems.map((system) => valuesOf(system.data)));
  Object.assign(state, {run, picture: await decoded(run.picture), patch: null, asked: {}});
  state.panes = run.systems.map((system, index) => labelPane(system, values[index]));
  find("#labels .panes").replaceChildren(...state.panes.map((pane) => pane.article));
  state.maps = run.systems.map(mapPane);
  find("#scores .panes").replaceChildren(...state.maps.map((pane) => pane.article));
  find("#class").replaceChildren(...run.classes.map((name, index) => new Option(name, index)));
  find("#class").value = largest(run.systems[0].areas);
  for (const image of element.querySelectorAll("#patches img")) image.hidden = true;
  find(".overlap").textContent = "";
  find(".hint").hidden = true;
  find(".views").hidden = false;
  element.dataset.run = run.run;
  trouble("");
  drawLabels();
  pointCell();
  openView(find('[role="tab"][aria-selected="true"]').getAttribute("aria-controls"));
  if (element.getBoundingClientRect().top > 0.7 * window.innerHeight) element.scrollIntoView({behavior: "smooth"});
}

const largest = (areas) => areas.indexOf(Math.max(...areas));

function heading({key, title, model}, more) {
  const article = make("article", "pane");
  article.dataset.system = key;
  const head = make("header");
  head.append(make("h3", "", title), make("span", "soft", more ? `${model}, ${more}` : model));
  const readout = make("p", "readout", "\u00a0");
  const frame = make("div", "frame");
  const cross = make("div", "cross");
  cross.hidden = true;
  article.append(head, readout, frame);
  return {article, readout, frame, cross};
}

// --- Labels

function labelPane(system, values) {
  const pane = {...heading(system, `${system.seconds.toFixed(2)} s`), system, values};
  const [width, height] = drawnSize(values);
  [pane.canvas, pane.context] = canvasOf(width, height);
  pane.canvas.tabIndex = 0;
  pane.canvas.setAttribute("role", "img");
  pane.canvas.setAttribute("aria-label", `Labels of ${system.title}; arrow keys move the point that is read`);
  pane.tint = tint(values, state.run.colours, state.run.background);
  pane.lines = contours(values, width, height);
  pane.frame.append(pane.canvas, pane.cross);
  track(pane.frame, readLabels);
  pane.canvas.addEventListener("keydown", (event) => moveBy(event, values, state.point, readLabels));
  pane.article.append(legend(system));
  return pane;
}

function legend(system) {
  const list = make("ul", "legend");
  const order = system.areas.map((area, index) => index).sort((a, b) => system.areas[b] - system.areas[a]);
  for (const index of order.filter((index) => system.areas[index] > 0)) {
    const button = make("button");
    button.type = "button";
    button.append(swatch(index), make("bdi", "name", state.run.classes[index]));
    button.append(make("span", "share", percent(system.areas[index])));
    const light = (only) => () => drawLabels(only);
    for (const name of ["pointerenter", "focus"]) button.addEventListener(name, light(index));
    for (const name of ["pointerleave", "blur"]) button.addEventListener(name, light());
    button.addEventListener("click", () => {
      find("#class").value = index;
      openView("scores");
    });
    list.append(make("li"));
    list.lastChild.append(button);
  }
  const absent = order.filter((index) => !system.areas[index]).sort((a, b) => a - b);
  if (absent.length) list.append(make("li", "absent", `not found: ${absent.map((index) => state.run.classes[index]).join(", ")}`));
  return list;
}

function swatch(index) {
  const square = make("span", "swatch");
  square.style.background = state.run.colours[index];
  return square;
}

function drawLabels(only) {
  for (const {canvas, context, tint: colours, lines, values} of state.panes) {
    const all = [0, 0, canvas.width, canvas.height];
    const drawn = only === undefined ? colours : tint(values, state.run.colours, state.run.background, only);
    Object.assign(context, {globalAlpha: 1, imageSmoothingEnabled: true, imageSmoothingQuality: "high"});
    context.drawImage(state.picture, ...all);
    context.imageSmoothingEnabled = false;
    context.globalAlpha = only === undefined ? state.opacity : Math.max(0.75, state.opacity);
    context.drawImage(drawn, ...all);
    context.globalAlpha = Math.min(1, 2 * state.opacity);
    context.drawImage(lines, ...all);
  }
}

function readLabels(x, y) {
  state.point = x === undefined ? undefined : [x, y];
  for (const {values, readout, cross} of state.panes) {
    putCross(cross, x, y);
    readout.replaceChildren();
    if (x === undefined) {
      readout.textContent = "\u00a0";
      continue;
    }
    const place = placeOf(values, x, y);
    const label = values.labels[place];
    readout.append(swatch(label), make("bdi", "name", state.run.classes[label]));
    readout.append(make("span", "score", shown(values.scores[place])), make("span", "soft", pixelAt(x, y)));
  }
}

function pixelAt(x, y) {
  const [width, height] = state.run.size;
  return `at ${Math.floor(x * width)}, ${Math.floor(y * height)}`;
}

// Arrow keys: a pixel of the data at a time, with Shift ten.
function moveBy(event, {width, height}, from, point) {
  const steps = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key];
  if (!steps) return;
  event.preventDefault();
  const far = event.shiftKey ? 10 : 1;
  const inside = (value) => Math.min(0.999999, Math.max(0, value));
  const [x, y] = from ?? [0.5, 0.5];
  point(inside(x + (far * steps[0]) / width), inside(y + (far * steps[1]) / height));
}

find("#opacity").addEventListener("input", (event) => {
  state.opacity = event.target.value / 100;
  find("output").textContent = `${event.target.value} %`;
  drawLabels();
});
