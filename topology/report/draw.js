// draw.js - the drawing: made once for a fabric and a width, painted anew for each step.

const SVG = "http://www.w3.org/2000/svg";

function shape(name, attributes, parent) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  parent.append(element);
  return element;
}

function write(text, x, y, kind, parent) {
  const element = shape("text", {x, y, class: kind}, parent);
  element.textContent = text;
  return element;
}

// Classes of colour: 0, 1, 2, up to 4, up to 8, more.
function heat(load) {
  const limits = [0, 1, 2, 4, 8];
  const found = limits.findIndex((limit) => load <= limit + 1e-6);
  return found < 0 ? limits.length : found;
}

function shortName(name, width) {
  if (name.length * 6.6 <= width - 4) return name;
  const digits = /\d+$/.exec(name);
  return digits && digits[0].length * 6.6 <= width - 2 ? digits[0] : "";
}

function drawSwitch(each, box, layer, drawn) {
  const group = shape("g", {class: "switch", "data-switch": each.id, tabindex: 0}, layer);
  shape("rect", {x: box.x - box.w / 2, y: box.y, width: box.w, height: box.h, rx: 5}, group);
  const kind = box.w < 64 ? "switchname small" : "switchname";
  write(shortName(each.name, box.w), box.x, box.y + box.h / 2 + 4, kind, group);
  drawn.switches.set(each.id, group);
}

function drawNic(nic, cell, layers, drawn) {
  const group = shape("g", {class: "nic", "data-nic": nic.id}, layers.nics);
  shape("rect", {x: cell.x, y: cell.y, width: cell.s, height: cell.s,
    rx: Math.min(4, cell.s / 4)}, group);
  drawn.nics.set(nic.id, group);
  if (cell.s >= 20) {
    drawn.labels.set(nic.id, write("", cell.x + cell.s / 2, cell.y + cell.s / 2 + 3.5, "rank",
      group));
  }
  if (!cell.stub) return;
  const is_above = cell.y < cell.box.y;
  const x = cell.x + cell.s / 2;
  const [from, to] = is_above ? [cell.y + cell.s, cell.box.y] :
    [cell.box.y + cell.box.h, cell.y];
  const inside = Math.min(cell.box.w / 2 - 5, Math.max(5 - cell.box.w / 2, x - cell.box.x));
  const foot = cell.box.x + inside;
  drawn.stubs.set(nic.id, shape("path", {class: "stub",
    d: is_above ? `M${x},${from}L${foot},${to}` : `M${foot},${from}L${x},${to}`}, layers.stubs));
}

// Elements by id of what they stand for; `place` says where everything is.
function drawFabric(svg, fabric, plane, width, height) {
  svg.replaceChildren();
  const place = layOut(fabric, plane, width, height);
  svg.setAttribute("viewBox", `0 0 ${width} ${place.height}`);
  const layers = {};
  for (const name of ["cables", "stubs", "nics", "switches"]) {
    layers[name] = shape("g", {class: name}, svg);
  }
  const drawn = {place, layers, fabric, cables: new Map(), stubs: new Map(), nics: new Map(),
    labels: new Map(), switches: new Map()};
  const count = place.cables.size;
  layers.cables.classList.add(count > 600 ? "many" : count > 150 ? "some" : "few");
  for (const [id, {points: [p, q, r, s]}] of place.cables) {
    const d = `M${p.x},${p.y}C${q.x},${q.y} ${r.x},${r.y} ${s.x},${s.y}`;
    drawn.cables.set(id, shape("path", {d, "data-cable": id}, layers.cables));
  }
  for (const [id, cell] of place.nics) drawNic(fabric.nics[id], cell, layers, drawn);
  for (const [id, box] of place.boxes) {
    drawSwitch(fabric.switches[id], box, layers.switches, drawn);
  }
  return drawn;
}

const loadOf = (loads, cable) => Math.max(loads[2 * cable], loads[2 * cable + 1]);

