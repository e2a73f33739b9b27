"""Where a Thai sentence ends: each space is scored by the words around it and the text before it.

Thai has no full stops; a space may end a phrase, a clause or a sentence.
"""

from __future__ import annotations

import re
from bisect import bisect_right

# Thai abbreviations are groups of consonants, each with its own stop.
SHORTENED = re.compile(r"(?<![ก-๎])(?:(?:[ก-ฮ]{1,4}|เม|มิ|มี|โทร)\.)+$")
# After these a name, a number or a place must follow.
_BOUND = re.compile(
    r"(?<![ก-๎])(?:(?:ดร|ผศ|รศ|ศ|นพ|พญ|ทพ|ภก|อ|จ|ต|ถ|ซ|(?<![0-9๐-๙])(?<![0-9๐-๙]\s)ม|[พครจ]\.ศ|น\.ส|ด\.[ชญ]"
    r"|[พรจส]\.[ตทอ]\.[ตทอ]|พล\.[ตทอร]|ม\.[รลจ]|โทร)\.|ดร|[พค]\.ศ"
    r"|นาย(?!ก|จ้าง|ทุน|หน้า|แบบ)[ก-๎]{0,16}|นาง(?!แบบ|พญา|เอก)[ก-๎]{0,20}"
    r"|คุณ(?!ภาพ|สมบัติ|ค่า|ธรรม|ลักษณะ)[ก-๎]{0,12})$"
)
_HELD = "ๆ,:;([{/–—=&+-"
_HOLDS = re.compile(r"[ๆ0-9๐-๙,:;)\]}/–—=&+%-]|ฯลฯ")
_MEASURE = re.compile(
    "(?:บาท|ปี|คน|ครั้ง|วัน|เดือน|ชั่วโมง|นาที|วินาที|เมตร|เซนติ|มิลลิ|กิโล|กรัม|ลิตร|ช้อน|ถ้วย|ฟอง|ตัว|เครื่อง"
    "|องศา|เปอร์เซ็นต์|ล้าน|พัน|หมื่น|แสน|จุด|แห่ง|ราย|หลัง|ชั้น|ลูก|เล่ม|ฉบับ|ข้อ|เท่า|ล้อ|พรรษา|ชิ้น|หน้า|แผ่น"
    "|ดอลลาร์|ยูโร|วัตต์|โวลต์|กิกะ|เมกะ|มกรา|กุมภา|มีนา|เมษา|พฤษภา|มิถุนา|กรกฎา|สิงหา|กันยา|ตุลา|พฤศจิกา|ธันวา"
    r"|[ก-ฮ]{1,2}\.|[มกพตธส][ิี]?\.[คพยม]\.|เม\.ย\.)"
)
_QUOTED = re.compile(
    r"\"[^\"]{0,300}\"|“[^“”]{0,300}”|‘[^‘’]{0,300}’|«[^«»]{0,300}»|\([^()]{0,300}\)|\[[^\[\]]{0,300}\]"
)
SPACES = re.compile(r"\s+")
_LATIN_SENTENCE = re.compile(r"[A-Z][^\s\u0e00-\u0e7f]*(?: [^\s\u0e00-\u0e7f]+){2,60}(?<=[.?!])(?=\s|$)")

