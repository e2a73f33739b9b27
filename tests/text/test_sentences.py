"""Sentence borders: quality on labelled text, the contract for any text, each rule by example."""

from __future__ import annotations

import itertools
import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maw.text.sentences import Span, sentences

DATA = Path(__file__).parent / "sentence_borders.txt"
BLANK_LINE = re.compile(
    r"(?>\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029])\s*?[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]"
)
SEPARATORS = set("-*_=~#+•‣◦▪·–—─━═|:.>`\u200b\ufeff")


def labelled() -> dict[tuple[str, str], list[list[str]]]:
    """The data set: (half, language) to paragraphs of sentences."""
    sections: dict[tuple[str, str], list[list[str]]] = {}
    half = language = ""
    paragraph: list[str] = []
    for line in [*DATA.read_text("utf-8").splitlines(), ""]:
        if line.startswith("#"):
            name = line[1:].strip()
            half = name if name in {"tuning", "held-out"} else half
            language = name if name in {"thai", "english and mixed"} else language
        elif line:
            paragraph.append(line)
        elif paragraph:
            sections.setdefault((half, language), []).append(paragraph)
            paragraph = []
    return sections


def f1(paragraphs: list[list[str]]) -> float:
    """The F1 of the borders between the sentences of each paragraph."""
    right = found = wanted = 0
    for paragraph in paragraphs:
        text = " ".join(paragraph)
        lengths = itertools.accumulate(len(sentence) + 1 for sentence in paragraph)
        gold = {length - 1 for length in lengths} - {len(text)}
        mine = {span.end for span in sentences(text, shortest=1, longest=10_000)} - {len(text)}
        right, found, wanted = right + len(gold & mine), found + len(mine), wanted + len(gold)
    return 2 * right / (found + wanted)


def split(text: str) -> list[str]:
    """The sentences of a text as texts, neither merged nor cut."""
    return [text[span.start : span.end] for span in sentences(text, shortest=1, longest=10_000)]


@pytest.mark.parametrize(
    ("half", "language", "least"),
    [
        ("tuning", "thai", 0.91),
        ("tuning", "english and mixed", 0.98),
        ("held-out", "thai", 0.82),
        ("held-out", "english and mixed", 0.95),
    ],
)
def test_borders_are_found_in_labelled_text(half: str, language: str, least: float) -> None:
    assert f1(labelled()[half, language]) >= least


def test_the_labelled_text_is_as_large_as_promised() -> None:
    sizes = {key: sum(map(len, paragraphs)) for key, paragraphs in labelled().items()}
    assert sizes["tuning", "thai"] + sizes["held-out", "thai"] >= 150
    assert sizes["tuning", "english and mixed"] + sizes["held-out", "english and mixed"] >= 80


# --- The contract, for any text

PIECES = st.sampled_from(
    [
        *(
            "ก",
            "กำ",
            "เก่า",
            "น้ำ ",
            "ครับ ",
            "ๆ",
            "และ ",
            "นอกจากนี้ ",
            "ก" * 70,
            "x" * 70,
            "word ",
            "Word ",
            "3.14",
        ),
        *(" ", "  ", "\n", "\n\n", "\r\n", "\t", "\u2028", "\x00", "\x1c", "\u200b"),
        *(
            ". ",
            "? ",
            "Mr. ",
            "1. ",
            "- ",
            "# ",
            "---",
            "***",
            "•",
            '"',
            "“",
            "”",
            "(",
            ")",
            "。",
            "」",
            "।",
            "…",
            ",",
        ),
        *("👩\u200d🚀", "🇹🇭", "\ud83d", "\ude00", "e\u0301"),
    ]
)
TEXTS = st.one_of(
    st.text(max_size=300),
    st.text(st.characters(), max_size=100),
    st.lists(PIECES, max_size=60).map("".join),
)
SIZES = st.tuples(st.integers(0, 40), st.integers(8, 300))


def check(text: str, spans: list[Span], longest: int) -> None:
    """Assert what holds for the spans of every text."""
    end = 0
    for span in spans:
        assert end <= span.start < span.end <= len(text)
        piece = text[span.start : span.end]
        assert piece == piece.strip()
        assert not BLANK_LINE.search(piece)
        assert len(piece) <= longest
        skipped(text[end : span.start])
        end = span.end
    skipped(text[end:])


def skipped(between: str) -> None:
    """Assert that nothing but white space and separators was left out."""
    assert all(character.isspace() or character in SEPARATORS for character in between)


