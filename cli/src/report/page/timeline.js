// Timeline
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
        panel.append(make("h2", { text: "Who held most at the peak" }), table(["bytes", "share", "site"], peak[6].map(([index, live]) => [number(live), share(live, peak[1]), label(index)])));
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
