// page.js - what is shown now, and what clicks and keys change.

const fabrics = data.fabrics.map(readFabric);
const nicByName = new Map(fabrics[0].nics.map((nic) => [nic.full, nic.id]));
const rowOfNic = new Map(data.ranks.map((row) => [`${row[1]}/${row[3]}`, row]));
const unpacked = new Map();
const byId = (id) => document.getElementById(id);

const state = {study: data.studies[0], round: 0, plane: 0, fabric: fabrics[0], chosen: null,
  rankAt: new Map(), sort: {column: null, down: false}, drawn: null};

function loadsOf(study, round) {
  const cables = fabrics[study.fabric].cables.length;
  if (!study.rounds[round]) return new Float32Array(2 * cables);
  const number = study.rounds[round][1];
  const key = `${data.studies.indexOf(study)} ${number}`;
  if (!unpacked.has(key)) unpacked.set(key, unpackLoads(study.loads[number], cables));
  return unpacked.get(key);
}

const currentLoads = () => loadsOf(state.study, state.round);

// "step 3", or "steps 1 to 126" where a round repeats.
function stepName(study, round) {
  if (!study.rounds[round]) return "no step";
  const before = study.rounds.slice(0, round).reduce((sum, [repeats]) => sum + repeats, 0);
  const repeats = study.rounds[round][0];
  return repeats === 1 ? `step ${before + 1}` : `steps ${before + 1} to ${before + repeats}`;
}

function algorithmName(study) {
  const has_first = study.algorithm === "hd" || study.algorithm === "twolevel";
  return study.algorithm + (has_first ? ` ${study.first}` : "");
}

function studyName(study) {
  const place = study.fabric === 0 ? "" : `${fabrics[study.fabric].name}: `;
  return `${place}${study.order}, ${algorithmName(study)}`;
}

function chooseStudy(number) {
  const before = state.fabric;
  state.study = data.studies[number];
  state.fabric = fabrics[state.study.fabric];
  state.round = Math.max(0, Math.min(state.round, state.study.rounds.length - 1));
  state.rankAt = new Map(state.study.seats.map((nic, rank) => [nic, rank]));
  if (state.fabric !== before) state.chosen = null;
  byId("study").value = number;
  byId("step").max = Math.max(0, state.study.rounds.length - 1);
  document.querySelectorAll("#compare tbody tr").forEach((row, i) =>
    row.classList.toggle("chosen", i === number));
  if (state.fabric !== before || !state.drawn) redraw();
  showBars();
  refresh();
}

function chooseRound(round) {
  const last = Math.max(0, state.study.rounds.length - 1);
  state.round = Math.max(0, Math.min(last, round));
  refresh();
}

// {kind: "cable" | "switch" | "nic", id}, or null.
function choose(what, is_followed) {
  state.chosen = what;
  if (what && is_followed) followPlane(what);
  refresh();
  if (!what || what.kind !== "cable") return;
  const row = document.querySelector(`#cables tr[data-cable="${what.id}"]`);
  const box = document.querySelector("#cables .scroll");
  if (row) box.scrollTop = row.offsetTop - box.clientHeight / 2;
}

function followPlane({kind, id}) {
  const {fabric} = state;
  const plane = kind === "cable" ? fabric.cables[id].plane :
    kind === "switch" ? fabric.switches[id].plane : fabric.switches[fabric.nics[id].at].plane;
  if (plane !== state.plane) choosePlane(plane);
}

function choosePlane(plane) {
  state.plane = plane;
  byId("plane").value = plane;
  redraw();
}

function sortBy(column) {
  const {sort} = state;
  const is_load = document.querySelectorAll("#cables th").length - column <= 2;
  sort.down = sort.column === column ? !sort.down : is_load;
  sort.column = column;
  showCables();
}

function redraw() {
  const width = Math.max(560, byId("drawing").clientWidth);
  const height = Math.max(430, window.innerHeight - 330);
  state.drawn = drawFabric(byId("fabric"), state.fabric, state.plane, width, height);
}

function refresh() {
  paint(state.drawn, currentLoads(), state.chosen, state.rankAt);
  byId("step").value = state.round;
  byId("stepname").textContent = `${stepName(state.study, state.round)} of ${state.study.steps}`;
  document.querySelectorAll("#bars button").forEach((bar, i) =>
    bar.setAttribute("aria-pressed", i === state.round));
  showPanel();
  showCables();
}

