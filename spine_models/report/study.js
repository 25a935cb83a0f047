"use strict";
// The page of one study: NiiVue shows the neck, the table of levels leads to slices, verdicts stay in this browser.
(function () {
  const facts = JSON.parse(document.getElementById("facts").textContent);
  const images = JSON.parse(document.getElementById("images").textContent);
  const WINDOWS = { bone: [-500, 1300], soft: [-160, 240], wide: [-1024, 3071] };
  const VERDICTS = ["agree", "disagree", "unsure"];
  const one = (selector) => document.querySelector(selector);
  const all = (selector) => Array.from(document.querySelectorAll(selector));
  const say = (text) => { one("#said").textContent = text; };

  // ---- viewer -------------------------------------------------------------------------------------------------
  const options = {
    backColor: [0, 0, 0, 1], crosshairColor: [0.2, 0.75, 1, 0.8], crosshairWidth: 0.6, crosshairWidthUnit: "mm",
    isRadiologicalConvention: true, multiplanarLayout: niivue.MULTIPLANAR_TYPE.GRID,
    isOrientationTextVisible: true, isRuler: true, isOrientCube: false, isColorbar: false, show3Dcrosshair: true,
    textHeight: 0.05, isSliceMM: false, loadingText: "", logLevel: "silent", dragAndDropEnabled: false,
    multiplanarShowRender: niivue.SHOW_RENDER.ALWAYS, sagittalNoseLeft: true,
  };
  let viewer = null;
  let detail = null;
  // Images are read one after the other: who presses twice gets what was pressed last.
  let latest = 0;
  const maskOpacity = 0.35;

  async function load(name, base64) {
    return niivue.NVImage.loadFromBase64({ base64, name, colormap: "gray", opacity: 1, trustCalMinMax: false });
  }

  async function start() {
    if (!images.neck) return;
    if (!document.createElement("canvas").getContext("webgl2")) {
      one("#no-webgl").hidden = false;
      return;
    }
    viewer = new niivue.Niivue(options);
    await viewer.attachToCanvas(one("#viewer"));
    const neck = await load("neck.nii.gz", images.neck);
    viewer.addVolume(neck);
    if (images.mask) {
      const mask = await load("mask.nii.gz", images.mask);
      viewer.addVolume(mask);
      mask.setColormapLabel(facts.colours);
      viewer.setOpacity(1, maskOpacity);
    }
    viewer.onLocationChange = tellPlace;
    viewer.opts.dragMode = niivue.DRAG_MODE.pan;
    setWindow("bone");
    setView("multiplanar");
    if (Object.keys(images.slices).length) {
      detail = new niivue.Niivue({ ...options, isRuler: true, crosshairWidth: 0 });
      await detail.attachToCanvas(one("#detail"));
      detail.setSliceType(detail.sliceTypeAxial);
      detail.opts.dragMode = niivue.DRAG_MODE.contrast;
    }
    const first = facts.levels.find((level) => level.name === facts.first);
    if (first) await goTo(first.name, false);
    document.body.dataset.ready = "yes";
  }

  function setView(name) {
    if (!viewer) return;
    const types = {
      multiplanar: viewer.sliceTypeMultiplanar, axial: viewer.sliceTypeAxial, sagittal: viewer.sliceTypeSagittal,
      coronal: viewer.sliceTypeCoronal, render: viewer.sliceTypeRender,
    };
    viewer.setSliceType(types[name]);
    press("[data-view]", "view", name);
  }

  function setWindow(name) {
    const [low, high] = WINDOWS[name];
    for (const shown of [viewer, detail]) {
      if (!shown || !shown.volumes.length) continue;
      shown.volumes[0].cal_min = low;
      shown.volumes[0].cal_max = high;
      shown.updateGLVolume();
    }
    press("[data-window]", "window", name);
  }

  function press(selector, key, value) {
    for (const button of all(selector)) button.setAttribute("aria-pressed", String(button.dataset[key] === value));
  }

  function toggleMask() {
    if (!viewer || viewer.volumes.length < 2) return;
    const shown = one("#mask").getAttribute("aria-pressed") !== "true";
    one("#mask").setAttribute("aria-pressed", String(shown));
    viewer.setOpacity(1, shown ? maskOpacity : 0);
  }

  function toggleMeasure() {
    if (!viewer) return;
    const on = one("#measure").getAttribute("aria-pressed") !== "true";
    one("#measure").setAttribute("aria-pressed", String(on));
    viewer.opts.dragMode = on ? niivue.DRAG_MODE.measurement : niivue.DRAG_MODE.pan;
    say(on ? "Drag with the right mouse button to measure in millimetres." : "Measuring is off.");
  }

  // Millimetres (RAS) to the slice of the series, counted from 1.
  function sliceAt(mm) {
    const [a, b, c, d] = facts.slice_of_mm;
    return Math.round(a * mm[0] + b * mm[1] + c * mm[2] + d) + 1;
  }

  function tellPlace(place) {
    const value = place.values && place.values.length ? place.values[0].value : NaN;
    const label = place.values && place.values.length > 1 ? Math.round(place.values[1].value) : 0;
    const level = label >= 1 && label <= 7 ? `, in C${label}` : "";
    const slice = Math.min(Math.max(sliceAt(place.mm), 1), facts.slices);
    one("#place").textContent = `Slice ${slice} of ${facts.slices}, ${Math.round(value)} HU${level}`;
    document.body.dataset.label = String(label);
  }

  async function goTo(name, focus) {
    const level = facts.levels.find((item) => item.name === name);
    if (!level) return;
    for (const row of all("tr[data-level]")) row.classList.toggle("current", row.dataset.level === name);
    if (!level.mm) {
      say(`${name} is not visible in this study.`);
      return;
    }
    if (viewer) {
      viewer.scene.crosshairPos = viewer.mm2frac(level.mm);
      viewer.createOnLocationChange();
      viewer.drawScene();
    }
    const mine = ++latest;
    if (detail && images.slices[name]) {
      const volume = await load(`${name}.nii.gz`, images.slices[name]);
      if (mine !== latest) return;
      while (detail.volumes.length) detail.removeVolumeByIndex(0);
      detail.addVolume(volume);
      const pressed = one('[data-window][aria-pressed="true"]');
      setWindow(pressed ? pressed.dataset.window : "bone");
      one("#detail-caption").textContent = `${name}: slice ${level.slice} at full resolution, ${level.suspicious ? "the most suspicious" : "with most"} of this level`;
    }
    say(`${name}: slice ${level.slice} of ${facts.slices}.`);
    if (focus) one(`tr[data-level="${name}"] button`).focus();
  }

  // ---- verdicts -----------------------------------------------------------------------------------------------
  let unkept = null;
  const key = `spine-models verdicts ${facts.study} ${facts.bundle}`;

  // Pages from disk may share their storage: what is not a verdict of this page is not one.
  function stored() {
    let found;
    try {
      found = JSON.parse(localStorage.getItem(key)) || {};
    } catch (error) {
      return {};
    }
    const own = ({ verdict, comment, time }) => typeof verdict === "string" && typeof comment === "string"
      && typeof time === "string" && (verdict === "" ? comment !== "" : VERDICTS.includes(verdict));
    return Object.fromEntries(Object.entries(found).filter(([, value]) => value && own(value)));
  }

  function keep(name, change) {
    const verdicts = unkept || stored();
    const before = verdicts[name] || { verdict: "", comment: "" };
    const now = { ...before, ...change, time: new Date().toISOString() };
    if (now.verdict || now.comment) verdicts[name] = now;
    else delete verdicts[name];
    try {
      localStorage.setItem(key, JSON.stringify(verdicts));
      say(`Kept in this browser: ${name}, ${now.verdict || "no verdict"}.`);
    } catch (error) {
      say("This browser does not keep verdicts of pages that are opened from disk: export them before you close the page.");
      unkept = verdicts;
    }
  }

  function showVerdicts() {
    const verdicts = stored();
    for (const row of all("tr[data-level]")) {
      const own = verdicts[row.dataset.level];
      if (!own) continue;
      row.querySelector(`input[value="${own.verdict}"]`).checked = true;
      row.querySelector("input[type=text]").value = own.comment;
    }
  }

  function cell(text) {
    const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  }

  function exportVerdicts() {
    const verdicts = unkept || stored();
    const lines = ["study,bundle,level,verdict,comment,time"];
    for (const level of facts.levels) {
      const own = verdicts[level.name];
      if (own) lines.push([facts.study, facts.bundle, level.name, own.verdict, own.comment, own.time].map(cell).join(","));
    }
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "text/csv" }));
    link.download = `verdicts-${facts.study}.csv`;
    link.click();
    URL.revokeObjectURL(link.href);
    say(`${lines.length - 1} ${lines.length === 2 ? "level" : "levels"} exported.`);
  }

  // ---- what people press --------------------------------------------------------------------------------------
  for (const button of all("[data-view]")) button.addEventListener("click", () => setView(button.dataset.view));
  for (const button of all("[data-window]")) button.addEventListener("click", () => setWindow(button.dataset.window));
  for (const button of all("[data-go]")) button.addEventListener("click", () => goTo(button.dataset.go, false));
  for (const input of all("input[type=radio]")) {
    input.addEventListener("change", () => keep(input.dataset.level, { verdict: input.value }));
  }
  for (const input of all("input.comment")) {
    input.addEventListener("change", () => keep(input.dataset.level, { comment: input.value }));
  }
  one("#mask").addEventListener("click", toggleMask);
  one("#measure").addEventListener("click", toggleMeasure);
  one("#export").addEventListener("click", exportVerdicts);
  document.addEventListener("keydown", (event) => {
    if (event.target.matches("input, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
    const steps = { ArrowUp: 1, ArrowDown: -1 };
    if (/^[1-7]$/.test(event.key)) goTo(`C${event.key}`, true);
    else if (event.key === "m") toggleMask();
    else if (event.target === one("#viewer") && event.key in steps && viewer) {
      viewer.moveCrosshairInVox(0, 0, steps[event.key]);
      event.preventDefault();
    }
  });
  showVerdicts();
  start().catch((error) => {
    one("#no-viewer").hidden = false;
    console.error(error);
  });
})();
