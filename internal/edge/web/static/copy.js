// Adds a copy button to each block of commands. Without script the page is
// whole, only without these buttons.
"use strict";
if (navigator.clipboard) {
  for (const block of document.querySelectorAll("pre")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(block.querySelector("code").textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    const box = document.createElement("div");
    box.className = "copyable";
    block.replaceWith(box);
    box.append(block, button);
  }
}