function showBars() {
  const {rounds, left_out, note} = state.study;
  const most = Math.max(4, ...rounds.map((round) => round[2]));
  byId("bars").classList.toggle("dense", rounds.length > 40);
  byId("bars").replaceChildren(...rounds.map(([repeats, , load], i) => {
    const bar = element("i", `l${heat(load)}`);
    bar.style.height = `calc((100% - 16px) * ${load / most})`;
    const times = repeats > 1 ? ` \u00d7${repeats}` : "";
    const button = element("button", "", element("b", "", `${tidy(load)}${times}`), bar);
    button.title = `${stepName(state.study, i)}: at most ${plural(load, "message")} on a cable`;
    button.addEventListener("click", () => chooseRound(i));
    return button;
  }));
  byId("barsnote").textContent = rounds.length === 0 ? `Not counted: ${note}` :
    "most messages on a cable between switches, by step" +
    (left_out > 0 ? `; ${left_out} more kinds of step are not on this page` : "");
}

function compareRow(study, number, best) {
  const cells = [study.fabric === 0 ? "" : "\u25c7 ", study.order, algorithmName(study)];
  const name = element("td", "", cells[0] + cells[1]);
  const row = element("tr", "", name, element("td", "", cells[2]));
  row.addEventListener("click", () => chooseStudy(number));
  if (study.rounds.length === 0) {
    const why = element("td", "note", "not counted");
    why.colSpan = 4;
    why.title = study.note;
    row.append(why);
    return row;
  }
  row.append(element("td", "number", chip(study.most)),
    element("td", "number", `${study.slowdown.toFixed(2)}\u00d7`),
    element("td", "number", (study.seconds * 1e3).toFixed(1)),
    element("td", "number", `${(study.seconds / best).toFixed(2)}\u00d7`));
  return row;
}

function showCompare() {
  const table = byId("compare");
  const best = data.studies[0].seconds;
  table.tHead.append(headRow("Order", "Algorithm", "Most", "Slowdown", "ms", "To map"));
  table.tBodies[0].append(...data.studies.map((study, i) => compareRow(study, i, best)));
  const rival = fabrics[1] ? `\u25c7 on a leaf-spine network of as many NICs, by ECMP. ` : "";
  byId("comparenote").textContent = `${rival}Most: messages on a cable in any step. Slowdown: ` +
    `against cables that are never shared. Time of an allreduce of ${data.bytes / 2 ** 20} MiB ` +
    "by max-min fair sharing, a step after the other; without incast, pauses and lost packets.";
}

function showHead() {
  const fabric = fabrics[0];
  const study = data.studies[0];
  document.title = `${data.name}: fabric, cables, ranks`;
  byId("name").textContent = data.name;
  const cables = fabric.cables.filter((cable) => cable.joins).length;
  byId("counts").textContent = [fabric.kind, plural(fabric.servers.length, "server"),
    plural(fabric.nics.length, "NIC"), plural(fabric.switches.length, "switch", "switches"),
    `${fabric.cables.length} cables, ${cables} between switches`,
    fabric.planes > 1 ? plural(fabric.planes, "plane") : "",
    plural(data.ranks.length, "rank")].filter(Boolean).join(" \u00b7 ");
  byId("verdict").className = data.free ? "good" : "bad";
  byId("verdict").textContent = data.free ?
    `Contention-free map: at most one message on any cable in all ${study.steps} steps` :
    `Under the map, up to ${plural(study.most, "message")} share a cable`;
}

function showChoices() {
  data.studies.forEach((study, i) => {
    const option = element("option", "", studyName(study));
    option.value = i;
    byId("study").append(option);
  });
  const planes = Math.max(...fabrics.map((fabric) => fabric.planes));
  byId("planes").hidden = planes < 2;
  for (let plane = 0; plane < planes; ++plane) {
    const option = element("option", "", plane);
    option.value = plane;
    byId("plane").append(option);
  }
  const names = ["no message", "1", "2", "3\u20134", "5\u20138", "more than 8 messages"];
  byId("legend").replaceChildren(...names.map((name, i) =>
    element("li", "", element("i", `l${i}`), name)), element("li", "note",
    "A line is a cable between switches, a square a NIC with its cable and the rank there; the " +
    "colour is that of the busier direction."));
}