@settings(deadline=None, max_examples=400)
@given(TEXTS, SIZES)
def test_spans_are_ordered_stripped_bounded_and_cover_the_text(text: str, sizes: tuple[int, int]) -> None:
    shortest, longest = sizes
    spans = sentences(text, shortest=shortest, longest=longest)
    check(text, spans, longest)
    assert spans == sentences(text, shortest=shortest, longest=longest)


@settings(deadline=None, max_examples=200)
@given(st.lists(PIECES, max_size=60).map("".join))
def test_the_standard_sizes_hold_for_composed_text(text: str) -> None:
    check(text, sentences(text), 300)


CLUSTERS = st.sampled_from(
    ["ก", "เก่า", "ที่", "น้ำ", "จริงๆ", "👩\u200d🚀", "\ud83d\ude00", "👍🏽", "🇹🇭", "x", " "]
)


@settings(deadline=None, max_examples=300)
@given(st.lists(CLUSTERS, max_size=60), st.integers(12, 40))
def test_no_border_is_inside_a_syllable_sign_or_emoji(clusters: list[str], longest: int) -> None:
    between = {0, *itertools.accumulate(map(len, clusters))}
    # Only จริงๆ is more than one cluster here: จ, ริ, ง ๆ.
    between |= {
        place + size for place in between for size in (1, 3) if "".join(clusters)[place:].startswith("จริ")
    }
    for span in sentences("".join(clusters), shortest=1, longest=longest):
        assert {span.start, span.end} <= between


@pytest.mark.parametrize("text", ["", " \n\t ", "---", "***\n\n•\n\n- - -", "\u2028\x85"])
def test_text_without_words_has_no_sentences(text: str) -> None:
    assert sentences(text) == []


def test_longest_must_leave_room_for_a_character() -> None:
    with pytest.raises(ValueError, match="longest"):
        sentences("a", longest=0)


# --- Time

