// Building parts of a page. Text is always set as text, never as markup.

export const byId = (id) => document.getElementById(id);

// el("a", { href: "/" }, "text", otherElement): attributes, then children.
export function el(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value == null) continue;
    element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

// columns: [{ title, cell: (row) => text or element, isNumber }]
export function showTable(table, columns, rows, none = "nothing here") {
  const kind = (column) => ({ class: column.isNumber ? "number" : null });
  const head = el("tr", {}, ...columns.map((c) => el("th", { scope: "col", ...kind(c) }, c.title)));
  const body = rows.map((row) => el("tr", {}, ...columns.map((c) => el("td", kind(c), c.cell(row) ?? "–"))));
  if (!rows.length) body.push(el("tr", {}, el("td", { colspan: columns.length, class: "note" }, none)));
  table.replaceChildren(el("thead", {}, head), el("tbody", {}, ...body));
  return body;
}

export function showFacts(list, facts) {
  list.replaceChildren(
    ...Object.entries(facts).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value ?? "–")]),
  );
}

export function showOptions(select, values, wanted) {
  const kept = values.includes(select.value) ? select.value : wanted;
  const shown = [...select.options].map((option) => option.value);
  if (shown.join("\n") !== values.join("\n")) select.replaceChildren(...values.map((v) => el("option", { value: v }, v)));
  if (kept != null && select.value !== kept) select.value = kept;
}
