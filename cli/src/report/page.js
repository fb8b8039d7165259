// The report. Everything that comes from the profile reaches the page as text, never as markup.
"use strict";
(async () => {
const started = performance.now();
const $ = id => document.getElementById(id);
const make = (tag, properties = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
        if (name === "text") element.textContent = value;
        else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
        else element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
};
const SVG = "http://www.w3.org/2000/svg";
const draw = (tag, attributes, text) => {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text !== undefined) element.textContent = text;
    return element;
};
const format = new Intl.NumberFormat("en-US");
const number = value => format.format(Math.round(value));
const share = (part, whole) => whole > 0 ? (100 * part / whole).toFixed(1) + "%" : "–";

// ---- The data: a head in JSON, then columns of numbers, seven bits a byte.
const unpack = async () => {
    const text = atob($("data").textContent.trim());
    const packed = new Uint8Array(text.length);
    for (let at = 0; at < packed.length; at++) packed[at] = text.charCodeAt(at);
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
};
const bytes = await unpack();
const headLength = new DataView(bytes.buffer).getUint32(0, true);
const head = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + headLength)));
const column = {};
let position = 4 + headLength;
for (const [name, length] of head.columns) {
    const values = new Float64Array(length);
    for (let index = 0; index < length; index++) {
        let value = 0, unit = 1, byte;
        do {
            byte = bytes[position++];
            value += (byte & 127) * unit;
            unit *= 128;
        } while (byte > 127);
        values[index] = value;
    }
    column[name] = values;
}
const { strings, figures } = head;
const indices = name => Int32Array.from(column[name]);
const parents = name => Int32Array.from(column[name], (distance, index) => index - distance);
// Places (function, file, line); a tree of places; the same tree by functions alone.
const place = { name: indices("place_name"), file: indices("place_file"), line: indices("place_line"), foreign: indices("place_foreign") };
const node = { parent: parents("node_parent"), place: indices("node_place"), box: indices("node_box") };
const box = { parent: parents("box_parent"), name: indices("box_name"), foreign: indices("box_foreign") };
const point = { node: indices("point_node"), own: indices("point_own"), crate: indices("point_crate"), type: indices("point_type"), through: indices("point_through") };
const points = point.node.length;
const values = Object.fromEntries(figures.map(figure => [figure.id, column["figure_" + figure.id]]));
const sum = list => { let all = 0; for (let index = 0; index < list.length; index++) all += list[index]; return all; };
const nameOf = at => strings[place.name[node.place[at]]];
const placeOf = at => {
    const here = node.place[at];
    const file = strings[place.file[here]];
    return file && (place.line[here] ? file + ":" + place.line[here] : file);
};
const siteOf = index => {
    const through = strings[point.through[index]];
    const type = strings[point.type[index]];
    return { name: nameOf(point.own[index]), place: placeOf(point.own[index]), through: (through ? "through " + through : "") + (type ? " [" + type + "]" : "") };
};
const label = index => {
    const site = siteOf(index);
    const button = make("button", { type: "button", class: "link", text: site.name, onclick: () => showPoint(index) });
    return [button, make("span", { class: "place", text: (site.place ? " " + site.place : "") + (site.through ? " " + site.through : "") })];
};

let figure = figures[0];
const current = () => values[figure.id];

// ---- Head
document.title = head.command + " – heap profile";
$("command").textContent = head.command + " (process " + head.pid + ")";
for (const [name, text] of head.totals) $("totals").append(make("div", {}, make("dt", { text: name }), make("dd", { text })));
for (const text of head.notes) $("notes").append(make("p", { class: "place", text }));
for (const choice of figures) $("figure").append(make("option", { value: choice.id, text: choice.title }));
$("controls").addEventListener("submit", event => event.preventDefault());
$("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    drawFlame();
});

