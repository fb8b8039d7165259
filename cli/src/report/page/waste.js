// Waste
const WASTE = [
    ["unwritten-bytes", "Never written", "Allocated and not written to: smaller buffers, or none, would do."],
    ["tail-bytes", "Over-capacity", "Unused ends of blocks: with_capacity of what is needed, or shrink_to_fit."],
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
        panel.append(make("h2", { text: title }));
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
