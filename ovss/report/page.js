// Sorts the table of classes by the column whose heading is pressed; classes without a value come last either way.
"use strict";
for (const heading of document.querySelectorAll("#classes thead th:not(:last-child)")) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...heading.childNodes);
  heading.append(button);
  button.addEventListener("click", () => sortBy(heading));
}

function sortBy(heading) {
  const numbers = heading.classList.contains("number");
  const before = heading.getAttribute("aria-sort");
  const rising = before ? before === "descending" : !numbers;
  const body = heading.closest("table").tBodies[0];
  const rows = Array.from(body.rows, (row) => [valueOf(row.cells[heading.cellIndex], numbers), row]);
  rows.sort(([a], [b]) => (a === null) - (b === null) || (rising ? 1 : -1) * (numbers ? a - b : a.localeCompare(b)));
  body.append(...rows.map(([, row]) => row));
  for (const other of heading.parentNode.cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", rising ? "ascending" : "descending");
}

function valueOf(cell, numbers) {
  const text = cell.textContent.trim();
  if (!numbers) return text;
  const value = parseFloat(text.replaceAll(",", ""));
  return Number.isNaN(value) ? null : value;
}