// ---- Search: what has the text in a function's or file's name.
let needle = "";
let boxFound = null;   // boxes of such a function
let pointFound = null; // points with such a place in their stack
const search = () => {
    needle = $("search").value.trim().toLowerCase();
    if (!needle) {
        boxFound = pointFound = null;
        $("found").textContent = "";
    } else {
        const stringFound = strings.map(text => text.toLowerCase().includes(needle));
        boxFound = Uint8Array.from(box.name, name => stringFound[name]);
        const nodeFound = new Uint8Array(node.parent.length);
        for (let at = 1; at < nodeFound.length; at++) {
            const here = node.place[at];
            nodeFound[at] = nodeFound[node.parent[at]] || stringFound[place.name[here]] || stringFound[place.file[here]] ? 1 : 0;
        }
        pointFound = Uint8Array.from(point.node, at => nodeFound[at]);
        let found = 0;
        const list = current();
        for (let index = 0; index < points; index++) if (pointFound[index]) found += list[index];
        $("found").textContent = share(found, sum(list)) + " of " + figure.title + " in " + number(sum(pointFound)) + " sites";
    }
    drawFlame();
    drawSites();
};
let searching = 0;
$("search").addEventListener("input", () => { clearTimeout(searching); searching = setTimeout(search, 120); });

// ---- Tabs
const tabs = [...document.querySelectorAll("[role=tab]")];
const openTab = tab => {
    for (const other of tabs) {
        const selected = other === tab;
        other.setAttribute("aria-selected", selected);
        other.tabIndex = selected ? 0 : -1;
        $(other.getAttribute("aria-controls")).hidden = !selected;
    }
    redraw();
};
for (const [index, tab] of tabs.entries()) {
    tab.addEventListener("click", () => openTab(tab));
    tab.addEventListener("keydown", event => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!step) return;
        const next = tabs[(index + step + tabs.length) % tabs.length];
        openTab(next);
        next.focus();
    });
}
const isOpen = id => !$(id).hidden;

