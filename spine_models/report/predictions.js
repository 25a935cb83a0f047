"use strict";
// The list of predicted studies: order and filter. Without a script it is complete, the most suspicious study first.
(function () {
  const one = (selector) => document.querySelector(selector);
  const list = one("#studies");
  const items = Array.from(list.children);
  const highest = (item) => Number(item.dataset.suspicion);
  const listed = (item) => Number(item.dataset.listed);
  const orders = {
    suspicious: (a, b) => highest(b) - highest(a) || listed(a) - listed(b),
    listed: (a, b) => listed(a) - listed(b),
    name: (a, b) => a.dataset.name.localeCompare(b.dataset.name, "en", { numeric: true }),
  };

  function show() {
    const status = one("#status").value;
    const words = one("#words").value.trim().toLowerCase();
    for (const item of items.sort(orders[one("#order").value])) list.append(item);
    for (const item of items) {
      const wanted = !status || item.dataset.status === status;
      item.hidden = !(wanted && item.textContent.toLowerCase().includes(words));
    }
    one("#shown").textContent = `${items.filter((item) => !item.hidden).length} of ${items.length} shown`;
  }

  one("#choose").hidden = false;
  one("#choose").addEventListener("input", show);
  one("#choose").addEventListener("submit", (event) => event.preventDefault());
  show();
})();
