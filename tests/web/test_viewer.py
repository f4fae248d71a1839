"""The 3-D viewer draws: pixels are counted, on a software WebGL."""

import base64

import pytest

BALL = "/projects/BRAIN/subjects/ball/sessions/ball_MR1/view"
FILES = "resources/FREESURFER7/files/ball"

#: Shares of the canvas: how much is bright, how much has colour; read from a picture of what is on the screen.
COUNT = """async (data) => {
  const image = new Image();
  image.src = "data:image/png;base64," + data;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = image.width; canvas.height = image.height;
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, image.width, image.height).data;
  let bright = 0, coloured = 0;
  for (let at = 0; at < pixels.length; at += 4) {
    const most = Math.max(pixels[at], pixels[at + 1], pixels[at + 2]);
    const least = Math.min(pixels[at], pixels[at + 1], pixels[at + 2]);
    if (most > 60) bright += 1;
    if (most - least > 50) coloured += 1;
  }
  return { bright: 4 * bright / pixels.length, coloured: 4 * coloured / pixels.length };
}"""


@pytest.fixture
def drawn(page, bundle):
    """Opens the viewer and counts what it has drawn."""
    # Software draws every pixel: few of them.
    page.set_viewport_size({"width": 480, "height": 420})

    def drawn(path):
        page.goto(path)
        page.wait_for_selector("#viewer[data-ready=true]", timeout=60_000)
        page.wait_for_timeout(300)
        picture = page.screenshot(full_page=True, clip=page.locator("#canvas").bounding_box())
        return page.evaluate(COUNT, base64.b64encode(picture).decode())

    return drawn


def test_a_nifti_image_is_drawn(page, drawn):
    found = drawn("/projects/BRAIN/subjects/colin27/sessions/colin27_MR1/view?layout=axial")
    assert 0.05 < found["bright"] < 0.7, "a brain on black"
    assert found["coloured"] < 0.05, "in grey, but for the cross"
    assert page.locator("#volume-control").is_hidden()


def test_a_series_has_a_slider(page, drawn):
    drawn(
        "/projects/BRAIN/subjects/colin27/sessions/colin27_MR1/view?image=scans/2/resources/NIFTI/files/bold.nii&layout=axial"
    )
    slider = page.get_by_label("Volume")
    slider.focus()
    slider.press("ArrowRight")
    assert page.locator("#volume-number").inner_text() == "2 of 20"


def test_a_label_map_lies_over_the_brain_in_its_colours(drawn):
    plain = drawn(f"{BALL}?image={FILES}/mri/brain.mgz&layout=axial")
    laid = drawn(f"{BALL}?image={FILES}/mri/brain.mgz&overlay={FILES}/mri/aseg.mgz&layout=axial")
    assert plain["bright"] > 0.05
    assert laid["coloured"] > plain["coloured"] + 0.03


def test_surfaces_carry_thickness_and_annotations(page, drawn):
    plain = drawn(f"{BALL}?surface={FILES}/surf/pial")
    thick = drawn(f"{BALL}?surface={FILES}/surf/pial&values={FILES}/surf/thickness")
    assert "thickness from 1.0" in page.locator("#legend").inner_text()
    named = drawn(f"{BALL}?surface={FILES}/surf/pial&values={FILES}/label/aparc.annot")
    assert plain["bright"] > 0.03
    assert plain["coloured"] < 0.02
    assert thick["coloured"] > 0.02
    assert named["coloured"] > 0.02


def test_a_choice_is_an_address(page, bundle):
    page.goto(BALL)
    page.get_by_label("Overlay").first.select_option(label="ball/mri/aseg.mgz")
    page.wait_for_url("**/view?*overlay=*aseg.mgz*")
    page.wait_for_selector("#viewer[data-ready=true]", timeout=60_000)


def test_only_files_of_the_session_are_shown(page, site):
    page.goto(f"{BALL}?image=https://elsewhere.example/x.nii&overlay=../../x&surface=%3Cscript%3E")
    scene = page.locator("#viewer").get_attribute("data-scene") or ""
    assert "elsewhere" not in page.content()
    assert "brain.mgz" in scene
