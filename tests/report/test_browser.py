"""Pages in a real browser: on a phone, in the dark, on paper, and for those who cannot see them."""

import shutil

import pytest

from tests.report import lines
from tests.report.test_choose import trial
from tests.report.test_tasks import EVERY, HOSTILE
from trainer.report.choice import choice
from trainer.report.compare import compare
from trainer.report.make import make_report
from trainer.report.page import page
from trainer.report.say import speaker
from trainer.settings.schema import ReportSettings

pytestmark = pytest.mark.slow
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PHONE = {"width": 360, "height": 740}
SERIOUS = ("serious", "critical")
FIRST_PAINT_MS = 1000


@pytest.fixture(scope="module")
def browser():
    """Chromium, as the system has it."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()


def look(browser, file, scheme):
    """What a browser finds wrong with a page, and whether it prints."""
    from axe_playwright_python.sync_playwright import Axe

    wrong = []
    context = browser.new_context(viewport=PHONE, color_scheme=scheme)
    shown = context.new_page()
    shown.on("console", lambda message: message.type == "error" and wrong.append(message.text))
    shown.on("pageerror", lambda error: wrong.append(str(error)))
    shown.on("request", lambda asked: asked.url.startswith("http") and wrong.append(asked.url))
    shown.goto(file.as_uri())
    if shown.evaluate("document.documentElement.scrollWidth") > PHONE["width"]:
        wrong.append("it scrolls sideways")
    paint = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"
    if shown.evaluate(paint) > FIRST_PAINT_MS:
        wrong.append("its first paint is late")
    found = Axe().run(shown).response["violations"]
    wrong += [f"{each['id']}: {each['help']}" for each in found if each["impact"] in SERIOUS]
    pdf = shown.pdf()
    context.close()
    return wrong, pdf


@pytest.mark.parametrize(("language", "scheme"), [("en", "light"), ("zh", "dark")])
@pytest.mark.parametrize("kind", EVERY)
def test_a_report(browser, tmp_path, kind, language, scheme):
    head, answers = EVERY[kind]
    report = make_report(lines.evidence(answers, head), ReportSettings(language=language))
    file = tmp_path / "report.html"
    file.write_text(page(report.title, report.sections, language), encoding="utf-8")
    wrong, pdf = look(browser, file, scheme)
    assert wrong == [] and pdf.startswith(b"%PDF")


def test_a_comparison(browser, tmp_path):
    runs = [
        lines.evidence(lines.drawn(60, ("a", "b"), seed=0, right=right), {"name": "classification"})
        for right in (0.5, 0.9)
    ]
    runs = [
        type(run)(**{**vars(run), "name": name, "splits": {"test": answers}})
        for run, name, answers in zip(
            runs, ("old", "new"), same_questions(*(run.lines for run in runs)), strict=True
        )
    ]
    file = tmp_path / "compare.html"
    file.write_text(page("old, new", compare(runs, speaker("en")), "en"), encoding="utf-8")
    wrong, pdf = look(browser, file, "light")
    assert wrong == [] and pdf.startswith(b"%PDF")


def test_a_choice(browser, tmp_path):
    trials = [trial("a", 0.5, 0.6), trial("b <i>", 0.5, 0.9), trial("b <i>", 1.0, 0.95)]
    file = tmp_path / "choice.html"
    file.write_text(page("a, b", choice(trials, speaker("zh")), "zh"), encoding="utf-8")
    wrong, pdf = look(browser, file, "dark")
    assert wrong == [] and pdf.startswith(b"%PDF")


def same_questions(first, second):
    """Two runs' answers, with the gold labels of the first."""
    yield first
    yield [{**line, "gold": own["gold"]} for own, line in zip(first, second, strict=True)]


def test_tables_sort_and_hostile_texts_are_harmless(browser, tmp_path):
    answers = [dict(line) for line in lines.drawn(80, ("a", "b", "c"))]
    for line in answers:
        line["inputs"] = {"text": HOSTILE}
    report = make_report(lines.evidence(answers, {"name": "classification"}), ReportSettings())
    file = tmp_path / "report.html"
    file.write_text(page(report.title, report.sections, "en"), encoding="utf-8")
    shown = browser.new_page()
    alerts = []
    shown.on("dialog", lambda dialog: (alerts.append(dialog.message), dialog.dismiss()))
    shown.goto(file.as_uri())
    table = shown.locator("#labels table").first
    column = table.locator("tbody tr td:nth-child(4)")

    def values():
        return [float(cell.get_attribute("data-value")) for cell in column.all()]

    table.locator("th button").nth(3).click()
    assert values() == sorted(values(), reverse=True)
    table.locator("th button").nth(3).click()
    assert values() == sorted(values())
    assert alerts == []
