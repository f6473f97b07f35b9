// The table of picks, searched by the text of a row.
(() => {
  const body = document.getElementById("picks").tBodies[0];
  const search = document.getElementById("search");
  const count = document.getElementById("count");
  search.addEventListener("input", () => {
    const wanted = search.value.toLowerCase();
    let shown = 0;
    for (const row of body.rows) {
      row.hidden = !row.textContent.toLowerCase().includes(wanted);
      shown += row.hidden ? 0 : 1;
    }
    count.textContent = `${shown.toLocaleString("en")} rows`;
  });
})();

// The map: points on a canvas, with zoom, moving and the text of the row at the pointer.
(() => {
  const points = JSON.parse(document.getElementById("points").textContent);
  const frame = document.getElementById("map");
  const canvas = frame.querySelector("canvas");
  const tip = document.getElementById("tip");
  const pen = canvas.getContext("2d");
  const range = (values) => [Math.min(...values), Math.max(...values)];
  const [x0, x1] = range(points.x);
  const [y0, y1] = range(points.y);
  let zoom = 1, middle = [0.5, 0.5], marked = -1, drag = null;

  const place = (i) => [
    ((points.x[i] - x0) / (x1 - x0 || 1) - middle[0]) * zoom * 0.94 * canvas.clientWidth + canvas.clientWidth / 2,
    (middle[1] - (points.y[i] - y0) / (y1 - y0 || 1)) * zoom * 0.94 * canvas.clientHeight + canvas.clientHeight / 2,
  ];
  const draw = () => {
    const scale = window.devicePixelRatio || 1;
    canvas.width = canvas.clientWidth * scale;
    canvas.height = canvas.clientHeight * scale;
    pen.scale(scale, scale);
    const style = getComputedStyle(document.documentElement);
    for (let i = 0; i < points.x.length; i++) {
      const picked = points.rank[i] > 0;
      const [x, y] = place(i);
      pen.globalAlpha = picked ? 0.9 : 0.45;
      pen.fillStyle = style.getPropertyValue(picked ? "--pick" : "--other");
      pen.beginPath();
      pen.arc(x, y, i === marked ? 6 : picked ? 3 : 2, 0, 7);
      pen.fill();
    }
  };
  const zoomed = (factor) => {
    zoom = Math.min(60, Math.max(1, zoom * factor));
    if (zoom === 1) middle = [0.5, 0.5];
    draw();
  };
  const moved = (dx, dy) => {
    middle = [middle[0] - dx / (zoom * 0.94), middle[1] + dy / (zoom * 0.94)];
    draw();
  };
  const point = (event) => {
    const box = canvas.getBoundingClientRect();
    const [px, py] = [event.clientX - box.left, event.clientY - box.top];
    let best = -1, least = 144;
    for (let i = 0; i < points.x.length; i++) {
      const [x, y] = place(i);
      const distance = (x - px) ** 2 + (y - py) ** 2;
      if (distance <= least) [best, least] = [i, distance];
    }
    if (best !== marked) {
      marked = best;
      draw();
    }
    tip.hidden = best < 0;
    if (best < 0) return;
    const rank = points.rank[best] ? `rank ${points.rank[best]}, ` : "not selected, ";
    tip.textContent = `${rank}${points.name[best]} · ${points.topics[points.topic[best]]} · ${points.text[best]}`;
    tip.style.left = `${Math.min(px + 12, canvas.clientWidth - Math.min(tip.offsetWidth, canvas.clientWidth))}px`;
    tip.style.top = `${py + 14}px`;
  };
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoomed(event.deltaY < 0 ? 1.25 : 0.8);
  }, { passive: false });
  canvas.addEventListener("pointerdown", (event) => {
    drag = [event.clientX, event.clientY];
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (drag) {
      moved((event.clientX - drag[0]) / canvas.clientWidth, (event.clientY - drag[1]) / canvas.clientHeight);
      drag = [event.clientX, event.clientY];
    } else {
      point(event);
    }
  });
  canvas.addEventListener("pointerup", (event) => {
    drag = null;
    point(event);
  });
  canvas.addEventListener("pointerleave", () => {
    tip.hidden = true;
  });
  canvas.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: [0.1, 0], ArrowRight: [-0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] };
    if (event.key in steps) moved(...steps[event.key]);
    else if (event.key === "+" || event.key === "=") zoomed(1.25);
    else if (event.key === "-") zoomed(0.8);
    else return;
    event.preventDefault();
  });
  document.getElementById("in").addEventListener("click", () => zoomed(1.25));
  document.getElementById("out").addEventListener("click", () => zoomed(0.8));
  document.getElementById("whole").addEventListener("click", () => zoomed(1 / zoom));
  window.addEventListener("resize", draw);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  draw();
})();
