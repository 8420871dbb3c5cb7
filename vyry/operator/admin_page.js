"use strict";
// Redraws the tables from the events of this listener. Cells are set as text, never as HTML: names of workers are not trusted.
const summary = document.getElementById("summary");
const source = new EventSource("events");
source.onmessage = (event) => {
  const shown = JSON.parse(event.data);
  summary.textContent = shown.summary;
  summary.className = shown.problem ? "bad" : "";
  for (const [name, rows] of Object.entries(shown.tables)) {
    document.getElementById(name).replaceChildren(...rows.map(drawRow));
  }
};
source.onerror = () => {
  summary.textContent = "The node does not answer; these are its last values.";
  summary.className = "bad";
};
function drawRow([state, cells]) {
  const row = document.createElement("tr");
  row.className = state;
  row.append(...cells.map((text) => {
    const cell = document.createElement("td");
    cell.textContent = text;
    return cell;
  }));
  return row;
}