// What lies under the pointer: {kind, id} or null.
function under(event) {
  const group = event.target.closest("[data-nic], [data-switch]");
  if (group) {
    return group.dataset.nic !== undefined ? {kind: "nic", id: Number(group.dataset.nic)} :
      {kind: "switch", id: Number(group.dataset.switch)};
  }
  const svg = byId("fabric");
  const point = new DOMPoint(event.clientX, event.clientY)
    .matrixTransform(svg.getScreenCTM().inverse());
  const id = cableNear(state.drawn, point.x, point.y);
  return id === null ? null : {kind: "cable", id};
}

function tipText({kind, id}) {
  const {fabric} = state;
  const loads = currentLoads();
  if (kind === "switch") return fabric.switches[id].name;
  if (kind === "nic") {
    const nic = fabric.nics[id];
    const rank = state.rankAt.has(id) ? `rank ${state.rankAt.get(id)}` : "takes no part";
    return `${nic.full} \u00b7 ${rank} \u00b7 ${fabric.switches[nic.at].name}:${nic.port}`;
  }
  const cable = fabric.cables[id];
  return `${cable.label} \u00b7 ${cable.nameA} \u2013 ${cable.nameB} \u00b7 ` +
    `${tidy(loads[2 * id])} \u2192, ${tidy(loads[2 * id + 1])} \u2190`;
}

function hover(event) {
  const what = under(event);
  const tip = byId("tip");
  document.querySelector("#fabric .hover")?.classList.remove("hover");
  tip.hidden = !what;
  byId("fabric").style.cursor = what ? "pointer" : "";
  if (!what) return;
  const {cables, nics, switches} = state.drawn;
  const drawn = {cable: cables, nic: nics, switch: switches}[what.kind].get(what.id);
  drawn?.classList.add("hover");
  tip.textContent = tipText(what);
  const left = Math.min(event.clientX + 14, window.innerWidth - tip.offsetWidth - 8);
  tip.style.transform = `translate(${left}px, ${event.clientY + 16}px)`;
}

function onKey(event) {
  if (event.key === "Escape") choose(null);
  const is_switch = event.target.dataset && event.target.dataset.switch;
  if (event.key === "Enter" && is_switch) choose({kind: "switch", id: Number(is_switch)});
  const is_typing = event.target.matches?.("input[type=search], select");
  if (is_typing || event.ctrlKey || event.altKey || event.metaKey) return;
  const change = {ArrowLeft: -1, ArrowRight: 1}[event.key];
  if (!change) return;
  event.preventDefault();
  chooseRound(state.round + change);
}

function listen() {
  byId("study").addEventListener("change", (event) => chooseStudy(Number(event.target.value)));
  byId("plane").addEventListener("change", (event) => {
    choosePlane(Number(event.target.value));
    refresh();
  });
  byId("step").addEventListener("input", (event) => chooseRound(Number(event.target.value)));
  byId("back").addEventListener("click", () => chooseRound(state.round - 1));
  byId("on").addEventListener("click", () => chooseRound(state.round + 1));
  byId("cablefilter").addEventListener("input", showCables);
  byId("rankfilter").addEventListener("input", showRanks);
  byId("fabric").addEventListener("click", (event) => choose(under(event)));
  byId("fabric").addEventListener("pointermove", hover);
  byId("fabric").addEventListener("pointerleave", () => { byId("tip").hidden = true; });
  document.querySelector("#cables tbody").addEventListener("click", (event) => {
    const row = event.target.closest("tr");
    choose({kind: "cable", id: Number(row.dataset.cable)}, true);
  });
  document.querySelector("#ranks tbody").addEventListener("click", (event) => {
    const id = nicByName.get(event.target.closest("tr").dataset.nic);
    if (state.study.fabric !== 0) chooseStudy(0);
    if (id !== undefined) choose({kind: "nic", id}, true);
  });
  document.addEventListener("keydown", onKey);
  window.addEventListener("resize", () => {
    redraw();
    refresh();
  });
}

showHead();
showChoices();
showCompare();
showRanks();
listen();
chooseStudy(0);