HOSTILE = [
    *(
        "x",
        "ก",
        "ก ",
        ".",
        ". ",
        "A. ",
        "(",
        '" ',
        "ก (",
        "ก Aa ",
        "ก และ ",
        "。",
        "\n x",
        "=",
        ".)",
        "🇹🇭",
        "ก่",
    ),
    *("่", "\r", "- ", "นอกจากนี้ ", "3 ", "ก  ", "# a\n", "a, "),
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_text_is_done_within_seconds(piece: str) -> None:
    text = piece * (1_000_000 // len(piece) // (5 if " " in piece else 1))
    started = time.perf_counter()
    spans = sentences(text)
    assert time.perf_counter() - started < 40
    check(text, spans, 300)


@pytest.mark.parametrize("tail", ["", "x"])
def test_runs_of_one_sign_before_a_word_do_not_backtrack(tail: str) -> None:
    for sign in "=.- \n?":
        started = time.perf_counter()
        sentences(sign * 300_000 + tail)
        assert time.perf_counter() - started < 10


def test_twice_the_text_takes_about_twice_the_time() -> None:
    prose = (
        "\n\n".join(" ".join(paragraph) for section in labelled().values() for paragraph in section) + "\n\n"
    )
    small = prose * (1_000_000 // len(prose.encode()))

    def seconds(text: str) -> float:
        taken = []
        for _ in range(3):
            started = time.process_time()
            sentences(text)
            taken.append(time.process_time() - started)
        return min(taken)

    assert seconds(small * 2) < 4 * seconds(small) + 0.5


# --- English and other scripts, rule by rule


@pytest.mark.parametrize(
    "parts",
    [
        ["Dr. Who met Mr. Smith.", "They talked."],
        ["Use fruit, e.g. apples, i.e. not nuts, vs. Nuts.", "Done."],
        ["J. R. R. Tolkien wrote it.", "He was British."],
        ["She moved to the U.S. Army base.", "Then she left the U.S.", "He stayed."],
        ["We have apples, pears, etc.", "Take some."],
        ["See Fig. 3 and No. 7 on p. 12.", "They differ."],
        ["He said no.", "Nobody asked."],
        ["Pi is 3.14 and the version is 2.13.0.", "Both are old."],
        ["Read https://example.org/a.html?b=1.", "Then open config.yaml now."],
        ["Well... maybe not.", "I see..."],
        ["It was late…", "Nobody came."],
        ["What?!", "No way!!!", "Yes."],
        ['He said "stop."', "Then he left."],
        ['"Where?" she asked.', "(Nobody knew.)", "[Not even he.]"],
        ["We met at 9 a.m. on Monday.", "iPhone users came late.", "eBay did not."],
        ["Steps: 1. Cut the wood.", "2. Paint it.", "Done."],
        ["It took 5 ms.", "The rest was waiting."],
    ],
)
def test_full_stops_end_english_sentences(parts: list[str]) -> None:
    assert split(" ".join(parts)) == parts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("今日は晴れ。明日は？わからない！", ["今日は晴れ。", "明日は？", "わからない！"]),
        ("「行こう。」と彼は言った。終わり。", ["「行こう。」と彼は言った。", "終わり。"]),
        ("यह घर है। वह पेड़ है।", ["यह घर है।", "वह पेड़ है।"]),
        ("كيف حالك؟ أنا بخير.", ["كيف حالك؟", "أنا بخير."]),
        ("Das ist gut. Ähnlich geht es. ähnlich.", ["Das ist gut.", "Ähnlich geht es. ähnlich."]),
    ],
)
def test_other_scripts_have_their_own_stops(text: str, expected: list[str]) -> None:
    assert split(text) == expected


# --- Thai, rule by rule


@pytest.mark.parametrize(
    "parts",
    [
        ["สวัสดีครับ", "ผมเพิ่งเริ่มเล่นโฮมแล็บ"],
        ["ทางร้านส่งของให้แล้วนะคะ", "รบกวนเช็กพัสดุด้วยค่ะ", "ขอบคุณค่ะ"],
        ["ระบบสำรองข้อมูลทำงานทุกคืนโดยไม่มีใครต้องสั่ง", "อย่างไรก็ตาม ควรตรวจสอบผลทุกสัปดาห์"],
        ["ราคาของดิสก์ลูกใหม่แพงกว่าที่คิดไว้มาก", "ดังนั้นจึงต้องรอเดือนหน้า"],
        ["คุณเคยลองไหม?", "ยังไม่เคยเลย!", "น่าลองนะ."],
        ["ประชุมเริ่มเวลา 10.30 น. ณ ห้องประชุมใหญ่ชั้นสอง", "ทั้งนี้ ขอให้มาก่อนเวลาสิบนาที"],
        ["เราใช้ Proxmox VE เป็นระบบหลักของบ้าน", "It runs every night without a hitch.", "มันเสถียรมาก"],
    ],
)
def test_thai_sentences_end_at_the_right_spaces(parts: list[str]) -> None:
    assert split(" ".join(parts)) == parts


@pytest.mark.parametrize(
    "sentence",
    [
        "อาหารร้านนี้อร่อยมากจริง ๆ นะ",
        "เด็ก ๆ วิ่งเล่นกันอยู่ในสนามหญ้าหน้าโรงเรียนตั้งแต่เช้าจนถึงเย็นของทุก ๆ วันเสาร์อาทิตย์",
        "ในตู้เย็นของบ้านหลังใหญ่มีผักผลไม้และเนื้อสัตว์เก็บไว้มากมาย ฯลฯ",
        "ค่าเช่าเครื่องเซิร์ฟเวอร์ทั้งหมดที่ต้องจ่ายในแต่ละเดือนอยู่ที่ ๓๐ บาท",
        "ขบวนรถไฟสายเหนือที่เราจองตั๋วเอาไว้ออกจากสถานีหัวลำโพงเวลา 10.30 น.",
        "กฎหมายฉบับนี้ประกาศใช้ครั้งแรกในราชกิจจานุเบกษาเมื่อ พ.ศ. 2567",
        "นักวิจัยที่ค้นพบสมุนไพรชนิดใหม่ของโลกในป่าภาคใต้ครั้งนี้คือ ดร. สมชาย",
        "ผู้ที่ได้รับรางวัลชนะเลิศจากการประกวดในปีนี้ได้แก่ นางสาว สมหญิง ใจดี",
        "ผมใช้ Proxmox VE เป็นระบบหลักของบ้าน",
        "โรงแรมแห่งนี้ตั้งอยู่ใน อ. เมือง จ. เชียงใหม่",
        "ระยะทางจากบ้านถึงที่ทำงานของผมที่ต้องขับรถทุกวันคือ 12 กม.",
        'ครูพูดกับนักเรียนว่า "วันนี้การบ้านเยอะมากครับ พรุ่งนี้ค่อยส่งก็ได้ครับ" แล้วเดินออกจากห้อง',
        "อุปกรณ์ทั้งหมด (สายแลนที่ซื้อมาใหม่ครับ สวิตช์ตัวเก่า) อยู่ในกล่อง",
        "ตลาดแห่งนี้มีผักสด ผลไม้ และอาหารทะเล",
        "คุณจะเลือกเดินทางไปเชียงใหม่ด้วยรถไฟ หรือเครื่องบิน",
        "รศ.ดร. นภา เป็นหัวหน้าทีมวิจัย",
        "พี่ครับ ขอถามหน่อย",
    ],
)
def test_some_thai_spaces_are_never_borders(sentence: str) -> None:
    assert split(sentence) == [sentence]


# --- Lines, paragraphs, headings


def test_a_blank_line_ends_whatever_it_follows() -> None:
    assert split("no stop here\n\nand none there\r\n \t\r\nor there") == [
        "no stop here",
        "and none there",
        "or there",
    ]


def test_headings_and_list_items_stay_alone() -> None:
    text = "# Kit\nA box.\n- one\n- two\n1. three\n๑. สี่\n---\n•\nThe end of the list was reached here."
    assert [text[span.start : span.end] for span in sentences(text)] == [
        "# Kit", "A box.", "- one", "- two", "1. three", "๑. สี่", "The end of the list was reached here.",
    ]  # fmt: skip


def test_a_short_first_line_is_a_title() -> None:
    text = "การติดตั้ง\nดาวน์โหลดไฟล์ติดตั้งจากเว็บไซต์ทางการ"
    assert len(sentences(text)) == 2


def test_a_line_break_is_a_border_unless_the_line_is_wrapped() -> None:
    wrapped = (
        "This line is wrapped by somebody's editor just before the column\nwhere it would become too long."
    )
    assert split(wrapped) == [wrapped]
    assert split("first line\nsecond line") == ["first line", "second line"]
    assert len(split(wrapped.replace("column\nw", "column.\nw"))) == 2
    assert len(split(wrapped.replace("\nw", "\nW"))) == 2


def test_wrapped_thai_lines_are_joined() -> None:
    lines = [
        "ผู้ดูแลระบบตรวจสอบสถานะของเครื่องแม่ข่ายทุกเครื่องที่ตั้งอยู่ในห้อง",
        "ใต้ดินของอาคารเก่าหลังนั้นเป็นประจำทุกเช้าก่อนที่พนักงานคนอื่นจะมา",
        "ถึงสำนักงานแล้วจดอุณหภูมิความชื้นและเสียงพัดลมลงในสมุดเล่มสีน้ำเงิน",
        "ซึ่งวางอยู่ข้างตู้ไฟมาตั้งแต่สมัยที่ยังไม่มีใครรู้จักระบบเฝ้าระวัง",
        "อัตโนมัติที่ใช้กันอยู่ทุกวันนี้",
    ]
    assert len(split("\n".join(lines))) == 1
    assert len(split("\n".join(lines[:2]))) == 2


def test_wrapped_english_keeps_its_sentences() -> None:
    words = (
        "Every morning the old server in the cellar copies what it has to the new one. It takes an hour. " * 5
    )
    lines = re.findall(r"(\S.{0,58}\S)(?:\s|$)", words)
    assert len(split("\n".join(lines))) == 10


def test_the_lines_of_a_log_stay_apart() -> None:
    lines = [
        f"2025-03-0{day} 04:00:1{day} INFO backup of container 10{day} to the vault finished"
        for day in range(1, 9)
    ]
    assert split("\n".join(lines)) == lines


# --- Merging and cutting


def test_short_sentences_are_merged_within_their_paragraph() -> None:
    text = "Yes. No. It was a rather long day at the office.\n\nOh."
    spans = sentences(text)
    assert [text[span.start : span.end] for span in spans] == [
        "Yes. No. It was a rather long day at the office.",
        "Oh.",
    ]


def test_merging_never_makes_a_sentence_too_long() -> None:
    text = "A" + "b" * 28 + ". Short. C" + "d" * 28 + "."
    assert [span.end - span.start for span in sentences(text, longest=32)] == [30, 6, 30]


def test_long_sentences_are_cut_at_clauses_then_at_spaces() -> None:
    clauses = "the first part of it, " + "and the second one " * 2
    assert sentences(clauses, shortest=1, longest=40)[0] == Span(0, 21)
    assert sentences("word " * 30, shortest=1, longest=42)[0] == Span(0, 39)


def test_thai_without_spaces_is_cut_before_a_syllable() -> None:
    text = "เครื่องแม่ข่ายเก่าทำงานไม่ไหวแล้ว" * 20
    cuts = [span.start for span in sentences(text, longest=100)][1:]
    assert cuts
    assert all(text[cut] in "เแโใไ" for cut in cuts)


@pytest.mark.parametrize(
    "cluster", ["กี่", "👩\u200d👩\u200d👧", "🇹🇭", "\ud83d\ude00", "e\u0301\u0323", "👍🏽", "क्ष"]
)
def test_cuts_leave_clusters_whole(cluster: str) -> None:
    spans = sentences(cluster * 100, longest=50)
    assert len(spans) > 1
    assert all(span.start % len(cluster) == 0 for span in spans)
