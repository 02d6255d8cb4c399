"""Samples of the scripts that can be set, each with the language that it is in."""

# ruff: noqa: RUF001 - other scripts look alike

SCRIPTS = {
    "latin": ("Winter Sale – up to 50% off, AVATAR & fjord", "en"),
    "accents": ("L’été à Ångström, Łódź, Şişli, Việt Nam Ặ Ế", "fr"),
    "greek": ("Ελληνικά ΐ Ωμέγα", "el"),
    "cyrillic": ("Зимняя распродажа, Їжак, Қазақ", "ru"),
    "arabic": ("خصم 50% على جميع المنتجات! (Nike) لا إله مُحَمَّد", "ar"),
    "persian": ("فروش ویژهٔ زمستانی می\u200cخواهم ۲۵٪", "fa"),
    "urdu": ("سردیوں کی سیل: ہر چیز پر", "ur"),
    "hebrew": ("מבצע חורף: עד 50% הנחה! (רק היום) שָׁלוֹם", "he"),
    "simplified": ("冬季大促销，全场五折“起”", "zh-Hans"),
    "traditional": ("冬季大減價，買一送一。", "zh-Hant"),
    "japanese": ("冬のセール、最大50%オフ！「今だけ」", "ja"),
    "korean": ("겨울 세일 최대 50% 할인", "ko"),
    "thai": ("ลดราคาฤดูหนาว ที่นี่ น้ำ ญี่ปุ่น ฿99", "th"),
    "hindi": ("सर्दियों की बिक्री क्षत्रिय ज्ञान ₹99", "hi"),
    "mixed": ("Sale सर्दियों क्षत्रिय 日本 ไทย 세일 Ω", None),
    "emoji": ("Hot 🔥🎉 👨\u200d👩\u200d👧 ❤️ 1️⃣ 👍🏽 🇩🇪 ☀ ★", None),
}
