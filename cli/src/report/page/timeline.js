// Timeline
const moments = head.timeline;
const PLOT = { left: 66, right: 14, top: 26, height: 250, bottom: 26 };
const peakMoment = moments.findIndex(moment => moment[5]) >= 0 ? moments.findIndex(moment => moment[5])
    : moments.reduce((most, moment, at) => moment[1] > moments[most][1] ? at : most, 0);
let chosenMoment = peakMoment;
const timeOf = time => number(time) + " " + head.time + (SECONDS[head.time] && time >= 10000 ? " (" + inTime(time, head.time) + ")" : "");
const momentText = at => {
    const [time, live, blocks, allocated] = moments[at];
    return "At " + timeOf(time) + ": " + amount(live, "bytes") + " in " + plural(blocks, "block") + (allocated ? "; " + amount(allocated, "bytes") + " allocated until then" : "");
};
// Round numbers from 0 to the most, about as many as asked for.
const ticks = (most, count) => {
    const power = 10 ** Math.floor(Math.log10(most / count));
    const step = [1, 2, 5, 10].map(times => times * power).find(step => step * (count + 0.9) >= most);
    return Array.from({ length: Math.floor(most / step * 1.0001) + 1 }, (_, at) => at * step);
};
// One unit for all labels of an axis.
const labels = (list, units) => {
    const [name, scale] = units.findLast(([, scale]) => list.at(-1) >= scale) ?? units[0];
    return list.map(value => value === 0 ? "0" : Number((value / scale).toPrecision(6)) + " " + name);
};
const BYTES = [["B", 1], ["kB", 1e3], ["MB", 1e6], ["GB", 1e9], ["TB", 1e12]];
const timeUnits = SECONDS[head.time] ? ["ns", "µs", "ms", "s"].map(name => [name, SECONDS[name] / SECONDS[head.time]]) : [[head.time, 1]];
function drawTimeline() {
    const panel = $("panel-timeline");
    if (panel.hidden) return;
    if (!panel.childElementCount) buildTimeline(panel);
    if (!moments.length) return;
    const wide = $("chart").clientWidth || 800;
    const last = Math.max(head.end, moments.at(-1)[0], 1);
    const most = Math.max(...moments.map(moment => moment[1]), 1);
    const room = wide - PLOT.left - PLOT.right;
    const floor = PLOT.top + PLOT.height;
    const x = time => PLOT.left + room * time / last;
    const y = live => floor - PLOT.height * live / most;
    const picture = draw("svg", { width: wide, height: floor + PLOT.bottom, "aria-hidden": "true" });
    const heights = ticks(most, 5), times = ticks(last, Math.max(2, Math.min(10, Math.floor(room / 75))));
    const heightLabels = labels(heights, BYTES), timeLabels = labels(times, timeUnits);
    for (const [at, live] of heights.entries()) picture.append(
        draw("line", { class: "axis", x1: PLOT.left, x2: wide - PLOT.right, y1: y(live), y2: y(live) }),
        draw("text", { x: PLOT.left - 8, y: y(live) + 4, "text-anchor": "end" }, heightLabels[at]));
    for (const [at, time] of times.entries()) picture.append(
        draw("line", { class: "axis", x1: x(time), x2: x(time), y1: floor, y2: floor + 5 }),
        draw("text", { x: x(time), y: floor + 19, "text-anchor": x(time) > wide - 40 ? "end" : "middle" }, timeLabels[at]));
    const peak = moments[peakMoment];
    const atPeak = x(peak[0]);
    const half = atPeak > wide / 2;
    picture.append(
        draw("polyline", { class: "curve", points: moments.map(moment => x(moment[0]).toFixed(2) + "," + y(moment[1]).toFixed(2)).join(" ") }),
        draw("line", { class: "peak", id: "peak-mark", x1: atPeak, x2: atPeak, y1: 6, y2: floor }),
        draw("text", { class: "peak", x: atPeak + (half ? -6 : 6), y: 16, "text-anchor": half ? "end" : "start" }, "peak: " + inBytes(peak[1]) + " at " + inTime(peak[0], head.time)),
        draw("line", { class: "cursor", id: "cursor", y1: PLOT.top, y2: floor }),
        draw("circle", { class: "cursor", id: "cursor-dot", r: 4 }));
    $("chart").replaceChildren(picture);
    const point = at => {
        for (const name of ["x1", "x2"]) $("cursor").setAttribute(name, x(moments[at][0]));
        $("cursor-dot").setAttribute("cx", x(moments[at][0]));
        $("cursor-dot").setAttribute("cy", y(moments[at][1]));
        $("moment").textContent = momentText(at);
    };
    const nearest = event => {
        const time = (event.clientX - $("chart").getBoundingClientRect().left - PLOT.left) / room * last;
        return moments.reduce((best, moment, at) => Math.abs(moment[0] - time) < Math.abs(moments[best][0] - time) ? at : best, 0);
    };
    picture.addEventListener("mousemove", event => point(nearest(event)));
    picture.addEventListener("mouseleave", () => point(chosenMoment));
    picture.addEventListener("click", event => chooseMoment(nearest(event)));
    point(chosenMoment);
}
const chooseMoment = at => {
    chosenMoment = Math.max(0, Math.min(moments.length - 1, at));
    $("chart").setAttribute("aria-valuenow", chosenMoment);
    $("chart").setAttribute("aria-valuetext", momentText(chosenMoment));
    drawHolders();
    drawTimeline();
};
// Who held most: at the peak by the figures of all points; at other moments the few that were noted.
const drawHolders = () => {
    const isPeak = !moments.length || chosenMoment === peakMoment;
    const noted = moments[chosenMoment]?.[6] ?? [];
    const whole = isPeak && values["peak-bytes"] ? sum(values["peak-bytes"]) : moments[chosenMoment]?.[1] ?? 0;
    const title = "Who held most at " + (isPeak ? "the peak" : inTime(moments[chosenMoment][0], head.time));
    const headers = ["bytes", "share", "site"];
    const atPeak = figures.find(({ id }) => id === "peak-bytes");
    let rows = [];
    if (isPeak && atPeak) {
        const all = grouped("site", null);
        rows = largest(all, atPeak.id, 15).map(row => [number(all.sums(atPeak.id)[row]), share(all.sums(atPeak.id)[row], whole), label(all, row, atPeak)]);
    } else {
        const all = grouped("stack", null);
        rows = noted.map(([index, live]) => [number(live), share(live, whole), label(all, index)]);
    }
    const none = moments.length && !isPeak ? "Not noted for this moment." : "The file does not tell.";
    $("holders").replaceChildren(make("h2", { text: title }), rows.length ? table(title, headers, rows) : make("p", { class: "place", text: none }));
};
const buildTimeline = panel => {
    if (!moments.length) {
        panel.append(make("p", { text: "The file has no timeline: its profiler recorded none." + (head.peak === null ? "" : " Most was live at " + timeOf(head.peak) + " of " + timeOf(head.end) + ".") }));
    } else {
        const peak = moments[peakMoment];
        const last = Math.max(head.end, moments.at(-1)[0], 1);
        const chart = make("div", { id: "chart", tabindex: "0", role: "slider", "aria-label": "Live bytes over time, moment by moment", "aria-valuemin": 0, "aria-valuemax": moments.length - 1, "aria-valuenow": chosenMoment, "aria-valuetext": momentText(chosenMoment) });
        chart.addEventListener("keydown", event => {
            const next = { ArrowRight: chosenMoment + 1, ArrowUp: chosenMoment + 1, ArrowLeft: chosenMoment - 1, ArrowDown: chosenMoment - 1,
                PageUp: chosenMoment + 10, PageDown: chosenMoment - 10, Home: 0, End: moments.length - 1 }[bareKey(event)];
            if (next === undefined) return;
            event.preventDefault();
            chooseMoment(next);
        });
        panel.append(
            make("p", { id: "peak-text", text: "Peak: " + amount(peak[1], "bytes") + " in " + plural(peak[2], "block") + " at " + timeOf(peak[0]) + " of " + timeOf(last) }),
            chart, make("p", { id: "moment" }));
    }
    panel.append(make("div", { id: "holders" }));
    drawHolders();
    if (!moments.length) return;
    const titles = ["time (" + head.time + ")", "live bytes", "live blocks", "allocated bytes", "allocated blocks"];
    const known = moments.some(moment => moment[3] > 0) ? 5 : 3;
    panel.append(make("details", {}, make("summary", { text: "The curve as a table" }),
        table("The curve", titles.slice(0, known), moments.map(moment => moment.slice(0, known).map(number)))));
};
