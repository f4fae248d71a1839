// The 3-D viewer's page: hands what the server chose (data-scene) to NiiVue, and ties the controls to it.
const place = (id) => document.getElementById(id);
const viewer = place("viewer");
const scene = JSON.parse(viewer.dataset.scene);
const status = place("status");

// Another choice is another page, so that every view has an address.
for (const select of place("choices").querySelectorAll("select")) {
  select.addEventListener("change", () => place("choices").requestSubmit());
}

const LABELS_LUT = "freesurfer";

function meshOf(one) {
  const mesh = { url: one.url, name: one.name, rgba255: [214, 205, 196, 255], opacity: 1, layers: [] };
  if (one.layer) mesh.layers.push({ url: one.layer.url, name: one.layer.name, opacity: 0.9, colormap: "viridis" });
  return mesh;
}

// NiiVue scales FreeSurfer's curv files to 0..1 and turns them round. The numbers of the file (big-endian floats after
// a head of 15 bytes) are put back, so that colours mean millimetres and the same on both hemispheres.
async function putNumbersBack(nv) {
  const ranges = { thickness: [1, 4.5], sulc: [-10, 10], curv: [-0.6, 0.6] };
  for (const [number, one] of scene.meshes.entries()) {
    const layer = nv.meshes[number].layers[0];
    if (!layer || one.layer.name.endsWith(".annot")) continue;
    const view = new DataView(await (await fetch(one.layer.url)).arrayBuffer());
    const values = Float32Array.from({ length: view.getUint32(3) }, (_, at) => view.getFloat32(15 + 4 * at));
    const known = ranges[one.layer.name.split(".").pop()];
    const [low, high] = known ?? [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
    Object.assign(layer, { values, cal_min: low, cal_max: high, global_min: low, global_max: high });
    nv.meshes[number].updateMesh(nv.gl);
    place("legend").textContent = `${one.layer.name.split(".").pop()} from ${low.toPrecision(2)} (dark blue) to ${high.toPrecision(2)} (yellow)`;
  }
}

function tieVolumes(nv) {
  const frames = nv.volumes.length ? nv.volumes[0].nFrame4D : 1;
  if (frames > 1) {
    const slider = place("volume");
    slider.max = String(frames - 1);
    const show = () => {
      nv.setFrame4D(nv.volumes[0].id, Number(slider.value));
      place("volume-number").value = `${Number(slider.value) + 1} of ${frames}`;
    };
    slider.addEventListener("input", show);
    show();
    place("volume-control").hidden = false;
  }
  if (nv.volumes.length > 1) {
    place("opacity").addEventListener("input", (event) => nv.setOpacity(1, Number(event.target.value) / 100));
    place("opacity-control").hidden = false;
  }
}

// NiiVue's numbers of its views.
const LAYOUTS = { axial: 0, coronal: 1, sagittal: 2, multiplanar: 3, render: 4 };

function firstLayout() {
  if (!scene.volumes.length) return "render";
  return scene.layout in LAYOUTS ? scene.layout : "multiplanar";
}

function tieLayout(nv) {
  place("layout").addEventListener("change", () => nv.setSliceType(LAYOUTS[place("layout").value]));
}

async function start() {
  viewer.hidden = false;
  status.textContent = "Loading …";
  const { Niivue, cmapper } = globalThis.niivue;
  place("layout").value = firstLayout();
  const nv = new Niivue({
    backColor: [0, 0, 0, 1], show3Dcrosshair: scene.volumes.length > 0, crosshairWidthUnit: "percent",
    crosshairWidth: 0.3, showLegend: false, isColorbar: false, isOrientCube: false, loadingText: "",
    dragAndDropEnabled: false, sliceType: LAYOUTS[firstLayout()], logLevel: "error", multiplanarShowRender: 1,
  });
  Object.assign(nv, { onLocationChange: (at) => { place("place").textContent = at.string; } });
  await nv.attachToCanvas(place("canvas"));
  await nv.loadVolumes(scene.volumes.map((one, number) => ({
    url: one.url, name: one.name, colormap: "gray", opacity: number ? 0.5 : 1,
  })));
  scene.volumes.forEach((one, number) => {
    if (one.labels) nv.volumes[number].setColormapLabel(cmapper.colormapFromKey(LABELS_LUT));
  });
  nv.updateGLVolume();
  if (scene.meshes.length) await nv.loadMeshes(scene.meshes.map(meshOf));
  await putNumbersBack(nv);
  nv.scene.crosshairPos = [0.5, 0.5, 0.5];
  tieVolumes(nv);
  tieLayout(nv);
  nv.drawScene();
  status.textContent = scene.volumes.length ? "L marks the left side. Use click, wheel and arrow keys to move through the slices." : "Drag to rotate, use the wheel to zoom.";
  viewer.dataset.ready = "true";
}

start().catch((error) => {
  viewer.hidden = true;
  status.classList.add("notice", "bad");
  status.textContent = `The viewer could not start: ${error.message}. The page of the session has the snapshots and the files.`;
});
