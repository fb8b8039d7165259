// Flame graph
const ROW = 18;
const canvas = $("canvas");
const pen = canvas.getContext("2d");
let firstKid, nextKid, boxTotals;
const linkKids = () => {
    boxTotals = {};
    firstKid = new Int32Array(box.parent.length).fill(-1);
    nextKid = new Int32Array(box.parent.length).fill(-1);
    for (let at = box.parent.length - 1; at > 0; at--) {
        nextKid[at] = firstKid[box.parent[at]];
        firstKid[box.parent[at]] = at;
    }
};
linkKids();
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
const figuresOf = at => {
    const totals = totalsOf(figure.id);
    return amount(totals[at], figure.unit) + ", " + share(totals[at], totals[0]);
};
// Where in its file a box's function was, if it is known: one box can be of several lines.
const placesOf = at => {
    const places = new Set();
    for (let index = 1; index < node.box.length; index++) {
        if (node.box[index] === at && isShown(index)) places.add(placeOf(index));
    }
    places.delete("");
    const [first, ...others] = places;
    return first === undefined ? "" : first + (others.length ? " and " + plural(others.length, "other line") : "");
};
let zoomed = 0;
let chosen = 0;
let drawn = []; // [box, x, y, width]
// Own code is warm, dependencies are cool, the standard library is grey: see the legend.
const colour = (at, palette) => {
    if (boxFound?.[at]) return palette.marked;
    if (box.kind[at] === STANDARD) return palette.standard;
    const name = strings[box.name[at]];
    let hash = 0;
    for (let index = 0; index < Math.min(name.length, 40); index++) hash = (hash * 31 + name.charCodeAt(index)) | 0;
    const shade = Math.abs(hash) % 30;
    if (box.kind[at] === OWN) return "hsl(" + (18 + shade) + " " + (palette.dark ? "70% 32%" : "95% 70%") + ")";
    return "hsl(" + (190 + shade) + " " + (palette.dark ? "38% 30%" : "58% 82%") + ")";
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
// 1 for each point under a box.
const pointsBelow = at => {
    const under = new Uint8Array(box.parent.length);
    under[at] = 1;
    for (let kid = at + 1; kid < under.length; kid++) under[kid] ||= under[box.parent[kid]];
    return Uint8Array.from(point.node, stack => under[node.box[stack]]);
};
function drawFlame() {
    if (!isOpen("flame")) return;
    const width = canvas.clientWidth || 800;
    drawn = layout(width);
    const height = drawn.reduce((most, [, , y]) => Math.max(most, y), 0) + ROW;
    // Browsers have no larger canvas than 2^24 pixels.
    const ratio = Math.min(window.devicePixelRatio || 1, Math.sqrt(16e6 / (width * height)));
    canvas.style.height = height + "px";
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    pen.setTransform(canvas.width / width, 0, 0, canvas.height / height, 0, 0);
    pen.font = "12px ui-monospace, monospace";
    pen.textBaseline = "middle";
    const style = getComputedStyle(document.documentElement);
    const palette = { dark: style.colorScheme === "dark" };
    for (const name of ["text", "accent", "marked", "standard"]) palette[name] = style.getPropertyValue("--" + name);
    const letter = pen.measureText("n").width;
    for (const [at, x, y, wide] of drawn) {
        pen.fillStyle = colour(at, palette);
        pen.fillRect(x, y, Math.max(wide - 0.5, 0.4), ROW - 1);
        if (wide > 4 * letter) {
            const room = Math.floor((wide - 6) / letter);
            const name = strings[box.name[at]];
            pen.fillStyle = palette.text;
            pen.fillText(name.length > room ? name.slice(0, room - 1) + "…" : name, x + 3, y + ROW / 2);
        }
        if (at === chosen) {
            pen.strokeStyle = palette.accent;
            pen.lineWidth = 2;
            pen.strokeRect(x + 1, y + 1, Math.max(wide - 2.5, 1), ROW - 3);
        }
    }
    $("flame-status").textContent = strings[box.name[chosen]] + ": " + figuresOf(chosen);
    $("flame-place").textContent = placesOf(chosen);
    $("legend").lastElementChild.hidden = !boxFound;
    $("zoom-out").disabled = zoomed === 0;
    $("sites-below").disabled = chosen === 0;
    tip.hidden = true;
    tipOf = undefined;
}
const choose = at => {
    chosen = at;
    drawFlame();
    const found = drawn.find(([each]) => each === at);
    if (!found) return;
    const top = canvas.getBoundingClientRect().top + found[2];
    const [highest, lowest] = [$("flame-bar").getBoundingClientRect().bottom, window.innerHeight - ROW];
    if (top < highest) window.scrollBy(0, top - highest);
    if (top > lowest) window.scrollBy(0, top - lowest);
};
const zoom = at => { zoomed = chosen = at; drawFlame(); };
const hitBy = event => drawn.findLast(([, x, y, wide]) => event.offsetX >= x && event.offsetX < x + wide && event.offsetY >= y && event.offsetY < y + ROW)?.[0];
canvas.addEventListener("click", event => {
    const hit = hitBy(event);
    if (hit !== undefined) zoom(hit);
});
const tip = $("tip");
let tipOf;
canvas.addEventListener("mousemove", event => {
    const hit = hitBy(event);
    tip.hidden = hit === undefined;
    if (tip.hidden) return;
    if (hit !== tipOf) tip.replaceChildren(make("b", { text: strings[box.name[hit]] }), make("div", { text: figuresOf(hit) }), make("div", { class: "place", text: placesOf(hit) }));
    tipOf = hit;
    tip.style.left = Math.max(4, Math.min(event.clientX + 12, document.documentElement.clientWidth - tip.offsetWidth - 4)) + "px";
    tip.style.top = (event.clientY + 18 + tip.offsetHeight > window.innerHeight ? event.clientY - tip.offsetHeight - 8 : event.clientY + 18) + "px";
});
canvas.addEventListener("mouseleave", () => { tip.hidden = true; });
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
    const move = moves[bareKey(event)];
    if (!move || event.key === "Escape" && zoomed === 0) return;
    event.preventDefault();
    move();
});
$("zoom-out").addEventListener("click", () => zoom(0));
$("hide-standard").addEventListener("change", event => {
    ({ box, ofNodes: node.box } = event.target.checked ? withoutStandard() : { box: whole, ofNodes: nodeBoxes });
    linkKids();
    zoomed = chosen = 0;
    below = null;
    search();
    redraw();
});
$("flame-details").addEventListener("click", () => {
    const isIn = pointsBelow(chosen);
    showDetails(strings[box.name[chosen]], [...isIn.keys()].filter(index => isIn[index]), figure);
});
