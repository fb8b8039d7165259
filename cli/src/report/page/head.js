// Head
document.title = head.command + " – heap profile";
$("command").textContent = head.command + " (process " + head.pid + ")";
for (const [name, text] of head.totals) $("totals").append(make("div", {}, make("dt", { text: name }), make("dd", { text })));
for (const text of head.notes) $("notes").append(make("p", { class: "place", text }));
for (const choice of figures) $("figure").append(make("option", { value: choice.id, text: choice.title }));
$("controls").addEventListener("submit", event => event.preventDefault());
const darkRule = $("style").sheet.cssRules[1].media;
$("theme").addEventListener("click", () => {
    darkRule.mediaText = matchMedia(darkRule.mediaText).matches ? "not all" : "screen";
    drawFlame();
});
for (const query of ["(prefers-color-scheme: dark)", "print"]) matchMedia(query).addEventListener("change", () => drawFlame());
