// What scripts add: "select all", and buttons that wait for a selection. Everything works without.
"use strict";
(function () {
  function chosen(form) {
    return form.querySelectorAll('input[name="ids"]:checked').length;
  }
  function update(form) {
    const count = chosen(form);
    form.querySelectorAll("[data-chosen]").forEach(function (button) {
      button.disabled = count === 0;
      if (!button.dataset.text) button.dataset.text = button.textContent;
      button.textContent = count ? button.dataset.text.replace("selected", count) : button.dataset.text;
    });
    const all = form.querySelector("[data-all]");
    const boxes = form.querySelectorAll('input[name="ids"]:not(:disabled)').length;
    if (all) {
      all.checked = boxes > 0 && count === boxes;
      all.indeterminate = count > 0 && count < boxes;
    }
  }
  function prepare(root) {
    root.querySelectorAll(".needs-script").forEach(function (one) { one.hidden = false; });
    root.querySelectorAll("form.entries").forEach(update);
    const here = root.querySelector("nav [aria-current]");
    if (here) here.scrollIntoView({ block: "nearest", inline: "center" });
  }
  document.addEventListener("change", function (event) {
    const form = event.target.closest("form.entries");
    if (!form) return;
    if (event.target.matches("[data-all]")) {
      form.querySelectorAll('input[name="ids"]:not(:disabled)').forEach(function (box) {
        box.checked = event.target.checked;
      });
    }
    update(form);
  });
  document.addEventListener("htmx:afterSwap", function () { prepare(document); });
  window.addEventListener("pageshow", function () { prepare(document); });
})();
