// panel.js - what is said of the thing that is chosen, and the tables.

function element(name, kind, ...children) {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  made.append(...children.map((child) => child instanceof Node ? child : String(child)));
  return made;
}

const tidy = (load) => String(Math.round(load * 1000) / 1000);

const plural = (count, noun, nouns = `${noun}s`) => `${tidy(count)} ${count === 1 ? noun : nouns}`;

function chip(load) {
  return element("span", `chip l${heat(load)}`, tidy(load));
}

// A button that chooses what it names.
function choice(kind, id, text) {
  const button = element("button", "link", text);
  button.addEventListener("click", () => choose({kind, id}, true));
  return button;
}

function facts(rows) {
  const list = element("dl", "facts");
  for (const [term, value] of rows) {
    if (value === undefined || value === "") continue;
    list.append(element("dt", "", term), element("dd", "", value));
  }
  return list;
}

// A cable's messages in every round of the study, the present one marked.
function history(cable) {
  const study = state.study;
  const chart = element("div", "history");
  const all = study.rounds.map((unused, i) => loadOf(loadsOf(study, i), cable.id));
  const most = Math.max(2, ...all);
  all.forEach((load, i) => {
    const bar = element("i", `l${heat(load)}${i === state.round ? " now" : ""}`);
    bar.style.height = `${Math.max(6, 100 * load / most)}%`;
    bar.title = `${stepName(study, i)}: ${plural(load, "message")}`;
    chart.append(bar);
  });
  return chart;
}

function endButton(cable, end, name) {
  const {fabric} = state;
  if (end < fabric.switches.length) return choice("switch", end, name);
  return choice("nic", end - fabric.switches.length, name);
}

const MOST_SENDERS = 16;

// Whose messages cross a link between switches: "5 -> 37", as buttons.
function senderList(link) {
  const {study} = state;
  const number = study.rounds[state.round]?.[1];
  const row = study.senders[number]?.find(([which]) => which === link);
  if (!row) return "";
  const pairs = [];
  for (let i = 1; i < row.length; i += 2) pairs.push([row[i], row[i + 1]]);
  const buttons = pairs.slice(0, MOST_SENDERS).map(([from, to]) =>
    choice("nic", study.seats[from], `${from} \u2192 ${to}`));
  const more = pairs.length - buttons.length;
  return element("span", "ranks", "rank", ...buttons, more > 0 ? `and ${more} more` : "");
}

function loadLine(id, from, to, load, link) {
  const line = element("div", "direction", chip(load), ` ${from} \u2192 ${to}`, senderList(link));
  line.id = id;
  line.dataset.load = tidy(load);
  return line;
}

// Both directions of a cable.
function loadLines(cable) {
  const loads = currentLoads();
  const [there, back] = [2 * cable.id, 2 * cable.id + 1];
  return [element("h3", "", `Messages in ${stepName(state.study, state.round)}`),
    loadLine("load-ab", cable.nameA, cable.nameB, loads[there], there),
    loadLine("load-ba", cable.nameB, cable.nameA, loads[back], back)];
}

function cablePanel(cable) {
  const label = element("h2", "", cable.label);
  label.id = "label";
  const flags = [cable.dead ? "dead" : "", cable.occupied ? "occupied by other jobs" : ""];
  return [element("p", "kind", cable.joins ? "Cable between switches" : "Cable of a NIC"), label,
    facts([["End A", endButton(cable, cable.a, cable.nameA)], ["Rack A", cable.rackA],
      ["End B", endButton(cable, cable.b, cable.nameB)], ["Rack B", cable.rackB],
      ["Speed", `${cable.gbps} Gb/s`], ["Medium", cable.medium], ["Length", cable.length],
      ["State", flags.filter(Boolean).join(", ")]]),
    ...loadLines(cable),
    element("h3", "", "In every step of this traffic"), history(cable),
    element("p", "note", data.has_senders ? "" : "Of so many messages the senders are left out.")];
}

