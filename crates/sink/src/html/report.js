// Draws the table of every service, and filters it. It decides nothing: how well a service is stands in the data.
//
// Only what can be seen soon is in the page: a node's services are drawn when it is open, and so many rows at a time.
// Text is put into the page as text (textContent), never as HTML.
"use strict";
(() => {
  // Rows drawn at a time.
  const BATCH = 200;

  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);
  const place = Object.fromEntries(data.columns.map(([name], index) => [name, index]));
  const wellAt = 0;

  const make = (name, attributes, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };

  const counted = (count, what) => `${count.toLocaleString("en")} ${what}${count === 1 ? "" : "s"}`;

  const age = (seconds) => {
    if (seconds === null) return "";
    const units = [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]];
    const first = units.findIndex(([, size]) => seconds >= size);
    if (first < 0) return "0s";
    const [unit, size] = units[first];
    const head = `${Math.floor(seconds / size)}${unit}`;
    if (first === 3) return head;
    const [smaller, part] = units[first + 1];
    return `${head}${String(Math.floor((seconds % size) / part)).padStart(2, "0")}${smaller}`;
  };

  const mark = (health, words) => {
    const { word, sign } = data.healths[health];
    return make("span", { class: `mark ${word}` }, make("span", { "aria-hidden": "true" }, sign), ` ${words ?? word}`);
  };

  // One entry a result, in the order of the data.
  const rows = data.results.map((result) => {
    const text = (name) => {
      const index = result[place[name]];
      return index === null ? "" : data.texts[index];
    };
    const row = {
      node: text("node"),
      role: text("role") || "no role",
      service: text("service") || text("supervisor") || "node",
      health: result[place.health],
      state: text("state") || text("outcome"),
      functional: text("functional"),
      uptime: result[place.uptime_s],
      pid: result[place.pid],
      version: text("version"),
      why: text("reason"),
      hint: text("hint"),
    };
    const words = [row.node, row.role, row.service, text("supervisor"), row.state, row.functional, row.why, text("address")];
    row.words = words.join("\n").toLowerCase();
    return row;
  });

  // The nodes of each role, in the order of the summary; a node with two roles is there twice.
  const groups = (() => {
    const roles = new Map(data.overview.roles.map(({ role }) => [role ?? "no role", new Map()]));
    for (const row of rows) {
      if (!roles.has(row.role)) roles.set(row.role, new Map());
      const nodes = roles.get(row.role);
      if (!nodes.has(row.node)) nodes.set(row.node, { role: row.role, node: row.node, rows: [] });
      nodes.get(row.node).rows.push(row);
    }
    return [...roles.values()].flatMap((nodes) => [...nodes.values()]);
  })();

  // What was found on each node besides.
  const facts = new Map(data.nodes.map((node) => [node.node, node]));

  // The filters: of each group of boxes any, of the words all.
  const chosen = { role: new Set(), health: new Set(), state: new Set() };
  let wanted = [];
  // Nodes opened or closed by hand; without, those are open that have something to show.
  let byHand = new Map();
  let allOpen = null;

  const isFiltered = () => wanted.length > 0 || Object.values(chosen).some((set) => set.size > 0);
  const matches = (row) =>
    (chosen.role.size === 0 || chosen.role.has(row.role)) &&
    (chosen.health.size === 0 || chosen.health.has(row.health)) &&
    (chosen.state.size === 0 || chosen.state.has(row.state)) &&
    wanted.every((word) => row.words.includes(word));

  // What is shown, and how much of it is drawn.
  let shown = [];
  let drawn = 0;
  let lastRole = null;
  const table = byId("services");

  const isOpen = (group) => byHand.get(group.all) ?? allOpen ?? (isFiltered() || group.rows.some((row) => row.health !== wellAt));

  const serviceRow = (row) => {
    const cell = (label, content, name) => {
      const attributes = { role: "cell", "data-label": label };
      if (name) attributes.class = name;
      return make("td", attributes, ...(content === "" || content === null ? [] : [content]));
    };
    const why = cell("Reason", row.why);
    if (row.hint) why.append(make("div", { class: "quiet" }, `→ ${row.hint}`));
    return make(
      "tr",
      { role: "row", class: "service" },
      make("th", { scope: "row", role: "rowheader" }, row.service),
      cell("Status", mark(row.health)),
      cell("State", row.state),
      cell("Functional", row.functional),
      cell("Uptime", age(row.uptime), "number"),
      cell("Pid", row.pid === null ? "" : String(row.pid), "number"),
      cell("Version", row.version),
      why,
    );
  };

  // Supervisords and packages of the node, in a line.
  const about = (group) => {
    const node = facts.get(group.node);
    if (!node) return "";
    const supervisors = (node.supervisors ?? [])
      .filter((one) => one.role === group.role)
      .map((one) => `${one.name}${one.version ? ` ${one.version}` : ""} over ${one.via}`);
    const packages = Object.entries(node.packages ?? {}).map(([name, version]) => `${name} ${version}`);
    return [...supervisors, ...packages].join(" · ");
  };

  const fill = (body, group) => {
    const open = isOpen(group);
    const button = make("button", { type: "button", "aria-expanded": String(open) }, group.node);
    const head = make("th", { scope: "rowgroup", role: "rowheader", colspan: "8" }, button);
    head.append(make("span", { class: "quiet" }, `${counted(group.rows.length, "service")} `));
    const counts = new Map();
    for (const row of group.rows) counts.set(row.health, (counts.get(row.health) ?? 0) + 1);
    for (const health of [...counts.keys()].sort((a, b) => b - a)) {
      head.append(mark(health, `${counts.get(health)} ${data.healths[health].word}`), " ");
    }
    button.addEventListener("click", () => {
      byHand.set(group.all, !open);
      fill(body, group);
      body.querySelector("button").focus();
    });
    const lines = [make("tr", { role: "row", class: "node" }, head)];
    if (open) {
      const words = about(group);
      if (words) head.append(make("div", { class: "quiet" }, words));
      lines.push(...group.rows.map(serviceRow));
    }
    body.replaceChildren(...lines);
    return lines.length;
  };

  const drawMore = () => {
    const fragment = document.createDocumentFragment();
    for (let lines = 0; drawn < shown.length && lines < BATCH; drawn += 1) {
      const group = shown[drawn];
      if (group.role !== lastRole) {
        lastRole = group.role;
        const title = make("th", { scope: "rowgroup", role: "rowheader", colspan: "8" }, group.role);
        fragment.append(make("tbody", { role: "rowgroup" }, make("tr", { role: "row", class: "role" }, title)));
      }
      const body = make("tbody", { role: "rowgroup" });
      lines += fill(body, group);
      fragment.append(body);
    }
    table.append(fragment);
    const left = shown.length - drawn;
    byId("more").textContent = `Show more (${counted(left, "node")} left)`;
    byId("rest").hidden = left === 0;
  };

  const show = () => {
    let services = 0;
    const nodes = new Set();
    shown = [];
    for (const group of groups) {
      const found = group.rows.filter(matches);
      if (found.length === 0) continue;
      services += found.length;
      nodes.add(group.node);
      shown.push({ role: group.role, node: group.node, rows: found, all: group });
    }
    for (const body of [...table.tBodies]) body.remove();
    drawn = 0;
    lastRole = null;
    drawMore();
    const all = new Set(groups.map((group) => group.node)).size;
    const words = `Showing ${services.toLocaleString("en")} of ${counted(rows.length, "service")} on ${nodes.size.toLocaleString("en")} of ${counted(all, "node")}.`;
    // Said again only if it is something else.
    if (byId("count").textContent !== words) byId("count").textContent = words;
  };

  // A box for each value there is, with how many rows have it.
  const boxes = (name, values, label) => {
    const counts = new Map();
    for (const row of rows) counts.set(row[name], (counts.get(row[name]) ?? 0) + 1);
    for (const value of values(counts)) {
      const box = make("input", { type: "checkbox", name, value: String(value) });
      box.addEventListener("change", () => {
        if (box.checked) chosen[name].add(value);
        else chosen[name].delete(value);
        byHand = new Map();
        show();
      });
      const words = make("label", {}, box, " ", label(value), ` (${counts.get(value).toLocaleString("en")})`);
      byId(`filter-${name}`).append(words, " ");
    }
  };
  const inOrderOfGroups = new Set(groups.map((group) => group.role));
  boxes("role", () => inOrderOfGroups, (role) => role);
  boxes("health", (counts) => [...counts.keys()].sort((a, b) => b - a), (health) => mark(health));
  boxes("state", (counts) => [...counts.keys()].sort(), (state) => state);

  byId("filter-text").addEventListener("input", (event) => {
    wanted = event.target.value.toLowerCase().split(/\s+/).filter((word) => word !== "");
    byHand = new Map();
    show();
  });
  byId("filter").addEventListener("submit", (event) => event.preventDefault());
  byId("filter").addEventListener("reset", () => {
    for (const set of Object.values(chosen)) set.clear();
    wanted = [];
    byHand = new Map();
    allOpen = null;
    show();
  });
  const openAll = (open) => {
    allOpen = open;
    byHand = new Map();
    show();
  };
  byId("open-all").addEventListener("click", () => openAll(true));
  byId("close-all").addEventListener("click", () => openAll(false));
  byId("more").addEventListener("click", () => {
    const last = table.lastElementChild;
    drawMore();
    // The button goes when there is no more: go on with what it brought.
    last.nextElementSibling?.querySelector("button")?.focus();
  });

  byId("all").hidden = false;
  show();
})();