// ---- Flame graph
const ROW = 18;
const canvas = $("canvas");
const pen = canvas.getContext("2d");
const firstKid = new Int32Array(box.parent.length).fill(-1);
const nextKid = new Int32Array(box.parent.length).fill(-1);
for (let at = box.parent.length - 1; at > 0; at--) {
    nextKid[at] = firstKid[box.parent[at]];
    firstKid[box.parent[at]] = at;
}
const boxTotals = {};
const totalsOf = id => boxTotals[id] ??= (() => {
    const totals = new Float64Array(box.parent.length);
    for (let index = 0; index < points; index++) totals[node.box[point.node[index]]] += values[id][index];
    for (let at = totals.length - 1; at > 0; at--) totals[box.parent[at]] += totals[at];
    return totals;
})();
const kidsOf = (at, totals) => {
    const kids = [];
    for (let kid = firstKid[at]; kid >= 0; kid = nextKid[kid]) if (totals[kid] > 0) kids.push(kid);
    return kids.sort((a, b) => totals[b] - totals[a]);
};
let zoomed = 0;
let chosen = 0;
let drawn = []; // [box, x, y, width]
const colour = (at, dark) => {
    if (boxFound?.[at]) return dark ? "#8a1a72" : "#f3a6dc";
    if (at === 0 || box.foreign[at]) return dark ? "#30363d" : "#dfe3e8";
    const name = strings[box.name[at]];
    let hash = 0;
    for (let index = 0; index < Math.min(name.length, 40); index++) hash = (hash * 31 + name.charCodeAt(index)) | 0;
    return "hsl(" + (15 + Math.abs(hash) % 45) + " " + (dark ? "55% 32%" : "85% 72%") + ")";
};
const layout = width => {
    const totals = totalsOf(figure.id);
    const above = [];
    for (let at = zoomed; at !== 0; at = box.parent[at]) above.push(box.parent[at]);
    const boxes = above.reverse().map((at, depth) => [at, 0, depth * ROW, width]);
    const waiting = [[zoomed, 0, above.length, width]];
    while (waiting.length) {
        const [at, x, depth, wide] = waiting.pop();
        boxes.push([at, x, depth * ROW, wide]);
        let left = x;
        for (const kid of kidsOf(at, totals)) {
            const kidWide = wide * totals[kid] / totals[at];
            if (kidWide < 0.4) break;
            waiting.push([kid, left, depth + 1, kidWide]);
            left += kidWide;
        }
    }
    return boxes;
};
function drawFlame() {
    if (!isOpen("flame")) return;
    const width = canvas.clientWidth || 800;
    drawn = layout(width);
    const height = drawn.reduce((most, [, , y]) => Math.max(most, y), 0) + ROW;
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    canvas.style.height = height + "px";
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.font = "12px ui-monospace, monospace";
    pen.textBaseline = "middle";
    const style = getComputedStyle(document.documentElement);
    const dark = style.colorScheme === "dark";
    const text = style.getPropertyValue("--text"), accent = style.getPropertyValue("--accent");
    const letter = pen.measureText("n").width;
    for (const [at, x, y, wide] of drawn) {
        pen.fillStyle = colour(at, dark);
        pen.fillRect(x, y, Math.max(wide - 0.5, 0.4), ROW - 1);
        if (wide > 4 * letter) {
            const room = Math.floor((wide - 6) / letter);
            const name = strings[box.name[at]];
            pen.fillStyle = text;
            pen.fillText(name.length > room ? name.slice(0, room - 1) + "…" : name, x + 3, y + ROW / 2);
        }
        if (at === chosen) {
            pen.strokeStyle = accent;
            pen.lineWidth = 2;
            pen.strokeRect(x + 1, y + 1, Math.max(wide - 2.5, 1), ROW - 3);
        }
    }
    const totals = totalsOf(figure.id);
    $("flame-status").textContent = strings[box.name[chosen]] + ": " + number(totals[chosen]) + " " + figure.unit + ", " + share(totals[chosen], totals[0]);
    $("zoom-out").disabled = zoomed === 0;
    $("sites-below").disabled = chosen === 0;
}
const choose = at => { chosen = at; drawFlame(); };
const zoom = at => { zoomed = chosen = at; drawFlame(); };
canvas.addEventListener("click", event => {
    const hit = drawn.findLast(([, x, y, wide]) => event.offsetX >= x && event.offsetX < x + wide && event.offsetY >= y && event.offsetY < y + ROW);
    if (hit) zoom(hit[0]);
});
canvas.addEventListener("mousemove", event => {
    const hit = drawn.findLast(([, x, y, wide]) => event.offsetX >= x && event.offsetX < x + wide && event.offsetY >= y && event.offsetY < y + ROW);
    const totals = totalsOf(figure.id);
    canvas.title = hit ? strings[box.name[hit[0]]] + "\n" + number(totals[hit[0]]) + " " + figure.unit + ", " + share(totals[hit[0]], totals[0]) : "";
});
canvas.addEventListener("keydown", event => {
    const totals = totalsOf(figure.id);
    const beside = step => {
        if (chosen === 0) return chosen;
        const kids = kidsOf(box.parent[chosen], totals);
        return kids[(kids.indexOf(chosen) + step + kids.length) % kids.length] ?? chosen;
    };
    const moves = {
        ArrowDown: () => choose(kidsOf(chosen, totals)[0] ?? chosen),
        ArrowUp: () => choose(chosen === 0 ? 0 : box.parent[chosen]),
        ArrowRight: () => choose(beside(1)),
        ArrowLeft: () => choose(beside(-1)),
        Enter: () => zoom(chosen),
        Escape: () => zoom(0),
    };
    if (!moves[event.key]) return;
    event.preventDefault();
    moves[event.key]();
});
$("zoom-out").addEventListener("click", () => zoom(0));
window.addEventListener("resize", () => drawFlame());