function portRows(at) {
  const {fabric} = state;
  const loads = currentLoads();
  const ports = at.cables.map((cable) => [cable.a === at.id ? cable.portA : cable.portB, cable,
    cable.a === at.id ? cable.nameB : cable.nameA]);
  ports.push(...at.nics.map((nic) => [nic.port, fabric.cables[nic.cable], nic.full]));
  ports.sort((a, b) => a[0] - b[0]);
  return ports.map(([port, cable, other]) => {
    const row = element("tr", "", element("td", "number", port),
      element("td", "", choice("cable", cable.id, cable.label)), element("td", "", other),
      element("td", "number", chip(loadOf(loads, cable.id))));
    return row;
  });
}

function headRow(...names) {
  return element("tr", "", ...names.map((name) => element("th", "", name)));
}

function ranksAt(nics) {
  const ranks = nics.filter((nic) => state.rankAt.has(nic.id));
  return element("span", "ranks", ...ranks.map((nic) =>
    choice("nic", nic.id, state.rankAt.get(nic.id))));
}

function switchPanel(at) {
  const used = at.cables.length + at.nics.length;
  const ports = element("table", "rows", element("thead", "",
    headRow("Port", "Cable", "Other end", "Load")), element("tbody", "", ...portRows(at)));
  const side = at.side === "none" ? "" : `${at.side} layer`;
  return [element("p", "kind", "Switch"), element("h2", "", at.name),
    facts([["Layer", side], ["Plane", state.fabric.planes > 1 ? at.plane : ""],
      ["Ports", at.ports > 0 ? `${used} of ${at.ports} in use` : `${used} in use`],
      ["NICs", at.nics.length], ["Ranks", at.nics.length ? ranksAt(at.nics) : ""]]),
    element("div", "scroll ports", ports)];
}

function laneOf(nic) {
  const row = state.study === data.studies[0] ? rowOfNic.get(nic.full) : undefined;
  return row ? row[7] : "";
}

function nicPanel(nic) {
  const {fabric} = state;
  const cable = fabric.cables[nic.cable];
  const mates = fabric.nics.filter((each) => each.server === nic.server);
  const at = fabric.switches[nic.at];
  const nics = element("span", "ranks", ...mates.map((each) =>
    choice("nic", each.id, each.name)));
  return [element("p", "kind", "Host and NIC"), element("h2", "", nic.full),
    facts([["Rank", state.rankAt.get(nic.id) ?? "takes no part"],
      ["Host", `${fabric.servers[nic.server][0]}, ${plural(fabric.servers[nic.server][1], "GPU")}`],
      ["NICs", nics], ["Its ranks", ranksAt(mates)],
      ["Switch", choice("switch", nic.at, `${at.name}:${nic.port}`)], ["Lane", laneOf(nic)],
      ["Cable", choice("cable", cable.id, cable.label)]]),
    ...loadLines(cable)];
}

function hottestPanel() {
  const loads = currentLoads();
  const cables = state.fabric.cables.filter((cable) => cable.joins && loadOf(loads, cable.id) > 0);
  cables.sort((a, b) => loadOf(loads, b.id) - loadOf(loads, a.id) || a.id - b.id);
  const rows = cables.slice(0, 8).map((cable) => element("tr", "",
    element("td", "", choice("cable", cable.id, cable.label)),
    element("td", "", `${cable.nameA} \u2013 ${cable.nameB}`),
    element("td", "number", chip(loadOf(loads, cable.id)))));
  const text = cables.length === 0 ? "No message crosses from switch to switch in this step." :
    `${plural(cables.length, "cable")} between switches in use; the busiest:`;
  return [element("p", "kind", "This step"), element("h2", "", stepName(state.study, state.round)),
    element("p", "", text), element("table", "rows", element("tbody", "", ...rows)),
    element("p", "note", "Click a cable, a switch or a NIC to see all of it. Escape lets go.")];
}

function showPanel() {
  const {fabric, chosen} = state;
  const panel = document.getElementById("panel");
  const parts = !chosen ? hottestPanel() :
    chosen.kind === "cable" ? cablePanel(fabric.cables[chosen.id]) :
      chosen.kind === "switch" ? switchPanel(fabric.switches[chosen.id]) :
        nicPanel(fabric.nics[chosen.id]);
  panel.replaceChildren(...parts);
  if (!chosen) return;
  const close = element("button", "close", "\u00d7");
  close.title = "Let go (Escape)";
  close.addEventListener("click", () => choose(null));
  panel.prepend(close);
}

