// The slider of the previews: each prompt shows its latest picture up to the chosen step. Without this script, and on paper,
// all pictures are shown.
"use strict";
const slider = document.querySelector(".slider");
if (slider) {
  const steps = slider.dataset.steps.split(" ").map(Number);
  const input = slider.querySelector("input");
  const output = slider.querySelector("output");
  const show = () => {
    const chosen = steps[Number(input.value)];
    output.textContent = String(chosen).replace(/\B(?=(\d{3})+$)/g, "\u2009");
    input.setAttribute("aria-valuetext", "step " + chosen);
    for (const preview of document.querySelectorAll(".preview")) {
      const frames = [...preview.querySelectorAll(".frame")];
      const past = frames.filter((frame) => Number(frame.dataset.step) <= chosen);
      const latest = past.length ? past[past.length - 1] : frames[0];
      for (const frame of frames) frame.classList.toggle("past", frame !== latest);
    }
  };
  input.addEventListener("input", show);
  document.documentElement.classList.add("sliding");
  slider.hidden = false;
  show();
}
