// The row of examples: which one was pressed goes to the server.
"use strict";
element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-index]");
  if (button) trigger("example", {index: Number(button.dataset.index)});
});
