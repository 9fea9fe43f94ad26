// Pictures: a strip of tiles per run, and one slider that sets the epoch of them all.
"use strict";

(() => {
  const given = dataOf("pictures");
  if (!given) return;
  const { keys, steps, strips, images, axis } = given;
  const slider = byId("epoch");
  const play = byId("play");
  const groupOf = (key) => (key.includes("/") ? key.slice(0, key.lastIndexOf("/")) : key);
  const groups = [...new Set(keys.map(groupOf))];
  // Everything at once where that fits a screen; else one kind at a time.
  let group = keys.length <= 4 || data.runs.length === 1 || groups.length === 1 ? "" : groups[0];
  let timer = 0;

  function frameAt(frames, step) {
    let found = null;
    for (const frame of frames) if (frame[0] <= step) found = frame;
    return found;
  }

  // A frame is [step, image number] or [step, reason].
  function showFrame(tile, step) {
    const frame = frameAt(tile.frames, step);
    const drawn = frame && typeof frame[1] === "number";
    tile.image.hidden = !drawn;
    tile.none.hidden = drawn;
    tile.note.textContent = frame ? `${axis} ${frame[0]}` : "";
    tile.note.classList.toggle("early", Boolean(frame) && frame[0] !== step);
    if (drawn) {
      const source = images[frame[1]];
      if (tile.image.getAttribute("src") !== source) tile.image.src = source;
      tile.image.alt = `${tile.key} of ${tile.label}, ${axis} ${frame[0]}`;
    } else {
      tile.image.alt = "";
      tile.none.textContent = frame ? `not available: ${frame[1]}` : emptyWords(tile);
    }
  }

  function emptyWords(tile) {
    return tile.frames.length ? `first picture at ${axis} ${tile.frames[0][0]}` : "no such picture";
  }

  const tiles = [];
  function makeTile(run, key, frames) {
    const tile = { run, key, label: data.runs[run].label, frames };
    tile.image = make("img", { alt: "", decoding: "async" });
    tile.none = make("div", { class: "none" });
    tile.note = make("span", { class: "note" });
    const what = make("span", { class: "what", title: key }, key);
    tile.figure = make("figure", { class: "tile" }, tile.image, tile.none, make("figcaption", {}, what, tile.note));
    tiles.push(tile);
    return tile.figure;
  }

  const rows = strips.map(({ run, frames }) => {
    const strip = make("div", { class: "strip" }, ...keys.map((key, place) => makeTile(run, key, frames[place] || [])));
    const title = make("h3", { dir: "auto", title: data.runs[run].label });
    const row = make("div", { class: "row" }, title, strip);
    byId("tiles").append(row);
    return { run, row, title };
  });

  function show() {
    const step = steps[Number(slider.value)];
    byId("epoch-shown").textContent = `${axis} ${step}`;
    slider.setAttribute("aria-valuetext", `${axis} ${step}`);
    for (const { run, row, title } of rows) {
      row.hidden = !isShown(run);
      title.hidden = data.runs.length === 1;
      title.replaceChildren(dot(run), data.runs[run].label);
    }
    for (const tile of tiles) {
      tile.figure.hidden = group !== "" && groupOf(tile.key) !== group;
      if (isShown(tile.run) && !tile.figure.hidden) showFrame(tile, step);
    }
  }

  function setPlaying(on) {
    clearInterval(timer);
    play.setAttribute("aria-pressed", String(on));
    play.textContent = on ? "❚❚ Pause" : "▶ Play";
    if (!on) return;
    if (Number(slider.value) >= steps.length - 1) slider.value = 0;
    timer = setInterval(() => {
      slider.value = Number(slider.value) + 1;
      show();
      if (Number(slider.value) >= steps.length - 1) setPlaying(false);
    }, 450);
    show();
  }

  function showGroups() {
    if (groups.length < 2) return;
    const buttons = ["", ...groups].map((each) => {
      const button = make("button", { type: "button", "aria-pressed": String(each === group) }, each || "all");
      button.addEventListener("click", () => {
        group = each;
        showGroups();
        show();
      });
      return button;
    });
    byId("kinds").replaceChildren(...buttons);
  }

  slider.max = steps.length - 1;
  slider.value = steps.length - 1;
  slider.addEventListener("input", () => {
    setPlaying(false);
    show();
  });
  play.addEventListener("click", () => setPlaying(play.getAttribute("aria-pressed") !== "true"));
  watchers.push(show);
  showGroups();
  show();
})();
