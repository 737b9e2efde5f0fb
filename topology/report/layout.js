// layout.js - the data as objects, and where everything of a fabric is drawn.

const data = JSON.parse(document.getElementById("data").textContent);

function readCable(fabric, row, id) {
  const [label, a, portA, b, portB, gbps, lane, medium, length, rackA, rackB] = row;
  const count = fabric.switches.length;
  return {id, label, a, b, portA, portB, gbps, lane, medium, length, rackA, rackB,
    joins: a >= count || b >= count ? false : true, dead: false, occupied: false};
}

function readFabric(raw) {
  const fabric = {name: raw.name, kind: raw.kind, planes: raw.planes, servers: raw.servers};
  fabric.switches = raw.switches.map(([name, side, plane, ports], id) =>
    ({id, name, side, plane, ports, nics: [], cables: []}));
  fabric.nics = raw.nics.map(([server, name, at, port, cable], id) =>
    ({id, server, name, at, port, cable, full: `${raw.servers[server][0]}/${name}`}));
  fabric.cables = raw.cables.map((row, id) => readCable(fabric, row, id));
  for (const id of raw.dead) fabric.cables[id].dead = true;
  for (const id of raw.occupied) fabric.cables[id].occupied = true;
  for (const nic of fabric.nics) fabric.switches[nic.at].nics.push(nic);
  for (const cable of fabric.cables.filter((each) => each.joins)) {
    fabric.switches[cable.a].cables.push(cable);
    fabric.switches[cable.b].cables.push(cable);
  }
  for (const cable of fabric.cables) nameEnds(fabric, cable);
  return fabric;
}

function nameEnds(fabric, cable) {
  const count = fabric.switches.length;
  const name = (end, port) => end < count ? `${fabric.switches[end].name}:${port}` :
    fabric.nics[end - count].full;
  cable.nameA = name(cable.a, cable.portA);
  cable.nameB = name(cable.b, cable.portB);
  cable.nic = cable.joins ? null : fabric.nics[Math.max(cable.a, cable.b) - count];
  cable.plane = fabric.switches[Math.min(cable.a, cable.b)].plane;
}

// Messages by link; link 2c goes from end a of cable c to end b, link 2c + 1 back.
function unpackLoads(lists, cables) {
  const loads = new Float32Array(2 * cables);
  for (const [count, ...runs] of lists) {
    let at = 0;
    for (let i = 0; i < runs.length; i += 2) {
      at += runs[i];
      loads.fill(count, at, at + runs[i + 1]);
      at += runs[i + 1];
    }
  }
  return loads;
}

// Squares for `most` NICs in a block: as wide a block as nearly keeps the largest size.
function cellsFor(most, width, height, largest) {
  let best = {size: 0, columns: 1};
  for (let columns = 1; columns <= Math.max(1, most); ++columns) {
    const size = Math.min(largest, width / columns, height / Math.ceil(most / columns));
    if (size >= 0.85 * best.size) best = {size, columns};
  }
  return {...best, rows: Math.ceil(most / best.columns)};
}

const BOX = 24;

function placeRow(row, width, cells, side, place) {
  const slot = width / row.length;
  row.forEach((each, i) => {
    const columns = Math.min(cells.columns, each.nics.length);
    const wish = Math.max(132, columns * cells.size + 8);
    const box = {x: slot * (i + 0.5), y: place.y, w: Math.min(slot - 6, wish), h: BOX, side};
    place.boxes.set(each.id, box);
    each.nics.forEach((nic, k) => {
      const x = box.x + (k % cells.columns - columns / 2) * cells.size;
      const line = Math.floor(k / cells.columns);
      const y = side === "upper" ? box.y - place.gap - (line + 1) * cells.size :
        box.y + BOX + place.gap + line * cells.size;
      place.nics.set(nic.id, {x: x + 1, y: y + 1, s: cells.size - 2, box, stub: cells.rows === 1});
    });
  });
}

function cellsOfRow(row, width) {
  const most = Math.max(0, ...row.map((each) => each.nics.length));
  const cells = cellsFor(most, width / row.length - 8, 92, 28);
  if (most === 0) return {...cells, rows: 0, height: 0, gap: 0};
  const gap = cells.rows === 1 ? 14 : 5;
  return {...cells, gap, height: cells.rows * cells.size + gap};
}

function layRows(switches, width, height) {
  const upper = switches.filter((each) => each.side === "upper");
  const lower = switches.filter((each) => each.side === "lower");
  const place = {boxes: new Map(), nics: new Map(), y: 0, gap: 0};
  const above = cellsOfRow(upper, width);
  const below = cellsOfRow(lower, width);
  const rest = above.height + below.height + 2 * BOX + 24;
  const zone = Math.max(230, Math.min(430, height - rest));
  place.y = 12 + above.height;
  place.gap = above.gap;
  if (upper.length) placeRow(upper, width, above, "upper", place);
  place.y += BOX + zone;
  place.gap = below.gap;
  if (lower.length) placeRow(lower, width, below, "lower", place);
  return {...place, height: rest + zone};
}

