// Draws what is open.
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
