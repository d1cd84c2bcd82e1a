// The two other views, class scores and global patches, and the tabs. Each asks the server when it is first opened.

function openView(name) {
  for (const tab of element.querySelectorAll('[role="tab"]')) {
    const open = tab.getAttribute("aria-controls") === name;
    tab.setAttribute("aria-selected", open);
    tab.tabIndex = open ? 0 : -1;
    find(`#${tab.getAttribute("aria-controls")}`).hidden = !open;
  }
  const index = Number(find("#class").value);
  if (name === "scores" && state.asked.scores !== index) askScores(index);
  if (name === "patches" && !state.patch) choosePatch(state.run.grid.map((count) => Math.floor(count / 2)));
}

for (const tab of element.querySelectorAll('[role="tab"]')) {
  tab.addEventListener("click", () => openView(tab.getAttribute("aria-controls")));
  tab.addEventListener("keydown", (event) => {
    const step = {ArrowLeft: "previousElementSibling", ArrowRight: "nextElementSibling"}[event.key];
    if (step && tab[step]) tab[step].focus();
  });
}

// --- Class scores

find("#class").addEventListener("change", (event) => askScores(Number(event.target.value)));

function askScores(index) {
  state.asked.scores = index;
  ask("scores", {index});
}

function mapPane(system) {
  const pane = heading(system, "");
  pane.image = make("img");
  pane.image.alt = "";
  pane.frame.append(pane.image, pane.cross);
  const ramp = make("div", "ramp");
  ramp.style.background = `linear-gradient(to right, ${state.run.heat.join(", ")})`;
  [pane.low, pane.high] = [make("span"), make("span")];
  const scale = make("div", "scale");
  scale.append(pane.low, ramp, pane.high);
  pane.article.append(scale);
  track(pane.frame, readScores);
  return pane;
}

async function showScores({run, index, maps}) {
  if (run !== state.run?.run) return;
  for (const pane of state.maps) {
    const map = maps[pane.article.dataset.system];
    [pane.values] = await Promise.all([valuesOf(map.data), decoded(map.picture)]);
    pane.image.src = map.picture;
    pane.image.alt = `Scores of the class ${state.run.classes[index]}`;
    pane.low.textContent = shown(map.low);
    pane.high.textContent = shown(map.high);
  }
  find("#scores").dataset.index = index;
  trouble("");
}

function readScores(x, y) {
  for (const {values, readout, cross} of state.maps) {
    putCross(cross, x, y);
    readout.replaceChildren();
    if (x === undefined || !values) {
      readout.textContent = "\u00a0";
      continue;
    }
    readout.append(make("span", "score", shown(values.scores[placeOf(values, x, y)])), make("span", "soft", pixelAt(x, y)));
  }
}

// --- Global patches

const grid = find("#grid");

function drawGrid() {
  const [rows, columns] = state.run.grid;
  const scale = Math.max(1, DRAWN / Math.max(state.picture.naturalWidth, state.picture.naturalHeight));
  grid.width = Math.round(state.picture.naturalWidth * scale);
  grid.height = Math.round(state.picture.naturalHeight * scale);
  const context = grid.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(state.picture, 0, 0, grid.width, grid.height);
  const [across, down] = [grid.width / columns, grid.height / rows];
  context.lineWidth = 1;
  context.strokeStyle = "rgb(255 255 255 / 45%)";
  context.beginPath();
  for (let column = 1; column < columns; column++) line(context, column * across, 0, column * across, grid.height);
  for (let row = 1; row < rows; row++) line(context, 0, row * down, grid.width, row * down);
  context.stroke();
  const frames = [[state.pointed, "rgb(255 255 255 / 95%)", 3], [state.patch, "#ff8c1a", 5]];
  for (const [cell, colour, width] of frames) {
    if (!cell) continue;
    Object.assign(context, {strokeStyle: colour, lineWidth: width});
    context.strokeRect(cell[1] * across, cell[0] * down, across, down);
  }
}

function line(context, fromX, fromY, toX, toY) {
  context.moveTo(fromX, fromY);
  context.lineTo(toX, toY);
}

// A patch [row, column], or none, is pointed at: it is framed, and what CLIPtrase finds in its middle is told.
function pointCell(cell) {
  state.pointed = cell;
  drawGrid();
  if (!cell) return find("#pointed").replaceChildren("Press a patch");
  const {values} = state.panes[1];
  const place = placeOf(values, ...middleOf(cell));
  const name = make("bdi", "", state.run.classes[values.labels[place]]);
  find("#pointed").replaceChildren(`Row ${cell[0] + 1}, column ${cell[1] + 1}: `, name, ` ${shown(values.scores[place])}`);
}

// It is pressed: its maps come when the server has them.
function choosePatch(cell) {
  state.patch = cell;
  drawGrid();
  const [x, y] = middleOf(cell);
  ask("patch", {x, y});
}

const cellAt = (x, y) => [Math.floor(y * state.run.grid[0]), Math.floor(x * state.run.grid[1])];
const middleOf = ([row, column]) => [(column + 0.5) / state.run.grid[1], (row + 0.5) / state.run.grid[0]];
track(grid, (x, y) => state.run && pointCell(x === undefined ? undefined : cellAt(x, y)));
grid.addEventListener("blur", () => state.run && pointCell());
grid.addEventListener("click", (event) => {
  const box = grid.getBoundingClientRect();
  if (event.detail) choosePatch(cellAt((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height));
});
grid.addEventListener("keydown", (event) => {
  const from = state.pointed ?? state.patch;
  const step = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]}[event.key];
  if (!from || (!step && event.key !== "Enter")) return;
  event.preventDefault();
  if (!step) return choosePatch(from);
  pointCell(from.map((value, axis) => Math.min(state.run.grid[axis] - 1, Math.max(0, value + step[axis]))));
});

async function showPatch({run, place, pictures, overlaps}) {
  if (run !== state.run?.run) return;
  for (const [name, url] of Object.entries(pictures)) {
    const image = find(`img[data-map="${name}"]`);
    image.src = url;
    await image.decode();
    image.hidden = false;
  }
  const [before, after] = overlaps.map((value) => value.toFixed(2));
  find(".overlap").textContent =
    `Overlap of what two patches look at most: ${before} in CLIP's attention, ${after} recalibrated ` +
    "(top 5 %, mean of all pairs; 0.03 by chance, 1 if all are alike).";
  find("#patches").dataset.place = place.join(" ");
  trouble("");
}
