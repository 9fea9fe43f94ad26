// Pictures: a strip of tiles per run, and one slider that sets the epoch of them all.
"use strict";

(() => {
  const given = dataOf("pictures");
  if (!given) return;
  const { keys, steps, strips, images, axis } = given;
  const [slider, other, play, compare, large] = ["epoch", "other", "play", "compare", "large"].map(byId);
  const groupOf = (key) => (key.includes("/") ? key.slice(0, key.lastIndexOf("/")) : key);
  const groups = [...new Set(keys.map(groupOf))];
  const showsAll = (key) => key.endsWith("-evolution");
  // Everything at once where that fits a screen; else one kind at a time.
  let group = keys.length <= 4 || data.runs.length === 1 || groups.length === 1 ? "" : groups[0];
  let timer = 0;

  // Of many runs, only the rows on the screen and near it have tiles.
  const FEW = 12;
  const lazy = strips.length > FEW;

  // ---- one picture ------------------------------------------------------------------------------------------
  const urls = [];
  const broken = new Set();

  function urlOf(number) {
    if (!urls[number]) {
      urls[number] = URL.createObjectURL(new Blob([unpackBytes(images[number])], { type: "image/webp" }));
      images[number] = null;
    }
    return urls[number];
  }

  // A frame is [step, image number] or [step, reason].
  function frameAt(frames, step) {
    let found = null;
    for (const frame of frames) {
      if (frame[0] > step) break;
      found = frame;
    }
    return found;
  }

  // An evolution is one picture of all epochs, wherever the slider stands.
  const frameOf = ({ key, frames }, step) => (showsAll(key) ? frames.at(-1) : frameAt(frames, step));

  const isDrawn = (frame) => Boolean(frame) && typeof frame[1] === "number" && !broken.has(frame[1]);

  function wordsFor(tile, frame) {
    if (frame) return `not available: ${typeof frame[1] === "number" ? "the browser cannot decode it" : frame[1]}`;
    return tile.frames.length ? `first picture at ${axis} ${tile.frames[0][0]}` : "no such picture";
  }

  function makeView() {
    // Decoded with the rest of the frame, so that all tiles change at once.
    const image = make("img", { alt: "", decoding: "sync" });
    const view = { image, none: make("span", { class: "none" }), note: make("span", { class: "note" }), number: -1 };
    image.addEventListener("error", () => {
      broken.add(view.number);
      show();
    });
    return view;
  }

  function showView(tile, view, step) {
    const frame = frameOf(tile, step);
    const drawn = isDrawn(frame);
    const early = Boolean(frame) && frame[0] !== step && !showsAll(tile.key);
    const when = frame && (showsAll(tile.key) ? `all ${axis}s` : `${axis} ${frame[0]}`);
    view.image.hidden = !drawn;
    view.none.hidden = drawn;
    view.note.textContent = frame ? `${early ? "◂ " : ""}${when}` : "";
    view.note.title = early ? `nothing was logged at ${axis} ${step}: the nearest earlier one` : "";
    view.note.classList.toggle("early", early);
    view.none.textContent = drawn ? "" : wordsFor(tile, frame);
    view.image.alt = drawn ? `${tile.key} of ${tile.label}, ${when}` : "";
    if (!drawn || view.number === frame[1]) return;
    view.number = frame[1];
    view.image.src = urlOf(frame[1]);
  }

  // ---- tiles and rows ---------------------------------------------------------------------------------------
  const comparing = () => compare.getAttribute("aria-pressed") === "true";
  const stepsShown = () => [slider, ...(comparing() ? [other] : [])].map((input) => steps[Number(input.value)]);

  function makeTile(run, key, frames) {
    const tile = { run, key, label: data.runs[run].label, frames, views: [makeView(), makeView()] };
    const views = tile.views.map(({ image, none }) => make("span", { class: "view" }, image, none));
    tile.button = make("button", { type: "button", class: "open", title: "Enlarge" }, ...views);
    tile.button.addEventListener("click", () => enlarge(tile));
    const what = make("span", { class: "what", title: key }, key);
    const notes = tile.views.map(({ note }) => note);
    tile.figure = make("figure", { class: "tile" }, tile.button, make("figcaption", {}, what, ...notes));
    return tile;
  }

  function showTile(tile) {
    const wanted = stepsShown();
    tile.views.forEach((view, place) => {
      view.image.parentElement.hidden = view.note.hidden = place >= wanted.length;
      if (place < wanted.length) showView(tile, view, wanted[place]);
    });
    if (tile.button) tile.button.disabled = tile.views.slice(0, wanted.length).every((view) => view.image.hidden);
  }

  // The keys of each experiment's runs. One that none of them has keeps its column only where another experiment has
  // pictures of the same kind and key to stand above or below.
  const known = new Map();
  for (const { run, frames } of strips) {
    const { experiment } = data.runs[run];
    if (!known.has(experiment)) known.set(experiment, new Set());
    frames.forEach((each, place) => each.length && known.get(experiment).add(keys[place]));
  }

  function columnsOf(own) {
    const others = [...known.values()].filter((other) => other !== own);
    const beside = new Set();
    for (const other of others) {
      const shared = new Set([...other].filter((key) => own.has(key)).map(groupOf));
      for (const key of other) if (shared.has(groupOf(key))) beside.add(key);
    }
    return keys.flatMap((key, place) => (own.has(key) || beside.has(key) ? [place] : []));
  }
  const columns = new Map([...known].map(([experiment, own]) => [experiment, columnsOf(own)]));
  const ofKind = (key) => group === "" || groupOf(key) === group;

  const rows = strips.map(({ run, frames }) => {
    const strip = make("div", { class: "strip" });
    const title = make("h3", { dir: "auto", title: data.runs[run].label });
    const places = columns.get(data.runs[run].experiment);
    const row = { run, frames, places, strip, title, tiles: [], element: make("div", { class: "row" }, title, strip) };
    row.element.hidden = true;
    byId("tiles").append(row.element);
    return row;
  });

  function setLive(row, on) {
    if (on === row.tiles.length > 0) return;
    // What scrolls away leaves its room behind.
    if (!on) row.strip.style.minHeight = `${row.strip.offsetHeight}px`;
    row.tiles = on ? row.places.map((place) => makeTile(row.run, keys[place], row.frames[place])) : [];
    row.strip.replaceChildren(...row.tiles.map((tile) => tile.figure));
    if (on) row.strip.style.minHeight = "";
    showTiles(row);
  }

  function showTiles(row) {
    for (const tile of row.tiles) {
      tile.figure.hidden = !ofKind(tile.key);
      if (!tile.figure.hidden) showTile(tile);
    }
  }

  function showTitle({ run, title }) {
    const { label, status } = data.runs[run];
    const ended = status === "FINISHED" ? [] : [make("span", { class: `status ${status.toLowerCase()}` }, ` ${status.toLowerCase()}`)];
    title.hidden = data.runs.length === 1;
    title.replaceChildren(dot(run), label, ...ended);
  }

  const hasKind = ({ places }) => places.some((place) => ofKind(keys[place]));

  function countWords() {
    const found = rows.filter(({ run }) => isShown(run));
    const shown = found.length;
    const other = found.filter((row) => !hasKind(row)).length;
    const without = data.runs.length - rows.length;
    const parts = [`${shown} of ${rows.length} runs with pictures`];
    if (other) parts.push(`${other} of them none of this kind`);
    if (without) parts.push(`${without} have none`);
    if (lazy) parts.push("rows are drawn as they come into view");
    return data.runs.length === 1 ? "" : parts.join(" · ");
  }

  function tellStep(input, output) {
    const step = `${axis} ${steps[Number(input.value)]}`;
    byId(output).textContent = step;
    input.setAttribute("aria-valuetext", step);
  }

  function show() {
    tellStep(slider, "epoch-shown");
    tellStep(other, "other-shown");
    rows.forEach(showTiles);
    showLarge();
    lookAhead();
  }

  function showRuns() {
    for (const row of rows) {
      row.element.hidden = !isShown(row.run) || !hasKind(row);
      showTitle(row);
    }
    byId("pictures-count").textContent = countWords();
    show();
  }

  // ---- the next pictures, decoded before they are asked for -------------------------------------------------
  let ahead = [];
  let waiting = 0;

  const onScreen = ({ element }) => {
    const { top, bottom } = element.getBoundingClientRect();
    return !element.hidden && bottom > 0 && top < innerHeight;
  };

  function neighbours() {
    const near = [1, -1].map((by) => steps[Number(slider.value) + by]).filter((step) => step !== undefined);
    const tiles = rows.filter((row) => row.tiles.length && onScreen(row)).flatMap((row) => row.tiles);
    const shown = tiles.filter((tile) => !tile.figure.hidden);
    return near.flatMap((step) => shown.map((tile) => frameOf(tile, step))).filter(isDrawn);
  }

  function lookAhead() {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      const before = new Map(ahead.map((image) => [image.src, image]));
      ahead = [...new Set(neighbours().map((frame) => urlOf(frame[1])))].map((url) => {
        const image = before.get(url) || Object.assign(new Image(), { src: url });
        // What cannot be decoded says so when its turn comes.
        if (!before.has(url)) image.decode().catch(() => {});
        return image;
      });
    }, 30);
  }

  // ---- the large view ---------------------------------------------------------------------------------------
  let opened = null;
  const largeViews = [makeView(), makeView()];
  byId("large-tile").append(...largeViews.map(({ image, none, note }) => make("span", { class: "view" }, image, none, note)));

  function enlarge(tile) {
    opened = { ...tile, button: null, views: largeViews };
    byId("large-title").replaceChildren(...(data.runs.length > 1 ? [dot(tile.run), `${tile.label} · `] : []), tile.key);
    large.showModal();
    show();
  }

  function showLarge() {
    if (!large.open || !opened) return;
    showTile(opened);
    // Disabled in earnest, a button would lose the keyboard's focus.
    byId("earlier").setAttribute("aria-disabled", String(Number(slider.value) === 0));
    byId("later").setAttribute("aria-disabled", String(Number(slider.value) === steps.length - 1));
  }

  // ---- controls ---------------------------------------------------------------------------------------------
  function setStep(place) {
    slider.value = place;
    show();
  }

  function setPlaying(on) {
    clearInterval(timer);
    play.setAttribute("aria-pressed", String(on));
    play.textContent = on ? "❚❚ Pause" : "▶ Play";
    if (!on) return;
    if (Number(slider.value) >= steps.length - 1) slider.value = 0;
    timer = setInterval(() => {
      setStep(Number(slider.value) + 1);
      if (Number(slider.value) >= steps.length - 1) setPlaying(false);
    }, 450);
    show();
  }

  function showGroups() {
    byId("kinds").hidden = groups.length < 2;
    const buttons = ["", ...groups].map((each) => {
      const button = make("button", { type: "button", "aria-pressed": String(each === group) }, each || "all");
      button.addEventListener("click", () => {
        group = each;
        for (const one of button.parentElement.children) one.setAttribute("aria-pressed", String(one === button));
        showRuns();
      });
      return button;
    });
    byId("kinds").replaceChildren(...buttons);
  }

  function setComparing(on) {
    compare.setAttribute("aria-pressed", String(on));
    byId("other-slide").hidden = !on;
    byId("pictures").classList.toggle("comparing", on);
    show();
  }

  function wire() {
    slider.max = other.max = steps.length - 1;
    slider.value = steps.length - 1;
    slider.addEventListener("input", () => {
      setPlaying(false);
      show();
    });
    other.addEventListener("input", show);
    play.addEventListener("click", () => setPlaying(play.getAttribute("aria-pressed") !== "true"));
    compare.addEventListener("click", () => setComparing(!comparing()));
    byId("close").addEventListener("click", () => large.close());
    for (const [id, by] of [["earlier", -1], ["later", 1]]) byId(id).addEventListener("click", () => setStep(Number(slider.value) + by));
    large.addEventListener("keydown", ({ key }) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[key];
      if (by) setStep(Number(slider.value) + by);
    });
    // A click beside the picture, on the dialog's own ground, closes it.
    large.addEventListener("click", ({ target }) => {
      if (target === large) large.close();
    });
  }

  function watchRows() {
    // The page itself as root: in a frame of another origin, a margin around the window has no effect.
    const seen = new IntersectionObserver((entries) => {
      for (const { isIntersecting, target } of entries) setLive(rows.find(({ element }) => element === target), isIntersecting);
      lookAhead();
    }, { root: document, rootMargin: "500px 0px" });
    rows.forEach(({ element }) => seen.observe(element));
  }

  wire();
  watchers.push(showRuns);
  showGroups();
  showRuns();
  if (lazy) watchRows();
  else rows.forEach((row) => setLive(row, true));
})();
