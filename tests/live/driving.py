"""Moving the controls of an explorer in a browser, and holding its picture against the truth.

The page tells the state of an explorer in a line of code. An explorer made here from the same code,
set to that state, draws what the page must show.
"""

import ast
import base64
import time
from functools import partial
from io import BytesIO

import numpy as np
from PIL import Image

from maestro_lab.explore.controls import Choice
from maestro_lab.explore.picture import picture_of


def state_of(box):
    """Return the state that the page tells."""
    text = box.locator(".maestro-state").text_content()
    call = ast.parse(text).body[0].value
    return {k.arg: ast.literal_eval(k.value) for k in call.keywords}


def pixels(data):
    return np.asarray(Image.open(BytesIO(data)).convert("RGB"), int)


def shown(box):
    """Return the pixels of the picture on the page; None while there is none."""
    image = box.locator(".maestro-picture img")
    source = image.get_attribute("src", timeout=20_000) or ""
    return pixels(base64.b64decode(source.partition(",")[2])) if source else None


def expected(explorer, state):
    """Return the pixels that a state is drawn as, and the words beside them."""
    explorer.set(**state)
    picture = picture_of(explorer)
    return (pixels(picture.png) if picture.png else None), picture.words


def alike(a, b):
    if a is None or b is None:
        return a is b
    return a.shape == b.shape and (np.abs(a - b) > 24).mean() < 2e-3


def settled(box, explorer, before=None, seconds=40):
    """Wait until the page shows what its state is drawn as; return state and pixels.

    With ``before`` given, wait for another state first.
    """
    end, state = time.monotonic() + seconds, None
    while time.monotonic() < end:
        state = state_of(box)
        if state != before:
            wanted = expected(explorer, state)[0]
            while time.monotonic() < end and state_of(box) == state:
                if alike(shown(box), wanted):
                    return state, wanted
                time.sleep(0.05)
        time.sleep(0.05)
    raise AssertionError(f"the page does not show its state {state} (before: {before})")


def controls(box):
    """Return a function that moves it, for each control of the page, by what it is."""
    found = []
    selects = box.locator("select:visible")
    for k in range(selects.count()):
        found.append(("list", partial(_choose_next, selects.nth(k))))
    handles = box.locator(".noUi-handle:visible")
    for k in range(handles.count()):
        found.append(("slider", partial(_push, handles.nth(k))))
    boxes = box.locator("input[type=number]:visible")
    for k in range(boxes.count()):
        found.append(("number", partial(_type, boxes.nth(k))))
    rows = box.locator(".widget-toggle-buttons:visible")
    for k in range(rows.count()):
        buttons = rows.nth(k).locator("button")
        for j in range(1, buttons.count()):
            found.append(("button", buttons.nth(j).click))
        found.append(("button", buttons.nth(0).click))
    ticks = box.locator("input[type=checkbox]:visible")
    for k in range(ticks.count()):
        found.append(("tick", ticks.nth(k).click))
    return found


def _choose_next(select):
    count = select.locator("option").count()
    now = select.evaluate("s => s.selectedIndex")
    select.select_option(index=(now + 1) % count)


def _push(handle):
    handle.focus()
    low, now, high = (float(handle.get_attribute(f"aria-value{k}")) for k in ("min", "now", "max"))
    handle.page.keyboard.press("ArrowRight" if now < high else "ArrowLeft")
    return low < high


def _type(box):
    most = box.get_attribute("max")
    now = float(box.input_value())
    box.fill(str(int(now + 1 if most in (None, "") or now < float(most) else now - 1)))
    box.press("Enter")


def _alone(explorer):
    """Tell whether a slider of the explorer has but one place."""
    choices = (c for c in explorer.controls.values() if isinstance(c, Choice))
    return any(c.look == "slider" and len(c.options) < 2 for c in choices)


def drive(box, explorer):
    """Move every control; the picture must follow each. Return how often it became another one."""
    state, picture = settled(box, explorer)
    different = 0
    for kind, move in controls(box):
        before, old = state, picture
        if move() is False:
            continue  # a slider with one place
        if state_of(box) == before:
            time.sleep(0.4)
        if state_of(box) == before and (kind in ("list", "button") or _alone(explorer)):
            continue  # the only choice there is, or the one that is chosen already
        state, picture = settled(box, explorer, before)
        different += not alike(picture, old)
    return different


def place_of(explorer, panel, x, y):
    """Return where a place of the data lies in the picture, as shares of its sides."""
    figure = picture_of(explorer).figure
    axes = next(a for a in figure.axes if a.get_label() == panel)
    across, up = figure.transFigure.inverted().transform(axes.transData.transform((x, y)))
    return float(across), 1 - float(up)


def click(box, explorer, panel, x, y):
    """Click on a place of the data."""
    image = box.locator(".maestro-picture img")
    image.scroll_into_view_if_needed()
    across, down = place_of(explorer, panel, x, y)
    frame = image.bounding_box()
    box.page.mouse.click(frame["x"] + across * frame["width"], frame["y"] + down * frame["height"])


def drag(box, explorer, panel, start, end):
    """Draw a box from one place of the data to another."""
    image = box.locator(".maestro-picture img")
    image.scroll_into_view_if_needed()
    frame, mouse = image.bounding_box(), box.page.mouse
    places = [place_of(explorer, panel, *corner) for corner in (start, end)]
    spots = [(frame["x"] + a * frame["width"], frame["y"] + d * frame["height"]) for a, d in places]
    mouse.move(*spots[0])
    mouse.down()
    mouse.move(*spots[1], steps=5)
    mouse.up()


def response(box, move, moves=20, seconds=20):
    """Return the median time from a move to another picture, in seconds."""
    image, times = box.locator(".maestro-picture img"), []
    for _ in range(moves):
        before = image.get_attribute("src")
        start = time.perf_counter()
        move()
        while image.get_attribute("src") == before:
            if time.perf_counter() - start > seconds:
                raise TimeoutError("the picture did not follow")
            time.sleep(0.002)
        times.append(time.perf_counter() - start)
    return float(np.median(times))
