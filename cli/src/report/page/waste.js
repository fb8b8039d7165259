// Waste
const WASTE = [
    ["unwritten-bytes", "Never written", "Allocated and not written to: smaller buffers, or none, would do."],
    ["tail-bytes", "Over-capacity", "Unused ends of blocks: with_capacity of what is needed, or shrink_to_fit."],
    ["short-lived-blocks", "Short-lived blocks", "Given back at once: a buffer that is kept and cleared saves them."],
    ["reallocs", "Growth", "Reserving the final capacity would have saved these reallocations, and the copies of those that moved."],
    ["end-bytes", "Live at the end", "Not given back when the recording ended."],
];
function drawWaste() {
    const panel = $("panel-waste");
    if (panel.hidden || panel.childElementCount) return;
    const absent = [];
    const all = grouped("site", null);
    for (const [id, title, advice] of WASTE) {
        if (!values[id]) {
            absent.push(title.toLowerCase());
            continue;
        }
        const rows = largest(all, id, 15);
        panel.append(make("h2", { text: title }));
        if (!rows.length) {
            panel.append(make("p", { text: "None." }));
            continue;
        }
        const about = figures.find(candidate => candidate.id === id);
        const list = all.sums(id);
        const whole = sum(list);
        panel.append(make("p", { text: advice + " In all: " + amount(whole, about.unit) + "." }));
        if (id === "reallocs") {
            const copied = all.sums("copied-bytes");
            panel.append(table(title, ["reallocations", "bytes copied", "site"], rows.map(row => [number(list[row]), number(copied[row]),
                [...label(all, row, about), make("span", { text: " – reserve would have saved " + amount(list[row], about.unit) + ", " + number(copied[row]) + " bytes copied" })]])));
            continue;
        }
        panel.append(table(title, [about.title, "share", "site"], rows.map(row => [number(list[row]), share(list[row], whole), label(all, row, about)])));
    }
    if (absent.length) panel.append(make("p", { class: "place", text: "Not measured in this file: " + absent.join(", ") + "." }));
}