// ---- Sites
let below = null; // a box: only points under it
$("sites-below").addEventListener("click", () => { below = chosen; openTab($("tab-sites")); });
$("site-filter").querySelector("button").addEventListener("click", () => { below = null; drawSites(); });
const MORE = 100;
let rowsShown = MORE;
let sortBy = null; // a figure's id, or null for the one chosen above
let ascending = false;
const columnsOfSites = () => {
    const mean = (of, by) => index => values[by][index] ? values[of][index] / values[by][index] : 0;
    const list = [{ id: figure.id, title: figure.title, of: index => current()[index] }];
    list.push({ id: "share", title: "share", of: index => current()[index], text: (value, whole) => share(value, whole) });
    for (const id of ["total-bytes", "total-blocks", "peak-bytes", "end-bytes"]) {
        const other = figures.find(candidate => candidate.id === id);
        if (other && id !== figure.id) list.push({ id, title: other.title, of: index => values[id][index] });
    }
    list.push({ id: "mean-size", title: "mean size", of: mean("total-bytes", "total-blocks") });
    if (values.lifetimes) list.push({ id: "mean-lifetime", title: "mean lifetime (" + head.time + ")", of: mean("lifetimes", "total-blocks") });
    return list;
};
const isBelow = () => {
    if (below === null) return null;
    const under = new Uint8Array(box.parent.length);
    under[below] = 1;
    for (let at = below + 1; at < under.length; at++) under[at] ||= under[box.parent[at]];
    return under;
};
function drawSites() {
    if (!isOpen("sites")) return;
    const columns = columnsOfSites();
    const sorted = columns.find(({ id }) => id === sortBy) ?? columns[0];
    const under = isBelow();
    const list = current();
    const rows = [];
    for (let index = 0; index < points; index++) {
        if (pointFound && !pointFound[index] || under && !under[node.box[point.node[index]]]) continue;
        rows.push(index);
    }
    const keys = new Float64Array(points);
    for (const index of rows) keys[index] = sorted.of(index);
    rows.sort(ascending ? (a, b) => keys[a] - keys[b] || a - b : (a, b) => keys[b] - keys[a] || a - b);
    const table = $("site-table");
    table.caption.textContent = number(rows.length) + " sites";
    $("site-filter").hidden = below === null;
    $("site-filter").querySelector("span").textContent = below === null ? "" : "Under " + strings[box.name[below]];
    const header = make("tr");
    for (const each of columns) {
        const isSorted = each === sorted;
        const button = make("button", { type: "button", text: each.title, onclick: () => {
            ascending = isSorted && !ascending;
            sortBy = each.id;
            drawSites();
            $("site-table").querySelector("th[aria-sort] button")?.focus();
        } });
        const cell = make("th", { scope: "col" }, button);
        if (isSorted) cell.setAttribute("aria-sort", ascending ? "ascending" : "descending");
        header.append(cell);
    }
    header.append(make("th", { scope: "col", text: "site" }));
    table.tHead.replaceChildren(header);
    const whole = sum(list);
    table.tBodies[0].replaceChildren(...rows.slice(0, rowsShown).map(index => make("tr", {},
        ...columns.map(each => make("td", { text: each.text ? each.text(each.of(index), whole) : number(each.of(index)) })),
        make("td", {}, ...label(index)))));
    $("more-sites").hidden = rows.length <= rowsShown;
}
$("more-sites").addEventListener("click", () => { rowsShown += MORE; drawSites(); });

// ---- Callers
const KIDS = 200;
const groups = (list, keyOf, ofPoint) => {
    const found = new Map();
    for (const [index, at] of list) {
        const key = keyOf(index, at);
        if (key === null) continue;
        let group = found.get(key);
        if (!group) found.set(key, group = { name: strings[key], value: 0, list: [] });
        group.value += ofPoint[index];
        group.list.push([index, at]);
    }
    return [...found.values()].filter(({ value }) => value > 0).sort((a, b) => b.value - a.value);
};
const functionOf = (index, at) => at === 0 ? null : place.name[node.place[at]];
const expandable = (group, level) => level > 0 || group.list.some(([, at]) => node.parent[at] !== 0);
// The next level: from crates and types to functions, from functions to their callers.
const expand = (group, level) => level > 0
    ? groups(group.list, functionOf, current())
    : groups(group.list.map(([index, at]) => [index, node.parent[at]]), functionOf, current());