const MOST_ROWS = 2000;  // More would make every step slow; the filter finds the others.

function matches(text, words) {
  return words.every((word) => text.includes(word));
}

function wordsOf(id) {
  return document.getElementById(id).value.toLowerCase().split(/\s+/).filter(Boolean);
}

// Columns of the cable table: [title, value of a cable, is it a number]. Empty ones are left out.
function cableColumns(fabric) {
  const loads = currentLoads();
  const all = [["Cable", (c) => c.label], ["End A", (c) => c.nameA], ["End B", (c) => c.nameB],
    ["Rack A", (c) => c.rackA], ["Rack B", (c) => c.rackB], ["Medium", (c) => c.medium],
    ["Length", (c) => c.length],
    ["A\u2192B", (c) => loads[2 * c.id], true], ["B\u2192A", (c) => loads[2 * c.id + 1], true]];
  return all.filter(([unused, value, is_number]) => is_number || fabric.cables.some(value));
}

function sortedCables(cables, columns) {
  const {column, down} = state.sort;
  if (column === null || !columns[column]) return cables;
  const [, value, is_number] = columns[column];
  const compare = is_number ? (a, b) => value(a) - value(b) :
    (a, b) => (value(a) || "").localeCompare(value(b) || "", "en", {numeric: true});
  return [...cables].sort((a, b) => (down ? -1 : 1) * compare(a, b) || a.id - b.id);
}

function cableRow(cable, columns) {
  const is_chosen = state.chosen && state.chosen.kind === "cable" && state.chosen.id === cable.id;
  const row = element("tr", is_chosen ? "chosen" : "", ...columns.map(([, value, is_number]) =>
    element("td", is_number ? "number" : "", is_number ? chip(value(cable)) : value(cable) || "")));
  row.dataset.cable = cable.id;
  return row;
}

function showCables() {
  const {fabric} = state;
  const columns = cableColumns(fabric);
  const words = wordsOf("cablefilter");
  const found = fabric.cables.filter((cable) => matches([cable.label, cable.nameA, cable.nameB,
    cable.rackA, cable.rackB, cable.medium, cable.length].join(" ").toLowerCase(), words));
  const shown = sortedCables(found, columns).slice(0, MOST_ROWS);
  const table = document.querySelector("#cables table");
  const head = headRow(...columns.map(([title]) => title));
  [...head.children].forEach((cell, i) => cell.addEventListener("click", () => sortBy(i)));
  if (state.sort.column !== null) {
    head.children[state.sort.column]?.classList.add(state.sort.down ? "down" : "up");
  }
  table.tHead.replaceChildren(head);
  table.tBodies[0].replaceChildren(...shown.map((cable) => cableRow(cable, columns)));
  const rest = shown.length < found.length ? `, the first ${shown.length} shown` : "";
  document.getElementById("cablecount").textContent =
    `${found.length} of ${fabric.cables.length}${rest}`;
}

function showRanks() {
  const words = wordsOf("rankfilter");
  const found = data.ranks.filter((row) => matches(row.join(" ").toLowerCase(), words));
  const shown = found.slice(0, MOST_ROWS);
  const table = document.querySelector("#ranks table");
  table.tHead.replaceChildren(headRow("Rank", "Host", "GPU", "NIC", "Switch", "Port", "Lane"));
  table.tBodies[0].replaceChildren(...shown.map(([rank, host, gpu, nic, , at, port, lane]) => {
    const cells = [rank, host, gpu, nic, at, port, lane];
    const row = element("tr", "", ...cells.map((cell) =>
      element("td", typeof cell === "number" ? "number" : "", cell)));
    row.dataset.nic = `${host}/${nic}`;
    return row;
  }));
  const rest = shown.length < found.length ? `, the first ${shown.length} shown` : "";
  document.getElementById("rankcount").textContent =
    `${found.length} of ${data.ranks.length}${rest}`;
}