// Ids of cables, NICs and switches that belong to what is chosen; null where nothing is.
function relatedTo(fabric, chosen) {
  if (!chosen) return null;
  const related = {cables: new Set(), nics: new Set(), switches: new Set()};
  if (chosen.kind === "cable") relateCable(fabric, fabric.cables[chosen.id], related);
  if (chosen.kind === "switch") {
    const at = fabric.switches[chosen.id];
    related.switches.add(at.id);
    for (const nic of at.nics) related.nics.add(nic.id);
    for (const cable of at.cables) relateCable(fabric, cable, related);
  }
  if (chosen.kind === "nic") {
    const server = fabric.nics[chosen.id].server;
    for (const nic of fabric.nics.filter((each) => each.server === server)) {
      relateCable(fabric, fabric.cables[nic.cable], related);
    }
  }
  return related;
}

function relateCable(fabric, cable, related) {
  related.cables.add(cable.id);
  if (cable.nic) related.nics.add(cable.nic.id);
  for (const end of [cable.a, cable.b]) {
    if (end < fabric.switches.length) related.switches.add(end);
  }
}

function classesOf(kind, id, related, chosen) {
  const is_chosen = chosen && chosen.kind === kind && chosen.id === id;
  const group = {cable: "cables", nic: "nics", switch: "switches"}[kind];
  const is_dim = related && !related[group].has(id);
  return (is_chosen ? " chosen" : "") + (is_dim ? " dim" : "") +
    (related && !is_dim ? " related" : "");
}

// Colours by load; hot cables on top of others, and what is chosen on top of all.
function paint(drawn, loads, chosen, rankAt) {
  const {fabric} = drawn;
  const related = relatedTo(fabric, chosen);
  const order = [];
  for (const [id, path] of drawn.cables) {
    const cable = fabric.cables[id];
    const state = (cable.dead ? " dead" : "") + (cable.occupied ? " occupied" : "");
    const extra = classesOf("cable", id, related, chosen);
    path.setAttribute("class", `cable l${heat(loadOf(loads, id))}${state}${extra}`);
    const rank = extra.includes("chosen") ? 1e9 : extra.includes("related") ? 1e6 : 0;
    order.push([rank + loadOf(loads, id), path]);
  }
  order.sort((a, b) => a[0] - b[0]);
  drawn.layers.cables.append(...order.map(([unused, path]) => path));
  for (const [id, group] of drawn.nics) paintNic(drawn, id, group, loads, related, chosen, rankAt);
  for (const [id, group] of drawn.switches) {
    group.setAttribute("class", `switch${classesOf("switch", id, related, chosen)}`);
  }
}

function paintNic(drawn, id, group, loads, related, chosen, rankAt) {
  const cable = drawn.fabric.nics[id].cable;
  const is_cable = chosen && chosen.kind === "cable" && chosen.id === cable;
  const extra = classesOf("nic", id, related, chosen) + (is_cable ? " chosen" : "");
  const idle = rankAt.has(id) ? "" : " idle";
  const kind = `l${heat(loadOf(loads, cable))}${extra}${idle}`;
  group.setAttribute("class", `nic ${kind}`);
  if (drawn.stubs.has(id)) drawn.stubs.get(id).setAttribute("class", `stub ${kind}`);
  if (drawn.labels.has(id)) drawn.labels.get(id).textContent = rankAt.get(id) ?? "";
}

function distanceTo(samples, x, y) {
  let best = Infinity;
  for (let i = 0; i + 1 < samples.length; ++i) {
    const [p, q] = [samples[i], samples[i + 1]];
    const [dx, dy] = [q.x - p.x, q.y - p.y];
    const along = ((x - p.x) * dx + (y - p.y) * dy) / (dx * dx + dy * dy || 1);
    const t = Math.max(0, Math.min(1, along));
    best = Math.min(best, Math.hypot(x - p.x - t * dx, y - p.y - t * dy));
  }
  return best;
}

// The cable nearest to this point of the drawing, or null beyond a few pixels.
function cableNear(drawn, x, y) {
  let [best, found] = [7, null];
  for (const [id, {samples}] of drawn.place.cables) {
    const distance = distanceTo(samples, x, y);
    if (distance < best) [best, found] = [distance, id];
  }
  return found;
}