# What the word after a space says about it. Those that as often begin a clause (เมื่อ, ก่อน) weigh less
# than those that only begin a sentence; a plain noun weighs a little, since a clause rarely begins with one.
_AFTER_WEIGHTS = {
    3.0: "อย่างไรก็ตาม อย่างไรก็ดี นอกจากนี้ นอกจากนั้น นอกเหนือจากนี้ ดังนั้น เพราะฉะนั้น เพราะเหตุนี้ ด้วยเหตุนี้"
    " ทั้งนี้ อนึ่ง จากนั้น หลังจากนั้น ต่อจากนั้น ต่อมา ในขณะเดียวกัน ขณะเดียวกัน ในทางกลับกัน ในทางตรงกันข้าม"
    " ตรงกันข้าม สรุป โดยสรุป โดยทั่วไป ทว่า กระนั้น สุดท้าย ท้ายที่สุด ในที่สุด ปัจจุบัน ยิ่งไปกว่านั้น ตัวอย่างเช่น"
    " ล่าสุด จึงเรียน จึงขอ เบื้องต้น",
    2.0: "เมื่อวาน เมื่อคืน เมื่อเช้า วันนี้ พรุ่งนี้ เช้านี้ คืนนี้ ตอนนี้ ตอนแรก ตอนนั้น ขณะนี้ ช่วงนี้ คราวหน้า"
    " ระหว่างนี้ หาก ถ้า เมื่อ พอ หลังจาก ก่อนหน้านี้ ในช่วง สวัสดี ขอบคุณ ขอโทษ อย่าลืม ส่วนใหญ่ หลายคน บางคน",
    1.5: "ขณะที่ ด้าน ตลอดระยะ สำหรับ ก่อน หลัง ช่วง ใคร คุณ ผม ฉัน ดิฉัน เรา เขา เธอ มัน แก พวก ที่นี่ นี่ นั่น ตาม",
    1.0: "การ ความ ผู้ นัก ชาว คณะ กรม กระทรวง รัฐบาล ประชาชน เจ้าหน้าที่ ตำรวจ ธนาคาร บริษัท โรงเรียน มหาวิทยาลัย"
    " นาย นาง ดร ทีม สมเด็จ พระ คน เด็ก แม่ พ่อ ยาย ระบบ โปรแกรม ราคา รายละเอียด ผล หลาย บาง ทุก ไม่มี ไม่รู้ ลอง"
    " ควร อย่า โปรด กรุณา เพียง เริ่ม",
    -0.5: "ใน ภายใน ให้ อยาก",
    -1.5: "ส่วน แม้ จาก มี ด้วย โดย อย่าง ไม่ว่า ต้อง",
    -2.5: "แต่ ทั้ง พร้อม ถึง ได้ เวลา ต่าง ภายในวัน เพื่อ เนื่องจาก เนื่องด้วย จะ ที่ แล้ว ขึ้น รวม แสดงว่า กว่า พ.ศ. ค.ศ.",
    -4.0: "และ หรือ ซึ่ง ว่า รวมถึง รวมทั้ง ได้แก่ เช่น กับ ของ อัน ตลอดจน เพราะ จึง ก็ ทำให้ จน ณ กล่าว เปิดเผย ระบุ"
    " ให้ความเห็น ให้สัมภาษณ์ สูงกว่า ต่ำกว่า มากกว่า น้อยกว่า คือ เป็น นี้ นั้น ตลอดเวลา",
}
# The same for the end of the word before the space.
_BEFORE_WEIGHTS = {
    6.0: "ครับ ครับผม ค่ะ คะ จ้ะ จ้า ฮะ ค่า",
    1.5: "นะ ล่ะ หรอก สิ ไหม เหรอ หรือเปล่า ทันที ต่อไป เสมอ เท่านั้น เช่นกัน เหมือนกัน ตามลำดับ เลย ด้วย แล้ว",
    0.5: "กัน มาก นั้น ได้ดี ดังกล่าว อีก",
    -6.0: "ว่า คือ ได้แก่ เช่น ของ และ หรือ กับ ใน โดย เป็น เพื่อ ซึ่ง แต่ ถ้า หาก เมื่อ เพราะ",
}
_AFTER = {word: weight for weight, words in _AFTER_WEIGHTS.items() for word in words.split()}
_BEFORE = {word: weight for weight, words in _BEFORE_WEIGHTS.items() for word in words.split()}
# Longest first, so that ทั้งนี้ is not read as ทั้ง; a mark that follows makes another word of it (การ์ด).
_OPENER = re.compile("(?:" + "|".join(map(re.escape, sorted(_AFTER, key=len, reverse=True))) + ")(?![ัิ-ฺ็-๎])")
_ENDINGS = sorted({len(word) for word in _BEFORE}, reverse=True)
_STRONG, _PARTICLE, _NEVER = 3.0, 6.0, -9.0
# "พี่ครับ" calls somebody, the sentence comes after it.
_VOCATIVE = re.compile("(?:พี่|น้อง|ลุง|ป้า|น้า|อา|หมอ|ครู|อาจารย์|พ่อ|แม่|คุณ[ก-๎]{0,12})(?:ครับ|คะ|ค่ะ)")
# A sentence that begins with one of these still waits for its main clause at the first space.
_WAITING = re.compile(
    "เมื่อ(?!วาน|คืน|เช้า)|ถ้า|หาก|พอ|ก่อน|หลัง|แม้|ถึงแม้|เนื่อง|ในช่วง|ตลอด|ระหว่าง|ตามที่|ตามหนังสือ|ด้วย(?!เหตุ)|เพื่อ|ต่อมา"
)
_WAITS_WITHIN = 70
_LISTED = re.compile("และ|หรือ|ฯลฯ")
_LIST_ITEM = 25  # characters of the longest phrase that is taken for an item of a list
_LISTED_WEIGHT, _WAITING_WEIGHT, _CONSEQUENCE_WEIGHT = -3.0, -2.5, -3.0
_NUMBER_WEIGHT, _LATIN_WEIGHT, _SHORTENED_WEIGHT = -2.0, -3.0, -1.0
# Characters of the running sentence up to a space, and what that says about the space.
_LENGTHS = (12, 20, 35, 70, 110, 160)
_LENGTH_WEIGHTS = (-3.0, -1.5, -0.5, 1.0, 1.5, 2.5, 4.0)

