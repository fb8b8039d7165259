// Runs inside the viewer's page. gData, gRoot, gSelect and gMainDiv are the viewer's own variables.
// Its value is {refused: message} or {viewed: what viewed.rs declares}.
(() => {
    const FLAWS_KEPT = 20;
    const flaws = [];
    const flaw = (place, value) => {
        if (flaws.length < FLAWS_KEPT) {
            flaws.push(`${place}: ${typeof value === "string" ? JSON.stringify(value) : String(value)}`);
        }
    };
    const isCount = value => Number.isSafeInteger(value) && value >= 0;
    const count = (place, value) => {
        if (isCount(value)) return value;
        flaw(place, value);
        return null;
    };

    // The file, where the viewer does not look: it adds whatever it finds.
    const pointKeys = ["tb", "tbk"];
    if (gData.bklt) pointKeys.push("tl", "mb", "mbk", "gb", "gbk", "eb", "ebk");
    if (gData.bkacc) pointKeys.push("rb", "wb");
    gData.pps.forEach((point, i) => {
        for (const key of pointKeys) count(`pps[${i}].${key}`, point[key]);
        for (const frame of point.fs) {
            // Frame 0 is the root, which the viewer puts above every point by itself.
            if (!isCount(frame) || frame === 0 || frame >= gData.ftbl.length) flaw(`pps[${i}].fs`, frame);
        }
    });
    gData.ftbl.forEach((frame, i) => {
        if (typeof frame !== "string") flaw(`ftbl[${i}]`, frame);
    });
    if (gData.ftbl[0] !== "[root]") flaw("ftbl[0]", gData.ftbl[0]);
    if (!(Number.isFinite(gData.te) && gData.te > 0)) flaw("te", gData.te);
    if (gData.bklt) {
        count("tg", gData.tg);
        count("tuth", gData.tuth);
        if (gData.tg > gData.te) flaw("tg after te", gData.tg);
    }

    // The viewer's tree. An explicit stack: it can be deeper than the page's own.
    const nodes = [];
    const frames = new Set();
    const waiting = [gRoot];
    let maxBytes = 0;
    let maxBlocks = 0;
    while (waiting.length > 0) {
        const node = waiting.pop();
        nodes.push(node);
        for (const frame of node._frames) frames.add(String(gData.ftbl[frame]));
        if (node._kids) {
            waiting.push(...node._kids.toReversed());
        } else {
            maxBytes += node._maxBytes;
            maxBlocks += node._maxBlocks;
        }
    }
    const total = (enabled, name, value) => enabled ? count(`the viewer's ${name}`, value) : null;
    const totals = {
        total_bytes: total(true, "total bytes", gRoot._totalBytes),
        total_blocks: total(true, "total blocks", gRoot._totalBlocks),
        total_lifetimes: total(gData.bklt, "total lifetimes", gRoot._totalLifetimes),
        max_bytes: total(gData.bklt, "max bytes", maxBytes),
        max_blocks: total(gData.bklt, "max blocks", maxBlocks),
        at_gmax_bytes: total(gData.bklt, "bytes at t-gmax", gRoot._atTGmaxBytes),
        at_gmax_blocks: total(gData.bklt, "blocks at t-gmax", gRoot._atTGmaxBlocks),
        at_end_bytes: total(gData.bklt, "bytes at t-end", gRoot._atTEndBytes),
        at_end_blocks: total(gData.bklt, "blocks at t-end", gRoot._atTEndBlocks),
        reads_bytes: total(gData.bkacc, "read bytes", gRoot._readsBytes),
        writes_bytes: total(gData.bkacc, "written bytes", gRoot._writesBytes),
    };

    // A program may well have a function called `undefined`, so lines that are the file's own text do not
    // count. Access counts may be infinite: their rows start with an index.
    const frameTexts = new Set(gData.ftbl.filter(frame => typeof frame === "string"));
    const isOwnText = line => {
        const frame = /[#^]\d+: (.*)$/.exec(line);
        return frame ? frameTexts.has(frame[1]) : line === `  Command: ${gData.cmd}`;
    };
    const isAccessRow = line => /^[^A-Za-z]*\[ *\d+\] /.test(line);
    const nonsenseIn = text => text.split("\n")
        .filter(line => !isOwnText(line) && !isAccessRow(line))
        .reduce((sum, line) => sum + (line.match(/\b(undefined|NaN|Infinity)\b|∞/g) ?? []).length, 0);

    // Every metric, switched as a user does. Drawing starts from nothing, so old text cannot remain.
    const drawn = document.querySelector("pre");
    const invocation = drawn.querySelector("span.invocation").textContent;
    const times = drawn.querySelector("span.times").textContent;
    const firstMetric = gSelect.selectedIndex;
    const metrics = [];
    const disabled = [];
    let nonsense = 0;
    const select = index => {
        gSelect.selectedIndex = index;
        gSelect.dispatchEvent(new Event("change"));
        return document.querySelector("span.error")?.textContent;
    };
    for (const option of gSelect.options) {
        if (option.disabled) {
            disabled.push(option.label);
            continue;
        }
        const error = select(option.index);
        if (error) return { refused: `${option.label}: ${error}` };
        const text = gMainDiv.textContent;
        metrics.push({ label: option.label, text });
        nonsense += nonsenseIn(text);
    }
    select(firstMetric);

    return {
        viewed: {
            invocation, times, metrics, disabled_metrics: disabled, totals,
            tree_nodes: nodes.length, frames: [...frames], nonsense_words: nonsense, flaws,
        },
    };
})()