// No layers: the switches on an ellipse, their NICs outside it.
function layCircle(switches, width, height) {
  const place = {boxes: new Map(), nics: new Map(), height: Math.max(height, 560)};
  const most = Math.max(0, ...switches.map((each) => each.nics.length));
  const room = Math.min(76, Math.max(20, 1500 / switches.length));
  const cells = cellsFor(most, room, room * 0.8, 20);
  const rx = width / 2 - cells.columns * cells.size - 60;
  const ry = place.height / 2 - cells.rows * cells.size - 30;
  switches.forEach((each, i) => {
    const turn = 2 * Math.PI * i / switches.length - Math.PI / 2;
    const [dx, dy] = [Math.cos(turn), Math.sin(turn)];
    const w = Math.min(72, Math.max(14, 1600 / switches.length));
    const box = {x: width / 2 + rx * dx, y: place.height / 2 + ry * dy - 10, w, h: 20,
      side: "none"};
    place.boxes.set(each.id, box);
    const columns = Math.min(cells.columns, each.nics.length);
    const lines = Math.ceil(each.nics.length / cells.columns);
    const left = box.x + dx * (w / 2 + columns * cells.size / 2 + 5) - columns * cells.size / 2;
    const top = box.y + 10 + dy * (18 + lines * cells.size / 2) - lines * cells.size / 2;
    each.nics.forEach((nic, k) => place.nics.set(nic.id, {
      x: left + k % cells.columns * cells.size + 1, box, stub: false, s: cells.size - 2,
      y: top + Math.floor(k / cells.columns) * cells.size + 1}));
  });
  return place;
}

// Where on its switch each cable ends: side by side, in the order of the other ends.
function portsOf(fabric, each, boxes) {
  const box = boxes.get(each.id);
  const other = (cable) => cable.a === each.id ? cable.b : cable.a;
  const shown = each.cables.filter((cable) => boxes.has(other(cable)));
  shown.sort((p, q) => boxes.get(other(p)).x - boxes.get(other(q)).x || p.id - q.id);
  const at = new Map();
  shown.forEach((cable, k) => {
    const x = box.x + box.w * 0.84 * ((k + 0.5) / shown.length - 0.5);
    const y = box.side === "upper" ? box.y + box.h : box.side === "lower" ? box.y :
      box.y + box.h / 2;
    at.set(cable.id, {x: box.side === "none" ? box.x : x, y, side: box.side});
  });
  return at;
}

// A cubic curve as its four points.
function curve(p, q, middle, lane) {
  if (p.side === "none") {
    const share = 0.06 + 0.06 * lane;
    const pulled = (from, to, axis) =>
      (1 - share) * (2 * from[axis] + to[axis]) / 3 + share * middle[axis];
    const bend = (from, to) => ({x: pulled(from, to, "x"), y: pulled(from, to, "y")});
    return [p, bend(p, q), bend(q, p), q];
  }
  const lean = 0.38 * Math.max(120, Math.abs(q.y - p.y));
  const away = (from) => ({x: from.x, y: from.y + (from.side === "upper" ? lean : -lean)});
  return [p, away(p), away(q), q];
}

function pointOn([p0, p1, p2, p3], t) {
  const u = 1 - t;
  const mix = (axis) => u * u * u * p0[axis] + 3 * u * u * t * p1[axis] +
    3 * u * t * t * p2[axis] + t * t * t * p3[axis];
  return {x: mix("x"), y: mix("y")};
}

function layOut(fabric, plane, width, height) {
  const switches = fabric.switches.filter((each) => each.plane === plane);
  const is_layered = switches.every((each) => each.side !== "none");
  const place = (is_layered ? layRows : layCircle)(switches, width, height);
  const ends = new Map(switches.map((each) => [each.id, portsOf(fabric, each, place.boxes)]));
  const middle = {x: width / 2, y: place.height / 2};
  place.cables = new Map();
  for (const cable of fabric.cables) {
    if (!cable.joins || !place.boxes.has(cable.a) || !place.boxes.has(cable.b)) continue;
    const points = curve(ends.get(cable.a).get(cable.id), ends.get(cable.b).get(cable.id), middle,
      cable.lane);
    const samples = Array.from({length: 25}, (unused, i) => pointOn(points, i / 24));
    place.cables.set(cable.id, {points, samples});
  }
  return place;
}