const treeItem = (group, level, whole) => {
    const item = make("li", { role: "treeitem", tabindex: "-1" });
    const open = expandable(group, level);
    if (open) item.setAttribute("aria-expanded", "false");
    const arrow = make("span", { "aria-hidden": "true" });
    const row = make("div", { class: "row" }, arrow, make("span", { text: number(group.value) }), make("span", { text: share(group.value, whole) }), make("span", { text: group.name || "(other)" }));
    item.append(row);
    item.toggle = wanted => {
        if (!open) return;
        const opened = item.getAttribute("aria-expanded") === "true";
        if (opened === wanted) return;
        item.setAttribute("aria-expanded", String(!opened));
        if (opened) return item.querySelector("[role=group]").remove();
        const kids = make("ul", { role: "group" });
        fill(kids, expand(group, level), Math.max(level - 1, 0), whole);
        item.append(kids);
    };
    row.addEventListener("click", () => { item.toggle(); focusItem(item); });
    return item;
};
const fill = (list, all, level, whole) => {
    list.replaceChildren(...all.slice(0, KIDS).map(group => treeItem(group, level, whole)));
    if (all.length > KIDS) list.append(make("li", { role: "none", class: "place", text: "… and " + number(all.length - KIDS) + " smaller ones" }));
};
const focusItem = item => {
    for (const other of $("tree").querySelectorAll("[tabindex='0']")) other.tabIndex = -1;
    item.tabIndex = 0;
    item.focus();
};
function drawCallers() {
    if (!isOpen("callers")) return;
    const kind = $("grouping").value;
    const all = [];
    for (let index = 0; index < points; index++) all.push([index, point.own[index]]);
    const keyOf = { function: functionOf, crate: index => point.crate[index], type: index => point.type[index] }[kind];
    const list = current();
    fill($("tree"), groups(all, keyOf, list), kind === "function" ? 0 : 1, sum(list));
    const first = $("tree").querySelector("[role=treeitem]");
    if (first) first.tabIndex = 0;
}
$("grouping").addEventListener("change", drawCallers);
$("tree").addEventListener("keydown", event => {
    const items = [...$("tree").querySelectorAll("[role=treeitem]")];
    const item = event.target.closest("[role=treeitem]");
    const at = items.indexOf(item);
    const moves = {
        ArrowDown: () => items[at + 1] && focusItem(items[at + 1]),
        ArrowUp: () => items[at - 1] && focusItem(items[at - 1]),
        Home: () => focusItem(items[0]),
        End: () => focusItem(items[items.length - 1]),
        ArrowRight: () => item.getAttribute("aria-expanded") === "true" ? focusItem(items[at + 1]) : item.toggle(true),
        ArrowLeft: () => {
            if (item.getAttribute("aria-expanded") === "true") return item.toggle(false);
            const parent = item.parentElement.closest("[role=treeitem]");
            if (parent) focusItem(parent);
        },
        Enter: () => item.toggle(),
    };
    if (!moves[event.key] || !item) return;
    event.preventDefault();
    moves[event.key]();
});

// ---- Timeline
function drawTimeline() {
    const panel = $("timeline");
    if (panel.hidden || panel.childElementCount) return;
    const moments = head.timeline;
    if (!moments.length) {
        panel.append(make("p", { text: "The file has no timeline: its profiler recorded none." + (head.peak === null ? "" : " Most bytes were live at " + number(head.peak) + " of " + number(head.end) + " " + head.time + ".") }));
        return;
    }
    const [WIDE, HIGH, LEFT, TOP] = [1000, 300, 0, 20];
    const last = Math.max(head.end, moments[moments.length - 1][0], 1);
    const peak = moments.find(moment => moment[5]) ?? moments.reduce((most, moment) => moment[1] > most[1] ? moment : most);
    const most = Math.max(...moments.map(moment => moment[1]), 1);
    const x = time => LEFT + WIDE * time / last;
    const y = live => TOP + (HIGH - TOP) * (1 - live / most);
    const picture = draw("svg", { viewBox: "0 0 1000 320", preserveAspectRatio: "none", role: "img", "aria-label": "Live bytes over time: most, " + number(peak[1]) + ", at " + number(peak[0]) + " of " + number(last) + " " + head.time });
    picture.append(
        draw("line", { class: "axis", x1: 0, x2: WIDE, y1: HIGH, y2: HIGH }),
        draw("polyline", { class: "curve", points: moments.map(moment => x(moment[0]).toFixed(2) + "," + y(moment[1]).toFixed(2)).join(" ") }),
        draw("line", { class: "peak", id: "peak-mark", x1: x(peak[0]), x2: x(peak[0]), y1: 0, y2: HIGH }));
    panel.append(
        make("p", { id: "peak-text", text: "Peak: " + number(peak[1]) + " bytes in " + number(peak[2]) + " blocks at " + number(peak[0]) + " of " + number(last) + " " + head.time }),
        picture);
    if (peak[6].length) {
        panel.append(make("h3", { text: "Who held most at the peak" }), table(["bytes", "share", "site"], peak[6].map(([index, live]) => [number(live), share(live, peak[1]), label(index)])));
    }
    const details = make("details", {}, make("summary", { text: "The curve as a table" }));
    const titles = ["time (" + head.time + ")", "live bytes", "live blocks", "allocated bytes", "allocated blocks"];
    const known = moments.some(moment => moment[3] > 0) ? 5 : 3;
    details.append(table(titles.slice(0, known), moments.map(moment => moment.slice(0, known).map(number))));
    panel.append(details);
}
const table = (headers, rows) => make("div", { class: "scroll" }, make("table", {},
    make("thead", {}, make("tr", {}, ...headers.map(text => make("th", { scope: "col", text })))),
    make("tbody", {}, ...rows.map(cells => make("tr", {}, ...cells.map(cell => Array.isArray(cell) ? make("td", {}, ...cell) : make("td", { text: cell })))))));