_OPENING = "\"'“‘«([{"


def thai_borders(text: str, start: int, end: int, stops: list[int]) -> list[int]:
    """Given a unit with Thai in it and its full stops, return all its borders."""
    closed = [match.span() for match in _QUOTED.finditer(text, start, end)]
    opened = [span[0] for span in closed]

    def inside(place: int) -> bool:
        number = bisect_right(opened, place - 1) - 1
        return number >= 0 and place < closed[number][1]

    borders = [stop for stop in stops if not inside(stop)]
    gaps = [match.span() for match in SPACES.finditer(text, start, end)]
    listed = _before_lists(text, gaps, end)
    found: list[int] = []
    number = 0
    since = clause = start
    waiting = True
    for index, (left, right) in enumerate(gaps):
        while number < len(borders) and borders[number] <= left:
            since = clause = right if borders[number] == left else borders[number]
            number, waiting = number + 1, True
        if since == right or inside(left):
            continue
        until = gaps[index + 1][0] if index + 1 < len(gaps) else end
        score = _score(text, since, left, right, until) + _LISTED_WEIGHT * listed[index]
        if _OPENER.fullmatch(text, clause, left):
            clause = right
        if waiting and -5 < score < 3 and left - clause <= _WAITS_WITHIN and _WAITING.match(text, clause):
            waiting = False
            score += _WAITING_WEIGHT
        if score > 0:
            found.append(left)
            since = clause = right
            waiting = True
    return sorted(borders + found)


def _before_lists(text: str, gaps: list[tuple[int, int]], end: int) -> list[bool]:
    """Given the spaces of a unit, return for each whether items of a list ("ก ข และ ค") follow it."""
    listed = [False] * len(gaps)
    for index in range(len(gaps) - 2, -1, -1):
        until, following = gaps[index + 1]
        if until - gaps[index][1] <= _LIST_ITEM and "ก" <= text[gaps[index][1]] <= "๎":
            listed[index] = listed[index + 1] or _LISTED.match(text, following, end) is not None
    return listed


def _score(text: str, since: int, left: int, right: int, until: int) -> float:
    """Given a space, return how much speaks for a sentence border there: above 0 it is one."""
    near = max(since, left - 24)
    last, first = text[left - 1], text[right]
    thai_first = "ก" <= first <= "๎"
    if not (thai_first or "ก" <= last <= "๎") or last in _HELD or _HOLDS.match(text, right):
        return _NEVER
    if _BOUND.search(text, near, left):
        return _NEVER
    score = _LENGTH_WEIGHTS[bisect_right(_LENGTHS, left - since)]
    tail = text[near:left]
    ending = next((_BEFORE[tail[-size:]] for size in _ENDINGS if tail[-size:] in _BEFORE), 0.0)
    if ending == _PARTICLE:
        score = _NEVER if _VOCATIVE.fullmatch(text, since, left) else max(score, 0.0)
    score += ending
    if not thai_first:
        if _LATIN_SENTENCE.match(text, right):
            return score + _PARTICLE
        return score + _LATIN_WEIGHT if first.isalnum() or first in _OPENING else _NEVER
    if last.isdecimal():
        if _MEASURE.match(text, right):
            return _NEVER
        score += _NUMBER_WEIGHT
    elif last.isascii() and last.isalnum():
        score += _LATIN_WEIGHT
    elif last == "ฯ" or SHORTENED.search(text, near, left):
        score += _SHORTENED_WEIGHT
    return score + _word_weight(text, right, until) + _space_weight(text[left:right], until - right)


def _word_weight(text: str, right: int, until: int) -> float:
    """Given where a phrase begins and ends, return what its words say about the space before it."""
    opener = _OPENER.match(text, right)
    weight = _AFTER[opener.group()] if opener else 0.0
    # "X จึง Y": what follows from something is in one sentence with it.
    if weight < _STRONG and text.find("จึง", right + 1, min(until, right + 40)) > 0:
        weight += _CONSEQUENCE_WEIGHT
    return weight


def _space_weight(space: str, following: int) -> float:
    """Given a space and the length of the phrase after it, return what they say about the space."""
    weight = -1.0 if following <= 12 else 0.5 if following >= 30 else 0.0
    if "\n" in space:  # a hard wrap says nothing, and few lines end where a sentence does
        weight -= 4.5
    elif len(space) > 1:
        weight += 1.5
    return weight