// ---- Waste
const WASTE = [
    ["unwritten-bytes", "Never written", "Allocated and not written to: smaller buffers, or none, would do."],
    ["tail-bytes", "Over-capacity", "Unused ends of the blocks that were measured: with_capacity of what is needed, or shrink_to_fit."],
    ["short-lived-blocks", "Short-lived blocks", "Given back at once: a buffer that is kept and cleared saves them."],
    ["reallocs", "Growth", ""],
    ["end-bytes", "Live at the end", "Not given back when the recording ended."],
];
function drawWaste() {
    const panel = $("waste");
    if (panel.hidden || panel.childElementCount) return;
    const absent = [];
    for (const [id, title, advice] of WASTE) {
        if (!values[id]) {
            absent.push(title.toLowerCase());
            continue;
        }
        const list = values[id];
        const rows = [...list.keys()].filter(index => list[index] > 0).sort((a, b) => list[b] - list[a]).slice(0, 15);
        panel.append(make("h3", { text: title }));
        if (!rows.length) {
            panel.append(make("p", { text: "None." }));
            continue;
        }
        const about = figures.find(candidate => candidate.id === id);
        if (id === "reallocs") {
            const copied = values["copied-bytes"];
            panel.append(make("p", { text: "Reserving the final capacity would have saved these reallocations, and the copies of those that moved." }),
                table(["reallocations", "bytes copied", "site"], rows.map(index => [number(list[index]), number(copied[index]),
                    [...label(index), make("span", { text: " – reserve would have saved " + number(list[index]) + " reallocations, " + number(copied[index]) + " bytes copied" })]])));
            continue;
        }
        const whole = sum(list);
        panel.append(make("p", { text: advice }), table([about.title, "share", "site"], rows.map(index => [number(list[index]), share(list[index], whole), label(index)])));
    }
    if (absent.length) panel.append(make("p", { class: "place", text: "Not measured in this file: " + absent.join(", ") + "." }));
}

// ---- Details of a point
let opener = null;
function showPoint(index) {
    opener = document.activeElement;
    const site = siteOf(index);
    $("details-title").textContent = site.name;
    const facts = make("dl");
    for (const each of figures) {
        if (values[each.id][index]) facts.append(make("div", {}, make("dt", { text: each.title }), make("dd", { text: number(values[each.id][index]) })));
    }
    const stack = make("ol");
    for (let at = point.node[index]; at !== 0; at = node.parent[at]) {
        const foreign = place.foreign[node.place[at]];
        stack.append(make("li", { class: foreign ? "foreign" : "own" }, nameOf(at), make("span", { class: "place", text: " " + placeOf(at) })));
    }
    $("details-body").replaceChildren(make("p", { class: "place", text: [site.place, site.through].filter(Boolean).join(" ") }), facts, make("h3", { text: "Allocated at, innermost first" }), stack);
    $("details").hidden = false;
    $("details-title").focus();
}
const closeDetails = () => {
    if ($("details").hidden) return;
    $("details").hidden = true;
    opener?.focus();
};
$("close").addEventListener("click", closeDetails);
document.addEventListener("keydown", event => { if (event.key === "Escape") closeDetails(); });

function redraw() {
    drawFlame();
    drawSites();
    drawCallers();
    drawTimeline();
    drawWaste();
}
$("figure").addEventListener("change", () => {
    figure = figures.find(choice => choice.id === $("figure").value);
    if (needle) search();
    redraw();
});
// report.html#waste opens at that view.
openTab(tabs.find(tab => tab.getAttribute("aria-controls") === location.hash.slice(1)) ?? tabs[0]);
document.body.dataset.readyAfter = Math.round(performance.now() - started);
document.body.dataset.ready = Math.round(performance.now());
})();
